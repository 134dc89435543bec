"""Tests by relabelling: their statistics by definition, their levels by simulation."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import binom, false_discovery_control

from gan_vkd.evaluation import chance
from gan_vkd.evaluation.chance import NEAREST, Pool, p_value, q_values
from gan_vkd.evaluation.classes import across_classes, within_classes
from gan_vkd.evaluation.duplicates import duplicates
from gan_vkd.evaluation.findings import LEVEL
from gan_vkd.evaluation.neighbours import neighbourhoods
from gan_vkd.evaluation.prdc import compute_prdc

K = 5


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_the_first_labelling_is_the_truth_and_all_have_as_many_real_images(monkeypatch):
    monkeypatch.setattr(chance, "CELLS", 1_000)  # blocks of 50 labellings
    pool = Pool.of(normal(12, 3), normal(8, 3, seed=1), K, seed=0)
    labellings = np.concatenate(list(pool.labellings()), axis=1)
    assert labellings.shape == (20, chance.LABELLINGS)
    assert (labellings[:, 0] == pool.is_real).all()
    assert sorted(pool.rows[pool.is_real]) == list(range(12))
    assert (labellings.sum(axis=0) == 12).all()
    assert labellings[:, 1:].mean(axis=1) == pytest.approx(12 / 20, abs=0.06)


def test_uncovered_is_what_coverage_counts():
    real, fake = normal(60, 4), normal(60, 4, seed=1) * 0.5
    pool = Pool.of(real, fake, K, seed=0)
    uncovered = pool.uncovered(pool.is_real[:, None], K)[:, 0]
    assert 1 - uncovered.sum() / 60 == pytest.approx(compute_prdc(real, fake, K)["coverage"])
    assert not uncovered[~pool.is_real].any()


def test_nearest_alike_by_definition():
    pool = Pool.of(normal(20, 3), normal(20, 3, seed=1), 39, seed=0)
    points = np.concatenate([normal(20, 3), normal(20, 3, seed=1)])[pool.rows]
    labels = next(pool.labellings())[:, :50]
    distances = cdist(points, points)
    np.fill_diagonal(distances, np.inf)
    for column in range(50):
        alike = labels[:, None, column] == labels[:, column]
        expected = np.where(alike, distances, np.inf).min(axis=1)
        assert pool.nearest_alike(labels)[:, column] == pytest.approx(expected, rel=1e-6)


def test_ties_are_broken_without_regard_to_the_sides():
    """Points on a coarse grid: most distances are equal, and no side is to gain by that."""
    p_values = []
    for seed in range(60):
        draws = np.random.default_rng(seed)
        real, fake = (draws.integers(0, 2, (30, 3)).astype(np.float32) for _ in range(2))
        pool = Pool.of(real, fake, K, seed)
        counts = [pool.uncovered(labels, K).sum(axis=0) for labels in pool.labellings()]
        p_values.append(p_value(np.concatenate(counts)))
    assert np.mean(np.array(p_values) <= 0.1) < 0.25


def test_q_values_are_those_of_benjamini_and_hochberg():
    draws = np.random.default_rng(0)
    scores = draws.normal(size=(500, 12))
    scores[0, :4] += [2.0, 3.0, 3.5, 6.0]
    standard = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    p_values = [(standard >= own).mean() for own in standard[0]]
    expected = false_discovery_control(np.minimum(p_values, 1))
    # the most that stand out, none of the rest
    assert q_values(scores) == pytest.approx(expected)
    scores[:, 5] = 3.0  # a class that says nothing
    assert q_values(scores)[5] == 1


# Levels --------------------------------------------------------------------------------------------


def binomial_alarm(uncovered: np.ndarray, real: int, share: float, level: float) -> bool:
    """What a test that takes the real images of a class for independent would say."""
    return bool((binom.sf(uncovered - 1, real, share) <= level / len(uncovered)).any())


def two_samples(draws, classes: int, count: int, dim: int) -> list[np.ndarray]:
    """Features [classes x count, dim] of classes apart from each other, twice of one distribution."""
    centres = 5 * draws.normal(size=(classes, 1, dim))
    return [
        (centres + draws.normal(size=(classes, count, dim))).reshape(-1, dim).astype(np.float32)
        for _ in range(2)
    ]


def class_alarms(
    draws, level: float, classes: int, count: int, dim: int, labelled: bool
) -> tuple[bool, bool]:
    """Whether two samples of one distribution bring a class in: by relabelling, by a binomial."""
    real, fake = two_samples(draws, classes, count, dim)
    return judged_alarms(real, fake, classes, count, level, labelled, int(draws.integers(2**31)))


def judged_alarms(
    real: np.ndarray,
    fake: np.ndarray,
    classes: int,
    count: int,
    level: float,
    labelled: bool,
    seed: int,
) -> tuple[bool, bool]:
    labels, names = torch.arange(classes).repeat_interleave(count), tuple(map(str, range(classes)))
    if labelled:
        figures = within_classes(fake, labels, real, labels, names, K, seed)
    else:
        pool = Pool.of(real, fake, NEAREST, seed)
        figures = across_classes(neighbourhoods(real, fake, K), pool, labels, names)
    uncovered = np.array([round((1 - f.coverage) * count) for f in figures])
    share = 1 - figures[0].expected_coverage
    found = any(f.coverage_q <= level for f in figures)
    found |= labelled and any(f.variety_q <= level and f.variety < 0.5 for f in figures)
    return found, binomial_alarm(uncovered, count, share, level)


@pytest.mark.parametrize("labelled", [True, False])
def test_one_distribution_brings_a_class_in_as_rarely_as_is_said(labelled):
    """At the level .1, to see it in 60 evaluations: a binomial test raises several times that."""
    draws = np.random.default_rng(0)
    alarms = np.array([class_alarms(draws, 0.1, 8, 16, 2, labelled) for _ in range(60)])
    ours, binomial = alarms.sum(axis=0)
    assert ours <= binom.isf(1e-3, 60, 0.1)
    assert binomial > binom.isf(1e-3, 60, 0.1)
