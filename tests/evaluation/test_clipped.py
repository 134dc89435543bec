import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import comb

from gan_vkd.evaluation import compute_clipped, distances
from gan_vkd.evaluation.clipped import expected_clipped_hits


def by_definition(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    """Salvy et al., written out; the expectation from the counts' whole distribution."""
    among = cdist(real, real)
    radii = np.sort(among, axis=1)[:, k]
    clipped = np.minimum(radii, np.median(radii))
    np.fill_diagonal(among, np.inf)
    across = cdist(real, fake)
    share_of_real = np.minimum((among <= clipped[:, None]).sum(axis=0) / k, 1).mean()
    share = np.minimum((across <= clipped[:, None]).sum(axis=0) / k, 1).mean()
    mean = np.minimum((across < radii[:, None]).sum(axis=1) / k, 1).mean()
    below = sum(expected_mean(len(real), good, k) < mean for good in range(len(fake) + 1))
    return {
        "clipped_density": min(share / share_of_real, 1),
        "clipped_coverage": below / (len(fake) + 1),
    }


def expected_mean(real_count: int, good: int, k: int) -> float:
    """E min(h, k) / k, where h of the good images come before the k-th of N - 1 real ones."""
    if good < k:
        return 0.0
    h, others = np.arange(good + 1), real_count - 1
    ways = comb(h + k - 1, h) * comb(others - k + good - h, good - h) / comb(others + good, good)
    assert ways.sum() == pytest.approx(1)
    return (ways * np.minimum(h, k)).sum() / k


def normal(*shape: int, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape) + shift


def whole_numbers(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, size=(81, 6)).astype(float)


SETS = {
    "two distributions": (normal(120, 30), normal(90, 30, seed=1, shift=0.2)),
    "an even and an odd count": (normal(81, 5), normal(80, 5, seed=1, shift=0.5)),
    "more generated": (normal(50, 12), normal(160, 12, seed=1)),
    "threefold": (np.repeat(normal(30, 9), 3, axis=0), normal(80, 9, seed=1)),
    "all alike": (np.ones((20, 4)), np.ones((30, 4))),
    "many ties": (whole_numbers(0), whole_numbers(1)),
    "outliers": (np.concatenate([normal(95, 9), 50 * normal(5, 9)]), normal(100, 9, seed=1)),
    "far away": (normal(40, 9), normal(40, 9, seed=1, shift=1e3)),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("chunk", [32, 2048])
def test_equal_to_the_definition(name, k, chunk, monkeypatch):
    monkeypatch.setattr(distances, "CHUNK", chunk)
    real, fake = SETS[name]
    assert compute_clipped(real, fake, k) == pytest.approx(by_definition(real, fake, k), abs=1e-9)


def test_on_photographs(photograph_features):
    real, fake = photograph_features[:160].numpy(), photograph_features[500:650].numpy()
    expected = by_definition(real.astype(np.float64), fake.astype(np.float64), 5)
    assert compute_clipped(real, fake, 5) == pytest.approx(expected, abs=1e-9)


def test_the_expectation_by_its_distribution():
    found = expected_clipped_hits(60, 50, 5)
    assert found == pytest.approx([expected_mean(60, good, 5) for good in range(51)])
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_value_reads_as_the_share_of_good_samples(share):
    """The rest of the samples are far away: what the two metrics are made for."""
    real = normal(600, 4)
    fake = normal(600, 4, seed=1)
    fake[int(share * len(fake)) :] += 100
    found = compute_clipped(real, fake, 5)
    assert found["clipped_density"] == pytest.approx(share, abs=0.05)
    assert found["clipped_coverage"] == pytest.approx(share, abs=0.05)


def test_outliers_among_the_real_images_bend_density_but_not_this():
    """One real image among the bad samples: its ball holds many of them."""
    real, fake = normal(300, 4), normal(300, 4, seed=1)
    fake[150:] = 30 + normal(150, 4, seed=2)
    apart = np.concatenate([real[:-6], 30 + 3 * normal(6, 4, seed=3)])
    clean, bent = (compute_clipped(r, fake, 5)["clipped_density"] for r in (real, apart))
    assert bent == pytest.approx(clean, abs=0.05)
