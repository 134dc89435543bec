"""Projections P: student features [N, ds] → teacher space [N, dt], linear and without bias.

Miles, Elezi and Deng, "V_kD: Improving Knowledge Distillation using Orthogonal Projections",
CVPR 2024. Every class takes (student_dim, teacher_dim) = (ds, dt), and computes in float32 (or
float64) under autocast too, and whatever the module around it is cast to.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from gan_vkd.device import asking_waits, to_float64
from gan_vkd.distill.full_precision import FullPrecision

CUT = 1e-4  # squared singular values below this share of their mean count as zero


class OrthogonalProjection(FullPrecision):
    """h → P h with PᵀP = I (dt ≥ ds) or PPᵀ = I (dt < ds): a Riemannian step on the frames.

    The parameter `move` is zero whenever P is used. Its gradient is the loss's gradient with
    respect to P, projected on the tangent space at P; an optimiser's step makes it X, and the
    next call takes P to the QR factor of P + (the tangent part of X), and `move` back to zero (a
    dynamic trivialisation: Lezcano-Casado, NeurIPS 2019). Since (P + X)ᵀ(P + X) = I + XᵀX for
    tangent X, nothing on the way is singular: P reaches every frame, for ds = dt every one with
    the start's determinant. A step costs four thin products and one Cholesky factor, where
    `OrthogonalExpProjection`, the paper's form, takes an exponential of max(ds, dt) squared.

    All that it asks of a training loop: `parameters()` belong to an optimiser that adds to them.
    The state dict holds P (`frame`, transposed for dt < ds) and `move`, so it makes no difference
    whether a checkpoint is written before or after a call.
    """

    def __init__(self, student_dim: int, teacher_dim: int):
        super().__init__()
        self.transposed = teacher_dim < student_dim
        tall = sorted((student_dim, teacher_dim), reverse=True)
        self.register_buffer("frame", nn.init.orthogonal_(torch.empty(tall)))
        self.move = nn.Parameter(torch.zeros(tall))

    def matrix(self) -> torch.Tensor:
        """P, [dt, ds]; its gradient goes to `move`."""
        with torch.autocast(self.frame.device.type, enabled=False):
            self._retract()
            frame = _AtFrame.apply(self.frame, self.move)
        return frame.T if self.transposed else frame

    @torch.no_grad()
    def _retract(self) -> None:
        moved = self.move.any()
        if not asking_waits(moved.device) and not moved:
            return
        factor = _q_factor(self.frame + _tangent(self.frame, self.move)).to(self.frame)
        self.frame.copy_(torch.where(moved, factor, self.frame))
        self.move.zero_()

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """[N, ds] → [N, dt]."""
        return _project(h, self.matrix())


class _AtFrame(torch.autograd.Function):
    """frame + move for a move of zero; the gradient with respect to `move` is made tangent."""

    @staticmethod
    def forward(ctx: Any, frame: torch.Tensor, move: torch.Tensor) -> torch.Tensor:
        at = frame + move
        ctx.save_for_backward(at)  # not the frame, which a later call may write to
        return at

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, _tangent(*ctx.saved_tensors, gradient)


def _tangent(frame: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """The part of `direction` along which frameᵀ frame stays I, to first order."""
    product = frame.T @ direction
    return direction - frame @ ((product + product.T) / 2)


def _q_factor(tall: torch.Tensor) -> torch.Tensor:
    """Q of tall = QR, R with a positive diagonal, by Cholesky; float64."""
    tall = to_float64(tall)
    upper, _ = torch.linalg.cholesky_ex(tall.T @ tall, upper=True)
    return torch.linalg.solve_triangular(upper, tall, upper=True, left=False)


class FrozenOrthogonalProjection(FullPrecision):
    """h → P h with a random frame P that is not trained: a control.

    A control: P rotates and does no more, so D alone has to come to the targets. It starts with the
    bits of `OrthogonalProjection`.
    """

    def __init__(self, student_dim: int, teacher_dim: int):
        super().__init__()
        self.register_buffer("frame", OrthogonalProjection(student_dim, teacher_dim).matrix().data)

    def matrix(self) -> torch.Tensor:
        """P, [dt, ds]."""
        return self.frame

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """[N, ds] → [N, dt]."""
        return _project(h, self.frame)


class OrthogonalExpProjection(FullPrecision):
    """h → P h, P the first ds columns (dt rows) of exp(W), W skew-symmetric (equations 1 to 3).

    The paper's form, literally: the reference for `OrthogonalProjection`, and slow. W = A - Aᵀ
    is of size max(ds, dt), A strictly upper triangular and free. Computed in float64: gradients
    off the rotations cancel, to 4e-4 only in fp32.
    """

    def __init__(self, student_dim: int, teacher_dim: int):
        super().__init__()
        self.shape = (teacher_dim, student_dim)
        size = max(self.shape)
        self.weight = nn.Parameter(torch.randn(size, size) / size**0.5)

    def matrix(self) -> torch.Tensor:
        """P, [dt, ds]."""
        with torch.autocast(self.weight.device.type, enabled=False):
            upper = to_float64(self.weight).triu(1)
            rotation = torch.linalg.matrix_exp(upper - upper.T).to(self.weight)
        rows, columns = self.shape
        return rotation[:rows, :columns]

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """[N, ds] → [N, dt]."""
        return _project(h, self.matrix())


class LinearProjection(FullPrecision):
    """h → W h, W unconstrained and initialised as in torch.nn.Linear: the paper's comparison."""

    def __init__(self, student_dim: int, teacher_dim: int):
        super().__init__()
        self.weight = nn.Linear(student_dim, teacher_dim, bias=False).weight

    def matrix(self) -> torch.Tensor:
        """W, [dt, ds]."""
        return self.weight

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """[N, ds] → [N, dt]."""
        return _project(h, self.weight)


