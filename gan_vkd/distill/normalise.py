"""Normalisations of the teacher's features before they become targets.

All but `none` scale the targets so that their mean squared entry is 1. `centred` tells whether
the targets' mean is removed; the student's features are then centred over the batch too.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import nn

from gan_vkd.errors import GanVkdError

CUT = 1e-4  # eigenvalues below this share of their mean count as zero


class Identity(nn.Module):
    """The features as they are."""

    centred = False

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, dt] → [B, dt]."""
        return features


class LayerNorm(nn.Module):
    """Each row: mean 0, mean square 1, no affine map."""

    centred = False

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, dt] → [B, dt]."""
        return F.layer_norm(features, features.shape[1:])


class Whiten(nn.Module):
    """Whitening over the batch (V_kD supplement, eq. 5): the polar factor of the centred features.

    With Zc = U S Vᵀ the target is U Vᵀ times √(B·dt/r), r the number of singular values kept.

    * B > dt, full rank: ZtᵀZt = B·I, the teacher's channels are decorrelated.
    * B ≤ dt: ZtZtᵀ is B·dt/(B-1) times the centring matrix: all rows equally long, every
      pair with cosine -1/(B-1), a regular simplex. Each image gets a direction of its own, and
      the teacher's similarities between images are gone.

    Squared singular values below `CUT` of their mean (near-identical images, constant channels)
    are dropped, not blown up; the statements above then hold on what is left. All images alike
    give zeros. Computed on the smaller side, B x B or dt x dt, in float64.
    """

    centred = True

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, dt] → [B, dt] of the same type.

        Raises:
            ValueError: for a batch of one, whose centred features are zero.
        """
        batch, dim = features.shape
        if batch < 2:
            raise ValueError("whitening over the batch needs at least 2 images, got 1")
        with torch.autocast(features.device.type, enabled=False):
            z = features.double()
            z = z - z.mean(dim=0)
            gram_side = batch <= dim
            values, vectors = torch.linalg.eigh(z @ z.T if gram_side else z.T @ z)
            kept = values > CUT * values.mean()
            if not kept.any():
                return torch.zeros_like(features)
            vectors, values = vectors[:, kept], values[kept]
            inverse_root = (vectors * values.rsqrt()) @ vectors.T
            polar = inverse_root @ z if gram_side else z @ inverse_root
            return (polar * (batch * dim / len(values)) ** 0.5).to(features.dtype)


class WhitenDataset(nn.Module):
    """Whitening by the mean and covariance of a whole data set, on its leading directions.

    The teacher is frozen, so its statistics are fixed numbers. Images keep their similarities and
    only the directions are equalised. Targets are [B, rank]: with all directions, images that
    were not among the fitted ones would get longer targets, and length would tell training
    images from others (DESIGN §4 has the figures); with the leading ones they do not.

    Make one with `WhitenDataset.fit`; its statistics are buffers, saved with the state dict.
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
            features = features.double()
            count += len(features)
            total = total + features.sum(dim=0)
            products = products + features.T @ features
        mean = total / count
        values, vectors = torch.linalg.eigh(products / count - mean.outer(mean))
        rank = max(1, len(mean) // 8) if rank is None else rank
        available = int((values > CUT * values.clamp(min=0).mean()).sum())
        if available < rank:
            raise GanVkdError(
                f"distill.rank {rank}: the teacher's features of {count} images vary in only "
                f"{available} directions: set a smaller rank, or --normalise whiten"
            )
        fitted = cls(len(mean), rank).to(mean.device)
        leading = slice(len(values) - rank, None)
        fitted.mean.copy_(mean)
        fitted.whitener.copy_(vectors[:, leading] * values[leading].rsqrt())
        return fitted

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, dt] → [B, rank]; mean squared entry 1 over the fitted images."""
        with torch.autocast(features.device.type, enabled=False):
            return (features.float() - self.mean) @ self.whitener


NORMALISATIONS = {"none": Identity, "layernorm": LayerNorm, "whiten": Whiten}
