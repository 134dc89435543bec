"""Projections P: student features [N, ds] → teacher space [N, dt], linear and without bias.

Miles, Elezi and Deng, "V_kD: Improving Knowledge Distillation using Orthogonal Projections",
CVPR 2024. The paper takes the first ds columns (dt rows) of exp(W), W skew-symmetric of size
max(ds, dt); here the same frames are reached through the QR factor of a free matrix of P's own
shape, which costs a thin factorisation in place of a max(ds, dt)² exponential.
"""

import torch
import torch.nn.functional as F
from torch import nn

DRIFT = 1e-4  # largest entry of weightᵀ weight - I that is left alone


class OrthogonalProjection(nn.Module):
    """h → P h with PᵀP = I (dt ≥ ds) or PPᵀ = I (dt < ds).

    P is computed from the free parameter `weight` at every call: P R = weight, R upper triangular
    with a positive diagonal. So P is orthonormal to rounding whatever any optimiser did to
    `weight`, gradients are exact, and a checkpoint holds nothing else. Once `weight` has drifted
    from the frames, a call first puts P in its place: that does not change P, and it keeps R near
    the identity, so that a step never jumps over a singular matrix, behind which, for ds = dt, P
    would have the other determinant. Every frame can be reached; for ds = dt every one with the
    start's determinant. Runs in at least fp32, under autocast too.

    Args:
        student_dim: ds.
        teacher_dim: dt.
    """

    def __init__(self, student_dim: int, teacher_dim: int):
        super().__init__()
        self.transposed = teacher_dim < student_dim
        tall = sorted((student_dim, teacher_dim), reverse=True)
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(tall)))

    def matrix(self) -> torch.Tensor:
        """P, [dt, ds]."""
        with torch.autocast(self.weight.device.type, enabled=False):
            self._retract()
            frame = _frame(self.weight)
        return frame.T if self.transposed else frame

    @torch.no_grad()
    def _retract(self) -> None:
        gram = self.weight.T @ self.weight
        if (gram - torch.eye(len(gram)).to(gram)).abs().max() > DRIFT:
            self.weight.copy_(_frame(self.weight))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """[N, ds] → [N, dt]."""
        with torch.autocast(h.device.type, enabled=False):
            return F.linear(h.to(self.weight.dtype), self.matrix())


def _frame(matrix: torch.Tensor) -> torch.Tensor:
    """The orthonormal columns of the QR decomposition, unique and hence smooth in `matrix`."""
    q, r = torch.linalg.qr(matrix)
    return q * r.diagonal().sgn()


class LinearProjection(nn.Linear):
    """h → W h, W unconstrained: what the paper compares with.

    Args:
        student_dim: ds.
        teacher_dim: dt.
    """

    def __init__(self, student_dim: int, teacher_dim: int):
        super().__init__(student_dim, teacher_dim, bias=False)


PROJECTIONS = {"orthogonal": OrthogonalProjection, "linear": LinearProjection}
