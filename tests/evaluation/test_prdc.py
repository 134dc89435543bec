import numpy as np
import pytest
from scipy.spatial.distance import cdist

from gan_vkd.evaluation import compute_prdc
from gan_vkd.evaluation.prdc import expected_coverage


def by_definition(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    """Naeem et al. 2020, equations 1 to 6, written out."""
    real_radii = np.sort(cdist(real, real), axis=1)[:, k]
    fake_radii = np.sort(cdist(fake, fake), axis=1)[:, k]
    distances = cdist(real, fake)
    return {
        "precision": (distances < real_radii[:, None]).any(axis=0).mean(),
        "recall": (distances < fake_radii[None]).any(axis=1).mean(),
        "density": (distances < real_radii[:, None]).sum(axis=0).mean() / k,
        "coverage": (distances.min(axis=1) < real_radii).mean(),
    }


def test_values_are_those_of_the_definition_and_nothing_is_printed(capsys):
    draws = np.random.default_rng(0)
    real, fake = draws.normal(size=(120, 6)), draws.normal(size=(90, 6)) + 0.4
    found = compute_prdc(real, fake, nearest_k=5)
    assert found == pytest.approx(by_definition(real, fake, 5))
    assert capsys.readouterr().out == ""


def test_expected_coverage_by_simulation():
    draws = np.random.default_rng(0)
    found = [
        compute_prdc(draws.normal(size=(60, 3)), draws.normal(size=(60, 3)), 3)["coverage"]
        for _ in range(100)
    ]
    assert np.mean(found) == pytest.approx(expected_coverage(60, 60, 3), abs=0.02)
    assert expected_coverage(5000, 5000, 5) == pytest.approx(0.969, abs=5e-4)
