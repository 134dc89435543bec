"""The Fréchet distance between two Gaussians (Heusel et al., NeurIPS 2017)."""

import numpy as np

CHUNK = 4_096  # rows that are float64 at once
ROUNDING = 10 * np.finfo(np.float64).eps  # of an eigenvalue, as a share of the largest
TOLERANCE = 1e-9  # of the traces: what the fast form may be off by


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, d], N ≥ 2 → mean [d] and unbiased covariance [d, d], float64, streamed."""
    mean = features.mean(axis=0, dtype=np.float64)
    products = np.zeros((len(mean), len(mean)))
    for start in range(0, len(features), CHUNK):
        centred = features[start : start + CHUNK] - mean
        products += centred.T @ centred
    return mean, products / (len(features) - 1)


def frechet_distance(
    mu1: np.ndarray, sigma1: np.ndarray, mu2: np.ndarray, sigma2: np.ndarray
) -> float:
    """|μ1 - μ2|² + tr(Σ1 + Σ2 - 2 (Σ1 Σ2)^½), in float64.

    Right for singular covariances too, and never complex.

    Args:
        mu1, mu2: means [d].
        sigma1, sigma2: covariances [d, d], symmetric, positive semi-definite.

    Returns:
        The squared distance, ≥ 0 up to rounding: what is called FID on Inception features.
    """
    mu1, sigma1, mu2, sigma2 = (np.asarray(a, np.float64) for a in (mu1, sigma1, mu2, sigma2))
    difference, traces = mu1 - mu2, np.trace(sigma1) + np.trace(sigma2)
    return float(difference @ difference + traces - 2 * _trace_of_root(sigma1, sigma2, traces))


def _trace_of_root(sigma1: np.ndarray, sigma2: np.ndarray, traces: float) -> float:
    """The trace of (Σ1 Σ2)^½: the sum of the singular values of A1 A2ᵀ with Σi = AiᵀAi.

    They are the roots of the eigenvalues of A1 Σ2 A1ᵀ, which cost half of it; but a root makes
    much of the rounding of eigenvalues near zero. Where that could be seen, the singular values
    themselves are taken.
    """
    try:
        first = np.linalg.cholesky(sigma1).T
    except np.linalg.LinAlgError:  # singular
        first = _root(sigma1)
    values = np.linalg.eigvalsh(first @ sigma2 @ first.T).clip(min=0)
    error = ROUNDING * values[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        of_roots = np.fmin(np.sqrt(error), error / (2 * np.sqrt(values)))
    if of_roots.sum() <= TOLERANCE * traces:
        return np.sqrt(values).sum()
    return np.linalg.norm(first @ _root(sigma2).T, ord="nuc")


def _root(sigma: np.ndarray) -> np.ndarray:
    """A with AᵀA = Σ."""
    values, vectors = np.linalg.eigh(sigma)
    return np.sqrt(values.clip(min=0))[:, None] * vectors.T
