"""Tests by relabelling: their statistics by definition, their levels by simulation."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import binom, false_discovery_control

from gan_vkd.evaluation import chance
from gan_vkd.evaluation.chance import NEAREST, Pool, p_value, q_values
from gan_vkd.evaluation.classes import ClassFigures, across_classes, within_classes
from gan_vkd.evaluation.duplicates import duplicates
from gan_vkd.evaluation.features import load_extractor, run_extractor
from gan_vkd.evaluation.findings import LEVEL
from gan_vkd.evaluation.neighbours import neighbourhoods
from gan_vkd.evaluation.prdc import compute_prdc
from gan_vkd.progress import QUIET

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
    assert q_values(scores) == pytest.approx(expected)
    scores[:, 5] = 3.0  # alike under every labelling
    assert q_values(scores)[5] > 0.5


# Levels -----------------------------------------------------------------------------------------


@pytest.fixture
def few_labellings(monkeypatch):
    """For levels of a hundredth."""
    monkeypatch.setattr(chance, "LABELLINGS", 500)


def gaussians(draws, classes: int, count: int) -> list[np.ndarray]:
    """Two samples of plane Gaussians, far from each other: features [classes x count, 2]."""
    centres = 5 * draws.normal(size=(classes, 1, 2))
    return [
        (centres + draws.normal(size=(classes, count, 2))).reshape(-1, 2).astype(np.float32)
        for _ in range(2)
    ]


def of_classes(
    real: np.ndarray, fake: np.ndarray, classes: int, seed: int, labelled: bool
) -> list[ClassFigures]:
    """The figures of classes of equal size, in order."""
    count, names = len(real) // classes, tuple(map(str, range(classes)))
    labels = torch.arange(classes).repeat_interleave(count)
    if labelled:
        return within_classes(fake, labels, real, labels, names, [True] * len(names), K, seed)
    pool = Pool.of(real, fake, NEAREST, seed)
    return across_classes(neighbourhoods(real, fake, K), pool, labels, names)


def alarms(figures: list[ClassFigures], level: float) -> dict[str, bool]:
    """Whether any class is named; `binomial`: if its real images were taken as independent."""
    share = 1 - figures[0].expected_coverage
    uncovered, real = np.array([(round((1 - f.coverage) * f.real), f.real) for f in figures]).T
    return {
        "coverage": any(f.coverage_q <= level for f in figures),
        "variety": figures[0].variety is not None and any(f.variety_q <= level for f in figures),
        "binomial": bool((binom.sf(uncovered - 1, real, share) <= level / len(figures)).any()),
    }


def counted(found: list[dict[str, bool]]) -> dict[str, int]:
    return {name: sum(alarm[name] for alarm in found) for name in found[0]}


@pytest.mark.parametrize(("labelled", "evaluations"), [(True, 40), (False, 100)])
def test_one_distribution_rarely_brings_a_class_in(labelled, evaluations, few_labellings):
    """At the level .01; a binomial raises more alarms than that allows."""
    draws, found = np.random.default_rng(0), []
    for seed in range(evaluations):
        real, fake = gaussians(draws, 20, 20)
        found.append(alarms(of_classes(real, fake, 20, seed, labelled), 0.01))
    count, most = counted(found), binom.isf(1e-3, evaluations, 0.01)
    assert count["coverage"] <= most
    assert count["variety"] <= most
    assert count["binomial"] >= most  # .6 are expected


def test_little_variety_of_few_images_is_not_told():
    """Of seven images a class now and then varies less than half as much by chance."""
    real, fake = gaussians(np.random.default_rng(5), 100, 7)
    figures = of_classes(real, fake, 100, 0, labelled=True)
    assert any(f.variety < 0.5 for f in figures)
    assert not alarms(figures, LEVEL)["variety"]


def test_half_of_the_classes_missing_is_found_without_labels():
    draws = np.random.default_rng(0)
    real, fake = gaussians(draws, 10, 50)
    present = draws.permutation(fake[:250].repeat(2, axis=0) + 0.1 * draws.normal(size=(500, 2)))
    figures = of_classes(real, present.astype(np.float32), 10, 0, labelled=False)
    found = [f.coverage_q <= LEVEL for f in figures]
    assert sum(found[5:]) >= 4
    assert not any(found[:5])


def test_collapsed_and_badly_covered_classes_are_found_among_good_ones():
    draws = np.random.default_rng(0)
    real, fake = gaussians(draws, 10, 50)
    fake[:50] = fake[0] + 0.05 * draws.normal(size=(50, 2))
    fake[50:100, 0] = real[50:100, 0].mean() + abs(fake[50:100, 0] - real[50:100, 0].mean())
    figures = of_classes(real, fake, 10, 0, labelled=True)
    assert [f.name for f in figures if f.coverage_q <= LEVEL] == ["0", "1"]
    assert [f.name for f in figures if f.variety_q <= LEVEL] == ["0"]
    assert figures[0].variety < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("source", ["photographs", "gaussians"])
def test_the_level_of_what_is_said_of_classes(source, labelled, cifar100, few_labellings):
    """500 evaluations, 20 classes of 20 images a side, at the level .01."""
    draws, found = np.random.default_rng(0), []
    classes = photographs(cifar100("train"), 100) if source == "photographs" else None
    for seed in range(500):
        if classes is None:
            real, fake = gaussians(draws, 20, 20)
        else:
            chosen = [draws.permutation(classes[c])[:40] for c in draws.permutation(100)[:20]]
            real, fake = (np.concatenate([c[side] for c in chosen]) for side in HALVES)
        found.append(alarms(of_classes(real, fake, 20, seed, labelled), 0.01))
    count, most = counted(found), binom.isf(1e-3, 500, 0.01)
    assert count["coverage"] <= most
    assert count["variety"] <= most
    assert count["binomial"] >= most  # .6 are expected


@pytest.mark.slow
def test_the_level_of_what_is_said_of_images_too_alike(cifar100, few_labellings):
    """300 evaluations of 500 photographs a side, at the level .01."""
    features = np.concatenate(photographs(cifar100("train"), 100))
    draws, alarms = np.random.default_rng(0), 0
    different = [bytes([i // 256, i % 256]) for i in range(1_000)]
    for seed in range(300):
        drawn = features[draws.permutation(len(features))[:1_000]]
        pool = Pool.of(drawn[:500], drawn[500:], NEAREST, seed)
        alarms += duplicates(pool, different[500:], different[:500])["p"]["close"] <= 0.01
    assert alarms <= binom.isf(1e-3, 300, 0.01)


HALVES = (slice(20), slice(20, None))


def photographs(split: dict[str, np.ndarray], count: int) -> list[np.ndarray]:
    """The bundled evaluator's features of `count` photographs a class, [count, 192] each."""
    extractor = load_extractor("bundled-1", None, torch.device("cpu"))
    found = []
    for of_class in split.values():
        images = torch.from_numpy(of_class[:count]).permute(0, 3, 1, 2)
        found.append(run_extractor(extractor, images, "", QUIET).features.numpy())
    return found
