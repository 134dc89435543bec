"""The Fréchet distance between two Gaussians (Heusel et al., NeurIPS 2017)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

CHUNK = 4_096  # rows that are float64 at once
ROUNDING = 10 * np.finfo(np.float64).eps  # of an eigenvalue, as a share of the largest
TOLERANCE = 1e-9  # of the traces: what the fast form may be off by


@dataclass(frozen=True)
class Gaussian:
    """A mean [d] and a factor A [r, d] of the covariance AᵀA, float64; r is at least its rank."""

    mean: np.ndarray
    factor: np.ndarray

    @classmethod
    def of_features(cls, features: np.ndarray) -> "Gaussian":
        """Fitted to features [N, d], N ≥ 2; where N ≤ d they are the factor, but for a scale."""
        count, dim = features.shape
        if count > dim:
            return cls.of_moments(*moments(features))
        mean = features.mean(axis=0, dtype=np.float64)
        return cls(mean, (features - mean) / np.sqrt(count - 1))

    @classmethod
    def of_moments(cls, mean: np.ndarray, covariance: np.ndarray) -> "Gaussian":
        """With a mean [d] and a positive semi-definite covariance [d, d]."""
        try:
            factor = np.linalg.cholesky(covariance).T
        except np.linalg.LinAlgError:  # singular
            values, vectors = np.linalg.eigh(covariance)
            factor = np.sqrt(values.clip(min=0))[:, None] * vectors.T
        return cls(mean, factor)

    @property
    def total_variance(self) -> float:
        """The covariance's trace."""
        return float(np.square(self.factor).sum())


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, d], N ≥ 2 → mean [d] and unbiased covariance [d, d], float64, streamed."""
    mean = features.mean(axis=0, dtype=np.float64)
    products = np.zeros((len(mean), len(mean)))
    for start in range(0, len(features), CHUNK):
        centred = features[start : start + CHUNK] - mean
        products += centred.T @ centred
    return mean, products / (len(features) - 1)


def frechet_distance(mu1: ArrayLike, sigma1: ArrayLike, mu2: ArrayLike, sigma2: ArrayLike) -> float:
    """|μ1 - μ2|² + tr(Σ1 + Σ2 - 2 (Σ1 Σ2)^½), in float64.

    It is exact for singular covariances too, and never complex.

    Args:
        mu1, mu2: means [d].
        sigma1, sigma2: covariances [d, d], symmetric, positive semi-definite.

    Returns:
        The squared distance, ≥ 0 up to rounding: what is called FID on Inception features.

    Raises:
        ValueError: shapes that do not fit, or entries that are not finite.
    """
    mu1, sigma1, mu2, sigma2 = (np.asarray(a, np.float64) for a in (mu1, sigma1, mu2, sigma2))
    shapes = [a.shape for a in (mu1, sigma1, mu2, sigma2)]
    if mu1.ndim != 1 or not mu1.size or shapes != [mu1.shape, 2 * mu1.shape] * 2:
        raise ValueError(f"means must be [d] and covariances [d, d], all of one d; got {shapes}")
    if not all(np.isfinite(a).all() for a in (mu1, sigma1, mu2, sigma2)):
        raise ValueError("means and covariances must be finite")
    gaussians = Gaussian.of_moments(mu1, sigma1), Gaussian.of_moments(mu2, sigma2)
    return frechet_and_transport(*gaussians)[0]


def frechet_and_transport(first: Gaussian, second: Gaussian) -> tuple[float, np.ndarray]:
    """The squared distance, and the optimal transport's map from the first to the second.

    With Σi = AiᵀAi the trace of (Σ1 Σ2)^½ is the sum of the singular values S of A2 A1ᵀ = U S Vᵀ,
    and the map is A2ᵀ U S⁻¹ Uᵀ A2, where Σ1 is singular on its range. S² and U are eigenvalues and
    eigenvectors of A2 Σ1 A2ᵀ, which cost less; but a root makes much of the rounding of
    eigenvalues near zero. Where that could be seen, the singular values themselves are taken.

    Returns:
        The distance, and B [r, d] with the map BᵀB.
    """
    difference = first.mean - second.mean
    traces = first.total_variance + second.total_variance
    cross = second.factor @ first.factor.T
    squares, vectors = np.linalg.eigh(cross @ cross.T)
    squares = squares.clip(min=0)
    error = ROUNDING * squares[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        of_roots = np.fmin(np.sqrt(error), error / (2 * np.sqrt(squares)))
    if of_roots.sum() <= TOLERANCE * traces:
        singular = np.sqrt(squares)
        kept = squares > len(squares) * np.finfo(np.float64).eps * squares[-1]
    else:
        vectors, singular, _ = np.linalg.svd(cross, full_matrices=False)
        kept = singular > max(cross.shape) * np.finfo(np.float64).eps * singular[0]
    root = (vectors[:, kept].T @ second.factor) * singular[kept, None] ** -0.5
    return float(difference @ difference + traces - 2 * singular.sum()), root
