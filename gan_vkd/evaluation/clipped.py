"""Clipped Density and Clipped Coverage (Salvy, Talbot and Thirion, ICLR 2026, arXiv 2507.01761).

Density and coverage that a few outliers cannot bend, on a scale of their own: a value of .7 is what
a set of which 70 % are good samples would get.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.stats import hypergeom

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
    any order of distance from a real image. Its ball ends at the k-th real one, so it holds at
    least m of the i when among the nearest m + k - 1 of all at least m are generated: a
    hypergeometric tail. Below i = k it counts as 0.
    """
    good = np.arange(fake_count + 1)[:, None]
    at_least = np.arange(1, nearest_k + 1)
    tails = hypergeom.sf(at_least - 1, real_count - 1 + good, good, at_least + nearest_k - 1)
    expected = tails.mean(axis=1)
    expected[:nearest_k] = 0
    return expected
