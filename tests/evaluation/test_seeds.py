import numpy as np
import pytest
from scipy import stats

from gan_vkd.evaluation.seeds import (
    Difference,
    OverSeeds,
    Paired,
    difference_over_seeds,
    over_seeds,
    paired,
    seeds_to_tell,
    verdict,
)

OURS = {0: 12.0, 1: 9.5, 2: 11.0, 5: 10.2}
THEIRS = {0: 14.0, 1: 13.5, 2: 11.5, 7: 40.0}


def test_mean_and_spread():
    found = over_seeds(OURS)
    values = list(OURS.values())
    assert found.mean == pytest.approx(np.mean(values))
    assert found.deviation == pytest.approx(stats.tstd(values))
    assert found.count == 4
    assert over_seeds({3: 2.0}) == OverSeeds(2.0, None, 1)
    assert over_seeds({}) is None


def test_the_paired_interval_is_students():
    found = paired(OURS, THEIRS)
    ours, theirs = ([side[seed] for seed in (0, 1, 2)] for side in (OURS, THEIRS))
    expected = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(np.mean(np.subtract(ours, theirs)))
    assert found.count == 3


def test_pairs_are_made_of_common_seeds_alone():
    assert paired({0: 1.0}, {1: 2.0}) is None
    assert paired({0: 1.0, 1: 5.0}, {1: 2.0}) == Paired(3.0, None, None, 1)


def test_the_interval_holds_the_mean_as_often_as_it_says():
    draws, truth = np.random.default_rng(0), 0.7
    held = 0
    for _ in range(2_000):
        common = draws.normal(scale=5, size=3)  # what seeds share cancels
        ours = dict(enumerate(common + truth + draws.normal(size=3)))
        found = paired(ours, dict(enumerate(common)))
        held += found.low <= truth <= found.high
    assert 0.935 <= held / 2_000 <= 0.965


@pytest.mark.parametrize(
    ("low", "high", "lower_is_better", "said"),
    [
        (-3.0, -1.0, True, "supported"),
        (-3.0, -1.0, False, "against"),
        (1.0, 3.0, True, "against"),
        (1.0, 3.0, False, "supported"),
        (-1.0, 3.0, True, "not shown"),
        (0.0, 0.0, False, "not shown"),
    ],
)
def test_verdicts(low, high, lower_is_better, said):
    assert verdict(Paired((low + high) / 2, low, high, 3), lower_is_better) == said


def test_one_pair_tries_nothing():
    assert verdict(Paired(-9.0, None, None, 1), True) == "one seed"
    assert verdict(None, True) == "not tried"


def test_seeds_that_do_not_pair_are_compared_by_welch():
    found = difference_over_seeds(OURS, THEIRS)
    expected = stats.ttest_ind(list(OURS.values()), list(THEIRS.values()), equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert not found.paired
    pairs = difference_over_seeds(OURS, {seed: value + seed for seed, value in OURS.items()})
    assert pairs.paired
    assert pairs.deviation == pytest.approx(np.std([0, 1, 2, 5], ddof=1))
    single = Difference(-1.0, None, None, None, False, (1, 1))
    assert difference_over_seeds({1: 2.0}, {2: 3.0}) == single
    assert difference_over_seeds({}, OURS) is None


@pytest.mark.parametrize("pairs", [True, False])
def test_so_many_seeds_tell_four_times_in_five(pairs):
    """By simulation: intervals of so many seeds exclude 0 in 80 %, of fewer less often."""
    deviation = 1.0 if pairs else 2**0.5
    count = seeds_to_tell(Difference(0.9, 0.0, 1.0, deviation, pairs, (5, 5)))
    draws = np.random.default_rng(0)

    def told(seeds: int) -> float:
        if pairs:
            found = stats.ttest_1samp(draws.normal(0.9, size=(4_000, seeds)), 0, axis=1)
        else:
            sides = (draws.normal(shift, size=(4_000, seeds)) for shift in (0.9, 0.0))
            found = stats.ttest_ind(*sides, axis=1)
        return float(((found.pvalue < 0.05) & (found.statistic > 0)).mean())

    assert told(count) >= 0.78
    assert told(count - 1) <= 0.82


def test_where_seeds_can_t_be_counted():
    assert seeds_to_tell(Difference(1.0, None, None, None, True, (1, 1))) is None
    assert seeds_to_tell(Difference(0.0, -1.0, 1.0, 1.0, True, (5, 5))) is None
    assert seeds_to_tell(Difference(9.0, 8.0, 10.0, 0.1, True, (5, 5))) == 2
