"""C_T over cells, against the formula with scipy's U, and what one cell for all would hide."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu

from gan_vkd.evaluation.authenticity import copying_statistic
from gan_vkd.evaluation.cells import EACH, FEWEST, cells_of, copying_over_cells

PLACES = np.arange(4) * 20.0


def around(seed: int, counts: tuple[int, ...]) -> np.ndarray:
    """Points of four distant clouds."""
    draws = np.random.default_rng(seed)
    return np.concatenate(
        [draws.normal(size=(n, 3)) + at for n, at in zip(counts, PLACES, strict=True)]
    )


def seen(points: np.ndarray, training: np.ndarray, of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return cdist(points, training).min(axis=1), of


def test_by_the_formula_weighted_by_held_out_images():
    training = around(0, (60, 60, 60, 60))
    judged, unseen = around(1, (30, 80, FEWEST - 1, 50)), around(2, (90, 20, 50, FEWEST - 1))
    clouds = [np.repeat(np.arange(4), n) for n in ((30, 80, 19, 50), (90, 20, 50, 19))]
    ours, theirs = seen(judged, training, clouds[0]), seen(unseen, training, clouds[1])
    expected = 0.0
    for cloud, weight in ((0, 90 / 110), (1, 20 / 110)):  # the others have too few on one side
        a, b = ours[0][clouds[0] == cloud], theirs[0][clouds[1] == cloud]
        n, m = len(a), len(b)
        u = mannwhitneyu(a, b).statistic
        expected += weight * (u - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12)
    (value, low, high), counted = copying_over_cells(ours, theirs)
    assert value == pytest.approx(expected)
    assert low < value < high
    assert counted == 2


def test_one_cell_is_c_t_and_none_is_unknown():
    draws = np.random.default_rng(0)
    a, b = draws.random(40), draws.random(50)
    one, other = (a, np.zeros(40, int)), (b, np.zeros(50, int))
    assert copying_over_cells(one, other)[0] == pytest.approx(copying_statistic(a, b))
    assert copying_over_cells((a[:5], np.zeros(5, int)), other) == (None, 0)


def test_cells_are_the_clouds_and_no_more_than_images_allow():
    training, judged = around(0, (EACH,) * 4), around(1, (EACH,) * 4)
    (found,) = cells_of(training, judged, seed=0)
    clouds = found.reshape(4, EACH)
    assert (clouds == clouds[:, :1]).all()
    assert len(set(clouds[:, 0])) == 4
    for sides in ((training[: 2 * EACH - 1], judged), (training, judged[: 2 * EACH - 1])):
        assert set(cells_of(*sides, seed=0)[0]) == {0}


def test_copies_in_one_place_behind_poor_samples_in_the_others():
    """One cell for all takes them for one another; cells tell the copied one."""
    training, unseen = around(0, (100,) * 4), around(1, (100,) * 4)
    poor = around(2, (100,) * 4) * 1.02 + 0.2
    judged = np.concatenate([training[:100] + 0.01, poor[100:]])
    ours, theirs = (
        seen(points, training, np.repeat(np.arange(4), 100)) for points in (judged, unseen)
    )
    copied = copying_over_cells(*((d[:100], c[:100]) for d, c in (ours, theirs)))[0]
    assert copied[2] < -10
    assert copying_statistic(ours[0], theirs[0])[0] > -3


def test_intervals_hold_the_expected_value():
    """Over 100 fresh sets of judged and of held-out points."""
    training = around(0, (60, 60, 60, 60))
    draws = np.random.default_rng(3)
    found = []
    for _ in range(100):
        sides = [around(int(draws.integers(2**32)), (40, 30, 50, 60)) for _ in range(2)]
        sides[0] = 0.9 * sides[0] + 0.1 * around(0, (40, 30, 50, 60)) + 0.3
        clouds = np.repeat(np.arange(4), (40, 30, 50, 60))
        found.append(copying_over_cells(*(seen(side, training, clouds) for side in sides))[0])
    values, low, high = np.array(found).T
    held = int(((low <= values.mean()) & (values.mean() <= high)).sum())
    assert 88 <= held <= 99
