"""FLD against a plain computation in float64, with scipy's densities and its own Adam."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from gan_vkd.evaluation import fld as module
from gan_vkd.evaluation.fld import feature_likelihood_divergence, fitted
from gan_vkd.evaluation.intervals import NORMAL
from gan_vkd.randomness import generator

STEPS = 12  # of Adam: enough to tell


def normal(seed: int, count: int = 60, dim: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def mixture(points: np.ndarray, centres: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """Log-likelihoods, one component at a time."""
    parts = [
        norm.logpdf(points, centre, np.exp(log / 2)).sum(axis=1)
        for centre, log in zip(centres, logs, strict=True)
    ]
    return logsumexp(parts, axis=0) - np.log(len(centres))


def loss(logs: np.ndarray, training: np.ndarray, centres: np.ndarray) -> float:
    """With the component around the mean, whose log variance is the last of `logs`."""
    middle = training.mean(axis=0)
    around = norm.logpdf(0.9 * (training - middle), 0, np.exp(logs[-1] / 2)).sum(axis=1)
    found = np.logaddexp(mixture(training, centres, logs[:-1]), around)
    return -found.mean() / training.shape[1]


def by_hand(training: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Adam at a rate of .5 on gradients by differences."""
    near = ((training[:, None] - centres) ** 2).sum(axis=2).min(axis=0)
    logs = np.append(np.log((near + 1e-3) / training.shape[1]), 0.0)
    first, second, losses = np.zeros_like(logs), np.zeros_like(logs), []
    for step in range(1, STEPS + 1):
        losses.append(loss(logs, training, centres))
        gradient = np.array(
            [
                (loss(logs + e, training, centres) - loss(logs - e, training, centres)) / 2e-5
                for e in 1e-5 * np.eye(len(logs))
            ]
        )
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        moved = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        logs = logs - 0.5 * moved
        if step > 6 and max(abs(losses[-1] - each) for each in losses[-5:-1]) < 5e-4:
            break
    return logs[:-1]


def test_by_plain_computation(monkeypatch):
    monkeypatch.setattr(module, "STEPS", STEPS)
    judged, training, unseen = normal(1, 4) * 1.3 + 0.2, normal(2, 16), normal(3, 25)
    mean, deviation = unseen.mean(axis=0), unseen.std(axis=0, ddof=1)
    ours, known, others = ((s - mean) / deviation for s in (judged, training, unseen))
    known = known[torch.randperm(16, generator=generator(0, "fld")).numpy()]
    of_judged = mixture(others, ours, by_hand(known, ours))
    of_real = mixture(others, known[:4], by_hand(known[4:], known[:4]))
    expected = 100 / 4 * (of_real.mean() - of_judged.mean())
    found, error = feature_likelihood_divergence(judged, training, unseen, seed=0)
    assert found == pytest.approx(expected, abs=0.05)
    assert error > 0


def test_variances_make_training_images_likely():
    """One centre far from all images: the variance is their mean square in a direction."""
    training, centre = 3 + normal(1, 40), np.zeros((1, 4))
    squares = torch.from_numpy(np.square(training).sum(axis=1, keepdims=True).astype(np.float32))
    far = torch.full((40,), 1e9)  # the component around the mean takes no part
    found = fitted(list(squares.split(module.ROWS)), far, 4)
    assert float(found) == pytest.approx(np.log(np.square(training - centre).mean()), abs=0.05)


def test_blocks_do_not_matter(monkeypatch):
    sets = normal(1, 50), normal(2, 90), normal(3, 70)
    whole = feature_likelihood_divergence(*sets, seed=0)
    monkeypatch.setattr(module, "ROWS", 7)
    assert feature_likelihood_divergence(*sets, seed=0) == pytest.approx(whole, rel=1e-3)


def test_worse_for_poor_for_few_kinds_and_for_copies():
    training, unseen = normal(0, 200), normal(1, 200)
    training[100:, 0] += 8
    unseen[100:, 0] += 8
    fresh = normal(2, 200)
    one_kind = fresh.copy()
    fresh[100:, 0] += 8
    sets = {
        "fresh": fresh,
        "poor": fresh * 1.5,
        "one kind": one_kind,
        "copies": training + 0.02 * normal(3, 200),
    }
    found = {
        name: feature_likelihood_divergence(judged, training, unseen, seed=0)
        for name, judged in sets.items()
    }
    value, error = found.pop("fresh")
    assert abs(value) < 3 * error
    assert all(value - 4 * error > 0 for value, error in found.values()), found
    assert found["copies"][0] > 1_000


def test_features_that_do_not_vary_are_left_out():
    sets = normal(1), normal(2), normal(3)
    plain = feature_likelihood_divergence(*sets, seed=0)
    padded = [np.insert(side, 2, 0.1, axis=1) for side in sets]
    padded[0][:, 2] = 5
    assert feature_likelihood_divergence(*padded, seed=0) == pytest.approx(plain, rel=1e-3)
    assert np.isnan(feature_likelihood_divergence(*(np.ones((9, 3)),) * 3, seed=0)[0])


def test_intervals_hold_the_expected_value(monkeypatch):
    """Over 100 fresh sets of generated and of held-out images; the training images are the same."""
    monkeypatch.setattr(module, "STEPS", STEPS)
    training = normal(0, 100)
    found = []
    for seed in range(1, 101):
        judged, unseen = 0.8 * normal(seed, 100) + 0.3, normal(-seed % 10_000, 100)
        value, error = feature_likelihood_divergence(judged, training, unseen, seed=0)
        found.append((value, abs(error)))
    values, errors = np.array(found).T
    held = int((np.abs(values - values.mean()) <= NORMAL * errors).sum())
    print(f"FLD: {held} of 100")
    assert 88 <= held <= 99
