"""Normalisations of the teacher's features before they become targets.

All but `none` scale the targets so that their mean squared entry is 1. `centred` tells whether
the targets' mean is removed; the student's features are then centred over the batch too.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn

from gan_vkd.device import asking_waits, to_float64
from gan_vkd.distill.full_precision import FullPrecision, at_least_float32
from gan_vkd.errors import GanVkdError

CUT = 1e-4  # eigenvalues below this share of their mean count as zero
LEAST_RIDGE = 1e-7  # a share of the mean eigenvalue, where nothing is cut
TINY = 1e-30  # keeps zero features zero


class Identity(nn.Module):
    """The features as they are, at their own scale."""

    centred = False

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, dt] → [B, dt]."""
        return features


class Centre(nn.Module):
    """The features minus their batch mean, for the singular value decomposition."""

    centred = True

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, dt] → [B, dt]."""
        return features - features.mean(dim=0)


class LayerNorm(nn.Module):
    """Each row: mean 0, mean square 1, no affine map; whatever B is. A constant row gives zeros."""

    centred = False

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, dt] → [B, dt]."""
        return F.layer_norm(features, features.shape[1:])


class Whiten(nn.Module):
    """Whitening over the batch (V_kD supplement, eq. 5), with a ridge where one is asked for.

    With Zc = U S Vᵀ the centred features, λ = S² and m the mean of the min(B, dt) values of λ, the
    target is

        U S (S² + ridge · m)^(-1/2) Vᵀ

    times the scale that makes its mean squared entry 1. Directions with λ ≤ `CUT` · m are left out:
    constant channels, exact copies, rounding. Features that are all alike give zeros.

    ridge = 0, the paper's: all r directions that are left count alike, U Vᵀ times √(B·dt/r).

    * B > dt, full rank: ZtᵀZt = B·I, the teacher's channels are decorrelated; any invertible
      affine map of the features changes the targets by a rotation only.
    * B ≤ dt, r = B - 1: ZtZtᵀ is B·dt/(B-1) times the centring matrix: all rows equally long,
      every pair with cosine -1/(B-1), a regular simplex. Each image gets a direction of its own,
      and the teacher's similarities between images are gone, those of near copies too: the
      direction from a photograph to its copy with ±1 grey level of noise has over a hundred
      times what `CUT` asks for (docs/whitening.md), and the two get as far apart as any.

    ridge > 0: a direction's variance is λ / (λ + ridge · m) of what it is without. Directions well
    above ridge · m stay white and those well below fade, so near copies stay near; the statements
    above hold roughly, the better the smaller the ridge. For a large ridge the targets are Zc.

    Computed on the smaller side, B x B or dt x dt, in float64: by eigenvectors on a CPU. On a GPU,
    where eigenvectors would make the host wait, by `newton_schulz` with a ridge of at least
    `LEAST_RIDGE` in the cut's place: the targets differ by 1e-5 where no direction is
    weaker than a hundredth of the mean, and weaker ones fade from 1e-7 of it instead of being cut.

    Args:
        ridge: share of the mean eigenvalue, 0 or more.

    Raises:
        ValueError: a negative ridge.
    """

    centred = True

    def __init__(self, ridge: float = 0.0):
        super().__init__()
        if ridge < 0:
            raise ValueError(f"ridge={ridge}: must be 0 or more")
        self.ridge = ridge

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, dt] → [B, dt] of the same type, mean squared entry 1.

        Raises:
            ValueError: for a batch of one, whose centred features are zero.
        """
        return _whitened(to_float64(features), self._inverse_root).to(features)

    def _inverse_root(self, gram: torch.Tensor) -> torch.Tensor:
        if asking_waits(gram.device):
            return self.static_inverse_root(gram)
        values, vectors = torch.linalg.eigh(gram)
        mean = values.mean()
        kept = values > CUT * mean
        vectors, values = vectors[:, kept], values[kept] + self.ridge * mean
        return (vectors * values.rsqrt()) @ vectors.T

    def static_inverse_root(self, gram: torch.Tensor) -> torch.Tensor:
        """Positive semi-definite [N, N] → (gram + ridge)^(-1/2), up to its scale; products only."""
        ridge = max(self.ridge, LEAST_RIDGE)
        shifted = gram + ridge * gram.diagonal().mean() * _identity_like(gram)
        return newton_schulz(shifted, scales(ridge / (1 + ridge) / len(gram)))


def newton_schulz(matrix: torch.Tensor, scales: Sequence[float]) -> torch.Tensor:
    """Positive semi-definite [N, N] → (matrix / its trace)^(-1/2), weak directions faded.

    The coupled iteration, from Y = matrix / trace and P = I, for each ρ of `scales`:
    T = ρ (3 I - ρ² P Y) / 2, Y ← Y T, P ← T P. In the direction of an eigenvalue g, the root x of
    P Y's eigenvalue starts at √g and goes to ρ x (3 - ρ² x²) / 2, towards 1. With ρ = 1 (Newton and
    Schulz) a small x grows 1.5-fold a step, with the `scales` up to 2.6-fold; zeros stay bounded.
    """
    root = _identity_like(matrix)
    identity, y = root, matrix / matrix.trace().clamp_min(TINY)
    for scale in scales:
        correction = torch.addmm(1.5 * scale * identity, root, y, alpha=-(scale**3) / 2)
        y, root = y @ correction, correction @ root
    return root


@lru_cache(maxsize=64)
def scales(least: float) -> tuple[float, ...]:
    """ρ, step by step, that brings every eigenvalue in `least`..1 to 1 in the fewest steps.

    Chen and Chow, "A stable scaling of Newton-Schulz for improving the sign function computation of
    a Hermitian matrix", 2014: with x in l..1, ρ² = 3 / (1 + l + l²) takes both ends to the same
    place, which is the next l.

    Args:
        least: above 0.
    """
    found, low = [], math.sqrt(least)
    while low < 1 - 1e-9:
        scale = math.sqrt(3 / (1 + low + low**2))
        low = scale * low * (3 - (scale * low) ** 2) / 2
        found.append(scale)
    return (*found, 1.0)


def _identity_like(matrix: torch.Tensor) -> torch.Tensor:
    return torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)


class WhitenIterative(nn.Module):
    """Whitening over the batch by Newton-Schulz iterations (IterNorm: Huang et al., CVPR 2019).

    With G the Gram matrix over its trace, Y = G and P = I, ten times

        T = (3 I - P Y) / 2,  Y ← Y T,  P ← T P

    takes P towards G^(-1/2): products only, no eigenvectors, in the coupled form, which rounding
    does not upset. In the direction of an eigenvalue g, P grows at most 1.5-fold an iteration:
    directions with more than a thousandth of the variance get white, and none is blown up more
    than 1.5^10 = 58 times. So

    * B > dt, the channels' correlation has no tiny eigenvalue: as `Whiten`, decorrelated.
    * B ≤ dt: as `Whiten`, a simplex, if no direction of the B - 1 is tiny.
    * Rank-deficient, near-identical: weak directions fade in the measure of their variance,
      where `Whiten` cuts them. Constant channels and images that are all alike give zeros.

    Computed on the smaller side, B x B or dt x dt; fp32 is enough for products.

    Args:
        iterations: of them.
    """

    centred = True

    def __init__(self, iterations: int = 10):
        super().__init__()
        self.iterations = iterations

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, dt] → [B, dt] of the same type, mean squared entry 1.

        Raises:
            ValueError: for a batch of one, whose centred features are zero.
        """
        return _whitened(at_least_float32(features), self.inverse_root).to(features)

    def inverse_root(self, gram: torch.Tensor) -> torch.Tensor:
        """Positive semi-definite [N, N] → (gram / its trace)^(-1/2), weak directions faded."""
        return newton_schulz(gram, (1.0,) * self.iterations)


