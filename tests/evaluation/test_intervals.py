import numpy as np
import pytest
import torch

from gan_vkd.evaluation.frechet import (
    Gaussian,
    frechet_and_transport,
    frechet_distance,
    moments,
)
from gan_vkd.evaluation.intervals import (
    NORMAL,
    frechet_standard_error,
    of_mean,
)
from gan_vkd.evaluation.kid import kernel_distance, kid_standard_error
from gan_vkd.evaluation.neighbours import neighbourhoods
from gan_vkd.evaluation.prdc import prdc_per_image

DIM, COUNT = 5, 300
REAL = np.random.default_rng(0).normal(size=(800, DIM))


def generated(seed: int) -> np.ndarray:
    """From another distribution: away from saturation."""
    stretched = np.random.default_rng(seed).normal(size=(COUNT, DIM)) * [1.2, 0.7, 1.0, 0.9, 0.5]
    return stretched + 0.25


def frechet_with_error(fake: np.ndarray, first: Gaussian, second: Gaussian) -> tuple[float, float]:
    distance, transport = frechet_and_transport(first, second)
    return distance, frechet_standard_error(fake, first, second, transport)


def kid(fake: np.ndarray, real: np.ndarray) -> float:
    """The U-statistic itself, without subsets."""

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / DIM + 1) ** 3

    def among(x: np.ndarray) -> float:
        matrix = kernel(x, x)
        return (matrix.sum() - np.trace(matrix)) / (len(x) * (len(x) - 1))

    return among(fake) + among(real) - 2 * kernel(fake, real).mean()


def test_the_influence_function_is_the_derivative():
    """Against the distance after a little more weight on each of a few images."""
    fake, step = generated(1), 1e-5
    mean, weights = fake.mean(axis=0), np.full(COUNT, 1 / COUNT)

    def distance(weights: np.ndarray) -> float:
        mu = weights @ fake
        sigma = (weights[:, None] * (fake - mu)).T @ (fake - mu)
        return frechet_distance(mu, sigma, *moments(REAL))

    influence = []
    for image in range(COUNT):
        moved = (1 - step) * weights
        moved[image] += step
        influence.append((distance(moved) - distance(weights)) / step)
    sigma = (fake - mean).T @ (fake - mean) / COUNT
    first = Gaussian.of_moments(mean, sigma)
    _, found = frechet_with_error(fake, first, Gaussian.of_features(REAL))
    assert found == pytest.approx(of_mean(np.array(influence)), rel=1e-3)


def test_the_influence_function_of_fewer_images_than_dimensions():
    fake, real = np.random.default_rng(0).normal(size=(2, 20, 30))
    gaussians = Gaussian.of_features(fake), Gaussian.of_features(real)
    assert np.isfinite(frechet_with_error(fake, *gaussians)).all()


def test_kid_s_term_against_leaving_images_out():
    """The jackknife of the U-statistic agrees to first order."""
    fake = generated(1)
    left_out = [kid(np.delete(fake, i, axis=0), REAL) for i in range(COUNT)]
    jackknife = np.sqrt((COUNT - 1) * np.var(left_out))
    sides = torch.from_numpy(fake), torch.from_numpy(REAL)
    assert kid_standard_error(*sides) == pytest.approx(jackknife, rel=0.05)


@pytest.mark.parametrize(("dim", "scale"), [(16, 1.0), (64, 5.0)])
def test_kid_is_torch_fidelitys(dim, scale):
    from torch_fidelity.metric_kid import kid_features_to_metric

    numbers = torch.Generator().manual_seed(dim)
    real = torch.rand(1_200, dim, generator=numbers) * scale
    fake = torch.rand(700, dim, generator=numbers) * scale * 1.05
    expected = kid_features_to_metric(
        fake.double(), real.double(), kid_subset_size=500, rng_seed=3, verbose=False
    )["kernel_inception_distance_mean"]
    assert kernel_distance(fake, real, subset=500, seed=3) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_intervals_hold_the_expected_value():
    """Over 100 fresh sets of generated images, 88 to 99 times; the expectation is of 300 sets."""
    from torch_fidelity.metric_isc import isc_features_to_metric

    head = np.random.default_rng(3).normal(size=(DIM, 6))
    values: dict[str, list] = {}
    errors: dict[str, list] = {}
    real = Gaussian.of_features(REAL)
    for seed in range(1, 301):
        fake = generated(seed)
        found = {
            "fid": frechet_with_error(fake, Gaussian.of_features(fake), real),
            "kid": (
                kid(fake, REAL),
                kid_standard_error(torch.from_numpy(fake), torch.from_numpy(REAL)),
            ),
        }
        score = isc_features_to_metric(torch.from_numpy(fake @ head), 10)
        mean, spread = score["inception_score_mean"], score["inception_score_std"]
        found["inception_score"] = mean, spread / 10**0.5
        for name, shares in prdc_per_image(neighbourhoods(REAL[:COUNT], fake, 5)).items():
            found[name] = shares.mean(), of_mean(shares)
        for name, (value, error) in found.items():
            values.setdefault(name, []).append(value)
            errors.setdefault(name, []).append(error)
    for name, found in values.items():
        away = np.abs(np.array(found[:100]) - np.mean(found))
        held = int((away <= NORMAL * np.array(errors[name][:100])).sum())
        print(f"{name}: {held} of 100")
        assert 88 <= held <= 99, name
