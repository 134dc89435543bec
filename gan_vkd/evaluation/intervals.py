"""Standard errors of the metrics over the sampling of generated images.

Resampling with replacement would bias these metrics (copies have themselves as neighbours), so
each has its first-order form. None of them covers the training seed.
"""

import math

import numpy as np

NORMAL = 1.96  # standard errors on either side of a 95 % interval
CHUNK = 4_096  # rows of a block


def of_mean(values: np.ndarray) -> float:
    """The standard error of a mean over images; values [N]."""
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def frechet_standard_error(
    features: np.ndarray,
    mu1: np.ndarray,
    sigma1: np.ndarray,
    mu2: np.ndarray,
    sigma2: np.ndarray,
) -> float:
    """By the influence function of the squared Fréchet distance, the second Gaussian held fixed.

    An image x of the first set moves the distance by

        2 (μ1 - μ2)·(x - μ1) + (x - μ1)ᵀ (I - T) (x - μ1) - tr (I - T) Σ1

    with T = A2ᵀ (A2 Σ1 A2ᵀ)^(-½) A2, Σ2 = A2ᵀA2, the optimal transport's map from the first
    Gaussian to the second. Where Σ1 is singular, the inverse is taken on its range.

    Args:
        features: [N, d] of the first set.
        mu1, sigma1: its mean and covariance.
        mu2, sigma2: the other's.
    """
    values, vectors = np.linalg.eigh(sigma2)
    second = np.sqrt(values.clip(min=0))[:, None] * vectors.T
    values, vectors = np.linalg.eigh(second @ sigma1 @ second.T)
    kept = values > len(values) * np.finfo(np.float64).eps * values[-1]
    scaled = (vectors[:, kept].T @ second) * values[kept, None] ** -0.25  # T = scaledᵀ scaled
    influence = []
    for start in range(0, len(features), CHUNK):
        centred = features[start : start + CHUNK] - mu1
        stretched = np.square(centred).sum(axis=1) - np.square(centred @ scaled.T).sum(axis=1)
        influence.append(2 * centred @ (mu1 - mu2) + stretched)
    return of_mean(np.concatenate(influence))


def kid_standard_error(features: np.ndarray, reference: np.ndarray) -> float:
    """By the first-order term of KID's U-statistic over the generated images.

    With the kernel k(x, y) = (x·y/d + 1)³ an image x moves the estimate by twice the deviation of
    E k(x, x') - E k(x, y) from its mean; x' another generated image, y a real one.

    Args:
        features: [N, d] of the generated images.
        reference: [M, d] of the real ones.
    """
    count, dim = features.shape

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / dim + 1) ** 3

    first_order = []
    for start in range(0, count, CHUNK):
        x = features[start : start + CHUNK]
        among = sum(kernel(x, part).sum(axis=1) for part in _blocks(features))
        among = (among - (np.square(x).sum(axis=1) / dim + 1) ** 3) / (count - 1)
        across = sum(kernel(x, part).sum(axis=1) for part in _blocks(reference))
        first_order.append(among - across / len(reference))
    return 2 * of_mean(np.concatenate(first_order))


def _blocks(features: np.ndarray) -> list[np.ndarray]:
    return [features[start : start + CHUNK] for start in range(0, len(features), CHUNK)]
