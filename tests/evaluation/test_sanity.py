"""Sanity checks that the metrics of neighbours pass, after arXiv 2505.22450 (Räisä et al., 2025).

docs/metrics.md has the whole table, with those that they fail. Thresholds are the paper's: a value
that should be 1 or 0 may be .05 off, a rise or fall is at least .2, and a curve that should be flat
stays within .05.
"""

from collections.abc import Callable

import numpy as np
import pytest

from gan_vkd.evaluation import compute_clipped, compute_prdc

COUNT, K = 1_000, 5
NEAR, FLAT, FALL = 0.05, 0.05, 0.2
FIDELITY = ("precision", "density", "clipped_density")
DIVERSITY = ("recall", "coverage", "clipped_coverage")
SPREADS = {1: (1e-3, 1e3), 8: (0.1, 10.0), 64: (0.3, 3.2)}
FARTHEST = {1: 6.0, 8: 3.0, 64: 1.0}


def metrics(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    return compute_prdc(real, fake, K) | compute_clipped(real, fake, K)


def mean_of(make: Callable[[np.random.Generator], tuple], repeats: int = 2) -> dict[str, float]:
    """Over fresh sets of real and generated points, [N, d] each."""
    found = [metrics(*make(np.random.default_rng(seed))) for seed in range(repeats)]
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def modes(draws: np.random.Generator, shares: list[float], dim: int = 8) -> np.ndarray:
    """Ten modes on the diagonal, a third wide."""
    which = draws.choice(10, COUNT, p=np.array(shares) / np.sum(shares))
    return draws.normal(size=(COUNT, dim)) / 3 + np.linspace(0, 10, 10)[which, None]


@pytest.mark.parametrize("dim", [1, 8, 64])
def test_a_shifted_mean_lowers_all(dim):
    shape, far = (COUNT, dim), FARTHEST[dim]
    found = {
        shift: mean_of(lambda d, s=shift: (d.normal(size=shape), d.normal(size=shape) + s), 1)
        for shift in (-far, 0.0, far)
    }
    for name in (*FIDELITY, *DIVERSITY):
        assert found[0.0][name] > max(found[-far][name], found[far][name]) + FALL, name
    for name in ("coverage", "clipped_density", "clipped_coverage"):
        assert max(found[-far][name], found[far][name]) <= NEAR, name
    assert found[0.0]["coverage"] >= 1 - NEAR


def test_one_outlier_among_the_real_images_does_not_help_samples_around_it():
    """Density counts its wide ball: it fails this check."""

    def shifted(draws):
        real = np.concatenate([draws.normal(size=(COUNT, 8)), np.full((1, 8), 3.0)])
        return real, draws.normal(size=(COUNT, 8)) + 3

    found = mean_of(shifted)
    for name in ("coverage", "clipped_density", "clipped_coverage"):
        assert found[name] <= NEAR, name
    assert found["density"] > NEAR


@pytest.mark.parametrize("dim", [1, 8, 64])
def test_a_wider_spread_lowers_fidelity(dim):
    narrow, wide = (
        mean_of(lambda d, s=s: (d.normal(size=(COUNT, dim)), s * d.normal(size=(COUNT, dim))), 1)
        for s in SPREADS[dim]
    )
    for name in FIDELITY:
        assert narrow[name] >= 1 - NEAR, name
        assert wide[name] <= NEAR, name


def test_dropped_modes_lower_diversity_and_not_fidelity():
    whole = mean_of(lambda d: (modes(d, [1] * 10), modes(d, [1] * 10)))
    half = mean_of(lambda d: (modes(d, [1] * 10), modes(d, [1] * 5 + [0] * 5)))
    for name in DIVERSITY:
        assert half[name] < whole[name] - FALL, name
    for name in ("precision", "clipped_density"):
        assert abs(half[name] - whole[name]) <= FLAT, name


def test_modes_that_fade_lower_coverage_before_they_are_gone():
    """Recall notices only their absence: it fails this check."""
    whole = mean_of(lambda d: (modes(d, [1] * 10), modes(d, [1] * 10)))
    faded = mean_of(lambda d: (modes(d, [1] * 10), modes(d, [1] + [0.05] * 9)))
    for name in ("coverage", "clipped_coverage"):
        assert faded[name] < whole[name] - 0.1, name
    assert faded["recall"] > whole["recall"] - 0.1


def test_invented_modes_lower_fidelity_and_not_coverage():
    known = [1] * 5 + [0] * 5
    real = mean_of(lambda d: (modes(d, known), modes(d, known)))
    more = mean_of(lambda d: (modes(d, known), modes(d, [1] * 10)))
    for name in FIDELITY:
        assert more[name] < real[name] - FALL, name
    assert more["recall"] >= real["recall"] - NEAR


def test_a_torus_around_a_ball_shares_nothing_with_it():
    """Of both sizes of the generated set; recall and coverage fail this check."""

    def ball(draws, count, dim, radius):
        points = draws.normal(size=(count, dim))
        length = radius * draws.random((count, 1)) ** (1 / dim)
        return points / np.linalg.norm(points, axis=1, keepdims=True) * length

    def torus(draws, count):
        across, angle = ball(draws, count, 2, 0.1), 2 * np.pi * draws.random(count)
        out = 1 + across[:, 0]
        return np.stack([out * np.cos(angle), out * np.sin(angle), across[:, 1]], axis=1)

    for count in (300, 3_000):
        found = mean_of(lambda d, n=count: (ball(d, COUNT, 3, 0.8), torus(d, n)))
        for name in ("density", "clipped_density", "clipped_coverage"):
            assert found[name] <= NEAR, (name, count)


def test_one_mode_in_place_of_two_lowers_density():
    """Samples between two modes, with the mean and variance of both."""

    def two(draws, apart):
        real = draws.normal(size=(COUNT, 8)) + apart / 2 * draws.choice([-1, 1], (COUNT, 1))
        return real, draws.normal(size=(COUNT, 8)) * np.sqrt(1 + apart**2)

    near, far = (mean_of(lambda d, a=apart: two(d, a)) for apart in (0.0, 5.0))
    for name in ("density", "clipped_density"):
        assert near[name] >= 1 - NEAR, name
        assert far[name] < near[name] - FALL, name