def _whitened(
    z: torch.Tensor, inverse_root: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Centred features times G^(-1/2), G their Gram matrix on the smaller side; any scale of it.

    Both sides give the same, since f(ZZᵀ) Z = Z f(ZᵀZ). Mean squared entry 1.
    """
    batch, dim = z.shape
    if batch < 2:
        raise ValueError("whitening over the batch needs at least 2 images, got 1")
    with torch.autocast(z.device.type, enabled=False):
        z = z - z.mean(dim=0)
        whitened = inverse_root(z @ z.T) @ z if batch <= dim else z @ inverse_root(z.T @ z)
        mean_square = whitened.square().mean().clamp_min(TINY)
        return whitened * mean_square.rsqrt()


def rank_within_reach(student_dim: int, teacher_dim: int, num_images: int) -> int:
    """Directions that the student can predict and so many images have: whiten-dataset's default."""
    return max(1, min(student_dim, teacher_dim // 8, num_images - 1))


class WhitenDataset(FullPrecision):
    """Whitening by the mean and covariance of a whole data set, on its leading directions.

    The teacher is frozen, so its statistics are fixed numbers. Images keep their similarities and
    only the directions are equalised. Targets are [B, rank]: with all directions, images that
    were not among the fitted ones would get longer targets, and length would tell training
    images from others; with the leading ones they do not. The batch size has no influence: one
    image is enough. `fit` refuses a rank that the features do not have.

    `WhitenDataset.fit` makes one. Its statistics are buffers, saved with the state dict; they
    stay in float32 (or float64) whatever the module is cast to.
    """

    centred = True

    def __init__(self, dim: int, rank: int):
        super().__init__()
        self.rank = rank
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("whitener", torch.zeros(dim, rank))

    @classmethod
    def fit(cls, batches: Iterable[torch.Tensor], rank: int | None = None) -> "WhitenDataset":
        """Take the statistics of features in one pass, in float64.

        Args:
            batches: tensors [B, dt]; all of the training images' features.
            rank: leading directions kept, default dt // 8.

        Raises:
            GanVkdError: when the features vary in fewer than `rank` directions.
        """
        count, total, products = 0, 0.0, 0.0
        for features in batches:
            exact = to_float64(features)
            count += len(exact)
            total = total + exact.sum(dim=0)
            products = products + exact.T @ exact
        mean = total / count
        values, vectors = torch.linalg.eigh(products / count - mean.outer(mean))
        rank = max(1, len(mean) // 8) if rank is None else rank
        available = int((values > CUT * values.clamp(min=0).mean()).sum())
        if available < rank:
            raise GanVkdError(
                f"distill.rank {rank}: the teacher's features of {count} images vary in only "
                f"{available} directions: set a smaller rank, or --normalise whiten"
            )
        fitted = cls(len(mean), rank).to(features.device)
        leading = slice(len(values) - rank, None)
        fitted.mean.copy_(mean)
        fitted.whitener.copy_(vectors[:, leading] * values[leading].rsqrt())
        return fitted

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, dt] → [B, rank], of the statistics' type; mean squared entry 1 over the fitted."""
        with torch.autocast(features.device.type, enabled=False):
            return (features.to(self.mean.dtype) - self.mean) @ self.whitener


NORMALISATIONS = {
    "none": Identity,
    "layernorm": LayerNorm,
    "whiten": Whiten,
    "whiten-iterative": WhitenIterative,
}