class SvdProjection(FullPrecision):
    """h → P h, P the leading right singular vectors of the batch's targets (section 1.2, Fig. 1).

    Nothing is learnt: `fit` takes P from each batch, so the student's features match the
    truncated singular value decomposition of the teacher's.
    """

    def __init__(self, student_dim: int, teacher_dim: int):
        super().__init__()
        self.register_buffer("frame", torch.zeros(teacher_dim, student_dim), persistent=False)

    @torch.no_grad()
    def fit(self, targets: torch.Tensor) -> torch.Tensor:
        """Centred targets [B, dt] → their part along P [B, dt], of rank r ≤ min(ds, B - 1, dt).

        P's first r columns are the right singular vectors, largest first, each with its largest
        entry positive; the others are zero, and those of the student's features not compared.
        Computed on the smaller side, B x B or dt x dt, in float64.
        """
        batch, dim = targets.shape
        student_dim = self.frame.shape[1]
        z = to_float64(targets)
        gram_side = batch <= dim
        values, vectors = torch.linalg.eigh(z @ z.T if gram_side else z.T @ z)
        kept = values > CUT * values.mean()
        values, vectors = values[kept].flip(0), vectors[:, kept].flip(1)
        right = z.T @ vectors * values.rsqrt() if gram_side else vectors
        right = right[:, :student_dim]
        peaks = right.gather(0, right.abs().argmax(dim=0, keepdim=True))
        right = right * peaks.sign()
        frame = F.pad(right, (0, student_dim - right.shape[1]))
        self.frame = frame.to(self.frame)  # a new one: a graph may hold the last
        return (z @ right @ right.T).to(targets)

    def matrix(self) -> torch.Tensor:
        """P of the last `fit`, [dt, ds]."""
        return self.frame

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """[N, ds] → [N, dt]."""
        return _project(h, self.frame)


class IdentityProjection(nn.Identity):
    """h → h, for ds = dt.

    Raises:
        ValueError: for ds ≠ dt.
    """

    def __init__(self, student_dim: int, teacher_dim: int):
        super().__init__()
        if student_dim != teacher_dim:
            raise ValueError(
                f"projection='identity' needs features of equal size, got {student_dim} and "
                f"{teacher_dim}: choose orthogonal"
            )


def _project(h: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    with torch.autocast(h.device.type, enabled=False):
        return F.linear(h.to(matrix.dtype), matrix)


PROJECTIONS = {
    "orthogonal": OrthogonalProjection,
    "orthogonal-frozen": FrozenOrthogonalProjection,
    "orthogonal-exp": OrthogonalExpProjection,
    "linear": LinearProjection,
    "svd": SvdProjection,
    "identity": IdentityProjection,
}
