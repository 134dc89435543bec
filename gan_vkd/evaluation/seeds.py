"""Runs compared over seeds: means, spreads, and paired differences with their intervals."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
POWER = 0.8
MOST_SEEDS = 1_000


@dataclass(frozen=True)
class OverSeeds:
    """A figure over seeds.

    Attributes:
        mean: of the values.
        deviation: their standard deviation (n - 1); None for one value.
        count: n.
    """

    mean: float
    deviation: float | None
    count: int


@dataclass(frozen=True)
class Paired:
    """A difference over seeds that both sides have.

    Attributes:
        mean: of the differences.
        low, high: the 95 % interval of their mean over seeds, by Student's t; None for one pair.
        count: pairs.
    """

    mean: float
    low: float | None
    high: float | None
    count: int


def over_seeds(values: Mapping[int, float]) -> OverSeeds | None:
    """Mean and spread of values by seed; None for none."""
    if not values:
        return None
    found = np.array(list(values.values()), float)
    spread = float(found.std(ddof=1)) if len(found) > 1 else None
    return OverSeeds(float(found.mean()), spread, len(found))


def paired(values: Mapping[int, float], baseline: Mapping[int, float]) -> Paired | None:
    """`values` less `baseline`, seed by seed; None without a common seed.

    The interval takes the differences as normal. It holds the mean over all seeds (and so over
    draws of the photographs) 95 times in 100, and it is wide for few: 4.3 standard errors for
    three pairs.
    """
    common = sorted(values.keys() & baseline.keys())
    if not common:
        return None
    differences = np.array([values[seed] - baseline[seed] for seed in common])
    mean = float(differences.mean())
    if len(common) == 1:
        return Paired(mean, None, None, 1)
    error = differences.std(ddof=1) / len(common) ** 0.5
    width = float(stats.t.ppf((1 + LEVEL) / 2, len(common) - 1) * error)
    return Paired(mean, mean - width, mean + width, len(common))


@dataclass(frozen=True)
class Difference:
    """A difference of two recipes over seeds.

    Attributes:
        mean: the second's less the first's.
        low, high: its 95 % interval over seeds; None with one seed a side.
        deviation: the standard deviation that one more seed a side would bring, of pairs or, where
            seeds do not pair, of independent runs.
        paired: whether all seeds pair.
        counts: seeds of both.
    """

    mean: float
    low: float | None
    high: float | None
    deviation: float | None
    paired: bool
    counts: tuple[int, int]


def difference_over_seeds(
    values: Mapping[int, float], baseline: Mapping[int, float]
) -> Difference | None:
    """`values` less `baseline`: pair by pair where both have the same seeds, else Welch's.

    None where a side has no value.
    """
    if not values or not baseline:
        return None
    counts = len(values), len(baseline)
    if values.keys() == baseline.keys():
        found = paired(values, baseline)
        spread = over_seeds({seed: values[seed] - baseline[seed] for seed in values}).deviation
        return Difference(found.mean, found.low, found.high, spread, True, counts)
    sides = [np.array(list(side.values()), float) for side in (values, baseline)]
    mean = float(sides[0].mean() - sides[1].mean())
    if min(counts) < 2:
        return Difference(mean, None, None, None, False, counts)
    interval = stats.ttest_ind(*sides, equal_var=False).confidence_interval(LEVEL)
    spread = float(np.sqrt(sum(side.var(ddof=1) for side in sides)))
    return Difference(mean, float(interval.low), float(interval.high), spread, False, counts)


def seeds_to_tell(difference: Difference) -> int | None:
    """The fewest seeds a side whose interval excludes 0 with probability `POWER`.

    Takes the difference and its deviation as what they are over all seeds, and Student's t with
    the degrees of freedom of pairs, or of two recipes with as many runs. The difference itself is
    uncertain, and so is this number.

    Returns:
        2 or more; None without a deviation, or where `MOST_SEEDS` are not enough.
    """
    if not difference.deviation:
        return None
    effect = abs(difference.mean) / difference.deviation
    count = np.arange(2, MOST_SEEDS + 1)
    freedom = count - 1 if difference.paired else 2 * count - 2
    limit = stats.t.ppf((1 + LEVEL) / 2, freedom)
    enough = np.flatnonzero(stats.nct.sf(limit, freedom, effect * np.sqrt(count)) >= POWER)
    return int(count[enough[0]]) if len(enough) else None


def verdict(difference: Paired | None, lower_is_better: bool) -> str:
    """The verdict of a difference on the claim that it is an improvement.

    Returns:
        `supported` or `against` where the interval lies on that side of 0, `not shown` where it
        holds 0, `one seed` where there is one, `not tried` where there is none.
    """
    if difference is None or difference.low is None:
        return "not tried" if difference is None else "one seed"
    below, above = difference.high < 0, difference.low > 0
    if not (below or above):
        return "not shown"
    return "supported" if below == lower_is_better else "against"
