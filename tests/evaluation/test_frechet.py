import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from gan_vkd.evaluation import frechet, frechet_distance
from gan_vkd.evaluation.frechet import Gaussian, frechet_and_transport, moments


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
    of_features, _ = frechet_and_transport(*map(Gaussian.of_features, (first, second)))
    assert of_features == pytest.approx(expected, abs=1e-9 * traces)
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


@pytest.mark.parametrize("count", [40, 200])
def test_the_map_transports_one_gaussian_to_the_other(count):
    """T Σ1 T = Σ2, for covariances of full rank and, on the range of the first, for others."""
    first, second = (Gaussian.of_features(sample(count, 60, seed)) for seed in (0, 1))
    _, root = frechet_and_transport(second, first)
    transport = root.T @ root
    sigma1, sigma2 = (g.factor.T @ g.factor for g in (first, second))
    if count > 60:
        assert np.allclose(transport @ sigma2 @ transport, sigma1, atol=1e-8 * np.trace(sigma1))
    along = first.factor.T @ np.linalg.pinv(first.factor.T)  # projects on the range of Σ1
    assert np.allclose(along @ transport @ along, transport, atol=1e-6)


def test_fewer_images_than_dimensions_take_no_covariance():
    """Against the d x d form; one set small, both small."""
    small, other = sample(30, 200, 0), sample(900, 200, 1)
    for pair in ((small, other), (other, small), (small, small[::2])):
        found, _ = frechet_and_transport(*map(Gaussian.of_features, pair))
        traces = sum(np.trace(moments(x)[1]) for x in pair)
        expected = frechet_distance(*moments(pair[0]), *moments(pair[1]))
        assert found == pytest.approx(expected, abs=1e-7 * traces)
    assert Gaussian.of_features(small).factor.shape == (30, 200)


@pytest.mark.parametrize(
    ("mu1", "sigma1", "mu2", "sigma2"),
    [
        (np.zeros(1), np.eye(3), np.zeros(3), np.eye(3)),  # would be broadcast
        (np.zeros(3), np.eye(3), np.zeros(1), np.eye(1)),
        (np.zeros(3), np.eye(3), np.zeros(3), np.eye(2)),
        (np.zeros(3), np.ones(3), np.zeros(3), np.ones(3)),
        (np.zeros((1, 3)), np.eye(3), np.zeros((1, 3)), np.eye(3)),
        (0.0, 1.0, 0.0, 1.0),
        (np.zeros(0), np.zeros((0, 0)), np.zeros(0), np.zeros((0, 0))),
        (np.full(3, np.nan), np.eye(3), np.zeros(3), np.eye(3)),
    ],
)
def test_moments_that_do_not_fit_are_refused(mu1, sigma1, mu2, sigma2):  # CASES 25
    with pytest.raises(ValueError, match="must be"):
        frechet_distance(mu1, sigma1, mu2, sigma2)
