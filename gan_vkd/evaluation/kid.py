"""The kernel Inception distance: the squared maximum mean discrepancy under a cubic kernel.

Binkowski, Sutherland, Arbel and Gretton, "Demystifying MMD GANs", ICLR 2018 (section 4). The kernel
is k(x, y) = (x·y / d + 1)³. Products are taken in float32, on CUDA in float64 (never in TF32), sums
in float64.
"""

import numpy as np
import torch

from gan_vkd.evaluation.distances import block_type
from gan_vkd.evaluation.intervals import of_mean

SUBSETS = 100
CHUNK = 1_024
CPU = torch.device("cpu")


def kernel_distance(
    judged: torch.Tensor,
    reference: torch.Tensor,
    *,
    subset: int,
    seed: int,
    device: torch.device = CPU,
) -> float:
    """The unbiased estimate on `SUBSETS` pairs of subsets, averaged.

    Its subsets are torch-fidelity's for the same seed, drawn without replacement.

    Args:
        judged: features [N, d].
        reference: features [M, d].
        subset: images of each side at a time, at most N and M.
        seed: of the draws.
        device: where kernels are computed.
    """
    sides = [side.to(device, block_type(device)) for side in (judged, reference)]
    draws = np.random.RandomState(seed)
    estimates = []
    for _ in range(SUBSETS):
        ours, theirs = (
            side[torch.from_numpy(draws.choice(len(side), subset, replace=False)).to(device)]
            for side in sides
        )
        within = sum(_sums(side, side).sum() - _diagonal(side).sum() for side in (ours, theirs))
        across = _sums(ours, theirs).sum()
        estimates.append(float(within / (subset * (subset - 1)) - 2 * across / subset**2))
    return float(np.mean(estimates))


def kid_standard_error(
    judged: torch.Tensor, reference: torch.Tensor, device: torch.device = CPU
) -> float:
    """By the first-order term of KID's U-statistic over the generated images.

    An image x moves the estimate by twice the deviation of E k(x, x') - E k(x, y) from its mean;
    x' another generated image, y a real one.

    Args:
        judged: features [N, d] of the generated images.
        reference: [M, d] of the real ones.
        device: where kernels are computed.
    """
    ours, theirs = (side.to(device, block_type(device)) for side in (judged, reference))
    among = (_sums(ours, ours) - _diagonal(ours)) / (len(ours) - 1)
    return 2 * of_mean((among - _sums(ours, theirs) / len(theirs)).cpu().numpy())


def _sums(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Of each row of [N, d], the sum of its kernel with all rows of [M, d]: float64 [N]."""
    one = torch.ones((), dtype=first.dtype, device=first.device)
    found = []
    for x in first.split(CHUNK):
        parts = (
            torch.addmm(one, x, y.T, alpha=1 / first.shape[1]).pow_(3) for y in second.split(CHUNK)
        )
        found.append(sum(part.sum(dim=1, dtype=torch.float64) for part in parts))
    return torch.cat(found)


def _diagonal(features: torch.Tensor) -> torch.Tensor:
    """Each row's kernel with itself, float64 [N]."""
    return (features.square().sum(dim=1, dtype=torch.float64) / features.shape[1] + 1) ** 3
