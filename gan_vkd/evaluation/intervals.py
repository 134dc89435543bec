"""Standard errors of the metrics over the sampling of generated images.

Resampling with replacement would bias these metrics (copies have themselves as neighbours), so
each has its first-order form. None of them covers the training seed.
"""

import math

import numpy as np

from gan_vkd.evaluation.frechet import Gaussian

NORMAL = 1.96  # standard errors on either side of a 95 % interval
CHUNK = 4_096  # rows of a block


def of_mean(values: np.ndarray) -> float:
    """The standard error of a mean over images; values [N]."""
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def frechet_standard_error(
    features: np.ndarray, first: Gaussian, second: Gaussian, transport: np.ndarray
) -> float:
    """By the influence function of the squared Fréchet distance, the second Gaussian held fixed.

    An image x of the first set moves the distance by

        2 (μ1 - μ2)·(x - μ1) + (x - μ1)ᵀ (I - T) (x - μ1) - tr (I - T) Σ1

    with T the optimal transport's map from the first Gaussian to the second.

    Args:
        features: [N, d] of the first set.
        first, second: the Gaussians.
        transport: B [r, d] with T = BᵀB, of `frechet_and_transport`.
    """
    influence = []
    for start in range(0, len(features), CHUNK):
        centred = features[start : start + CHUNK] - first.mean
        stretched = np.square(centred).sum(axis=1) - np.square(centred @ transport.T).sum(axis=1)
        influence.append(2 * centred @ (first.mean - second.mean) + stretched)
    return of_mean(np.concatenate(influence))
