"""The Fréchet distance between two Gaussians (Heusel et al., NeurIPS 2017)."""

import numpy as np


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, d], N ≥ 2 → mean [d] and unbiased covariance [d, d], float64."""
    features = features.astype(np.float64)
    return features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False))


def frechet_distance(
    mu1: np.ndarray, sigma1: np.ndarray, mu2: np.ndarray, sigma2: np.ndarray
) -> float:
    """|μ1 - μ2|² + tr(Σ1 + Σ2 - 2 (Σ1 Σ2)^½), in float64.

    The trace of the root is the sum of the singular values of A1 A2ᵀ with Σi = AiᵀAi, Ai from
    symmetric eigendecompositions. Right for singular covariances too, and never complex.

    Args:
        mu1, mu2: means [d].
        sigma1, sigma2: covariances [d, d], symmetric, positive semi-definite.

    Returns:
        The squared distance, ≥ 0 up to rounding: what is called FID on Inception features.
    """
    mu1, sigma1, mu2, sigma2 = (np.asarray(a, np.float64) for a in (mu1, sigma1, mu2, sigma2))
    overlap = np.linalg.norm(_root(sigma1) @ _root(sigma2).T, ord="nuc")
    difference = mu1 - mu2
    return float(difference @ difference + np.trace(sigma1) + np.trace(sigma2) - 2 * overlap)


def _root(sigma: np.ndarray) -> np.ndarray:
    """A with AᵀA = Σ."""
    values, vectors = np.linalg.eigh(sigma)
    return np.sqrt(values.clip(min=0))[:, None] * vectors.T
