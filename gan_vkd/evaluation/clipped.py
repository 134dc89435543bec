"""Clipped Density and Clipped Coverage (Salvy, Talbot and Thirion, ICLR 2026, arXiv 2507.01761).

Density and coverage that a few outliers cannot bend, on a scale of their own: a value of .7 is what
a set of which 70 % are good samples would get.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike

from gan_vkd.evaluation.neighbours import Neighbourhoods, neighbourhoods
from gan_vkd.progress import QUIET, Reporter


def compute_clipped(
    real_features: ArrayLike | torch.Tensor,
    fake_features: ArrayLike | torch.Tensor,
    nearest_k: int,
    *,
    device: torch.device | str = "cpu",
    reporter: Reporter = QUIET,
) -> dict[str, float]:
    """Clipped density and clipped coverage, each from 0 to 1.

    Salvy, Talbot and Thirion, ICLR 2026 (arXiv 2507.01761).

    Args:
        real_features: [N, d]; anything like an array of real numbers.
        fake_features: [M, d].
        nearest_k: k, smaller than N and M.
        device: where distances are computed.
        reporter: shows a bar.

    Returns:
        `clipped_density`, `clipped_coverage`.

    Raises:
        ValueError: shapes that do not fit, k too large, or features that are not finite numbers.
    """
    found = neighbourhoods(
        real_features, fake_features, nearest_k, device=device, reporter=reporter
    )
    return {
        name: calibrate(values.mean())
        for name, (values, calibrate) in clipped_per_image(found).items()
    }


def clipped_per_image(
    found: Neighbourhoods,
) -> dict[str, tuple[np.ndarray, Callable[[float], float]]]:
    """Per-image values, and the functions that turn their means into metrics.

    Density: how many real balls, none wider than the median one, hold a generated image, out of k
    and at most 1; as a share of what the real images themselves get from the others' balls.
    Coverage: how many generated images a real image's ball holds, out of k and at most 1; read
    against what so many good ones would get.

    Returns:
        `clipped_density`: [M], of the generated images; `clipped_coverage`: [N], of the real ones;
        each with a growing function to [0, 1].
    """
    k, counts = found.k, (len(found.hits), len(found.balls))
    of_real = np.minimum(found.clipped_crowd / k, 1).mean()
    expected = expected_clipped_hits(*counts, k)
    return {
        "clipped_density": (
            np.minimum(found.clipped_balls / k, 1),
            lambda mean: float(min(max(mean, 0) / of_real, 1)),
        ),
        "clipped_coverage": (
            np.minimum(found.hits / k, 1),
            lambda mean: float(np.searchsorted(expected, mean) / len(expected)),
        ),
    }


def expected_clipped_hits(real_count: int, fake_count: int, nearest_k: int) -> np.ndarray:
    """The expected mean of min(hits, k) / k where i of the generated images are good, [M + 1].

    i images of the real ones' distribution and the N - 1 other real images are equally likely in
    any order of distance from a real image, whose ball ends at the k-th real one. So the number h
    of the i before that one is negative hypergeometric: P(0) = Π (n - r) / (n + i - r) over r < k,
    with n = N - 1, and P(h + 1) / P(h) = (h + k) (i - h) / ((h + 1) (n - k + i - h)). Below i = k
    it counts as 0.
    """
    others, good = real_count - 1, np.arange(fake_count + 1.0)
    taken = np.arange(nearest_k)
    chance = np.prod((others - taken) / (others + good[:, None] - taken), axis=1)
    lacking = np.zeros(len(good))
    for h in range(nearest_k):
        lacking += (nearest_k - h) * chance
        later = np.maximum(others - nearest_k + good - h, 1)  # 0 only where no image is left
        chance = chance * (h + nearest_k) * (good - h).clip(min=0) / ((h + 1) * later)
    expected = 1 - lacking / nearest_k
    expected[:nearest_k] = 0
    return expected
