import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from gan_vkd.evaluation import frechet, frechet_distance
from gan_vkd.evaluation.frechet import moments


def sample(count: int, dim: int, seed: int, shift: float = 0.0) -> np.ndarray:
    draws = np.random.default_rng(seed)
    return draws.normal(size=(count, dim)) @ draws.normal(size=(dim, dim)) + shift


def test_against_scipy_and_torch_fidelity():
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    (mu1, sigma1), (mu2, sigma2) = moments(sample(500, 20, 0)), moments(sample(400, 20, 1, 0.5))
    ours = frechet_distance(mu1, sigma1, mu2, sigma2)
    root = sqrtm(sigma1 @ sigma2).real
    scipys = ((mu1 - mu2) ** 2).sum() + np.trace(sigma1 + sigma2 - 2 * root)
    stats = [{"mu": m, "sigma": s} for m, s in ((mu1, sigma1), (mu2, sigma2))]
    theirs = fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    trace = np.trace(sigma1 + sigma2)
    assert ours == pytest.approx(scipys, abs=1e-9 * trace)
    assert ours == pytest.approx(theirs, abs=1e-9 * trace)


def test_singular_covariances():
    """Fewer images than dimensions; diagonal ones have a closed form."""
    a, b = np.diag([4.0, 0.0, 1.0]), np.diag([1.0, 9.0, 0.0])
    expected = (2 - 1) ** 2 + 3**2 + 1
    assert frechet_distance(np.zeros(3), a, np.zeros(3), b) == pytest.approx(expected)
    mu, sigma = moments(sample(10, 30, 0))
    assert frechet_distance(mu, sigma, mu, sigma) == pytest.approx(0, abs=1e-9 * np.trace(sigma))


@pytest.mark.parametrize("rank", [1, 5, 40, 300])
def test_low_rank_covariances_against_singular_values(rank):
    """Where roots of eigenvalues would be off: covariances of fewer images than dimensions."""
    first, second = sample(rank + 1, 300, 0), sample(rank + 1, 300, 1)
    (mu1, sigma1), (mu2, sigma2) = moments(first), moments(second)
    centred = [(x - x.mean(axis=0)) / np.sqrt(rank) for x in (first, second)]
    overlap = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    traces = np.trace(sigma1) + np.trace(sigma2)
    expected = ((mu1 - mu2) ** 2).sum() + traces - 2 * overlap
    found = frechet_distance(mu1, sigma1, mu2, sigma2)
    assert found == pytest.approx(expected, abs=1e-8 * traces)
    assert frechet_distance(mu1, sigma1, mu1, sigma1) == pytest.approx(0, abs=1e-8 * traces)


def test_photographs_against_torch_fidelity_and_scipy(photograph_features):
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    first, second = (x[:, :300].numpy() for x in photograph_features.split(1480))
    (mu1, sigma1), (mu2, sigma2) = moments(first), moments(second)
    stats = [{"mu": m, "sigma": s} for m, s in ((mu1, sigma1), (mu2, sigma2))]
    theirs = fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    root = sqrtm(sigma1 @ sigma2).real
    scipys = ((mu1 - mu2) ** 2).sum() + np.trace(sigma1 + sigma2 - 2 * root)
    found, trace = frechet_distance(mu1, sigma1, mu2, sigma2), np.trace(sigma1 + sigma2)
    assert found == pytest.approx(theirs, abs=1e-6 * trace)
    assert found == pytest.approx(scipys, abs=1e-6 * trace)


def test_moments_are_unbiased_and_float64(monkeypatch):
    monkeypatch.setattr(frechet, "CHUNK", 16)
    x = torch.randn(50, 4).numpy()
    mu, sigma = moments(x)
    assert mu.dtype == sigma.dtype == np.float64
    assert np.allclose(sigma, np.cov(x.astype(np.float64), rowvar=False))
