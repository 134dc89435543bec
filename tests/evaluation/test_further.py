"""MIND, Vendi, AuthPct and C_T: by their definitions, and their intervals over fresh sets."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu

from gan_vkd.evaluation import mind as module
from gan_vkd.evaluation.authenticity import authenticity, copying_statistic, to_training
from gan_vkd.evaluation.intervals import NORMAL
from gan_vkd.evaluation.mind import mind
from gan_vkd.evaluation.search import Index
from gan_vkd.evaluation.vendi import vendi
from gan_vkd.randomness import generator

REAL = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)


def generated(seed: int, count: int = 300) -> np.ndarray:
    draws = np.random.default_rng(seed).normal(size=(count, 5))
    return (draws * [1.2, 0.7, 1.0, 0.9, 0.5] + 0.25).astype(np.float32)


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def test_mind_s_expectation_over_directions(monkeypatch):
    """For point masses: 3 d E(θ·δ)² = 3 |δ|²; for others a mean of one-dimensional distances."""
    monkeypatch.setattr(module, "DIRECTIONS", 20_000)
    one, other = np.zeros((4, 6), np.float32), np.zeros((4, 6), np.float32)
    other[:, 0] = 2
    value, _ = mind(*tensors(one, other), seed=0)
    assert value == pytest.approx(12, rel=0.03)


def test_mind_is_the_mean_of_distances_along_its_directions(monkeypatch):
    monkeypatch.setattr(module, "DIRECTIONS", 7)
    monkeypatch.setattr(module, "AT_ONCE", 3)
    fake = generated(1)
    value, _ = mind(*tensors(fake, REAL), seed=0)
    directions = torch.randn(5, 7, generator=generator(0, "mind")).double().numpy()
    directions /= np.linalg.norm(directions, axis=0)
    expected = [
        np.mean((np.quantile(fake @ d, (np.arange(300) + 0.5) / 300, method="inverted_cdf")
                 - np.quantile(REAL @ d, (np.arange(300) + 0.5) / 300, method="inverted_cdf")) ** 2)
        for d in directions.T
    ]  # fmt: skip
    assert value == pytest.approx(3 * 5 * np.mean(expected), rel=1e-5)
    assert mind(*tensors(REAL, REAL[::-1].copy()), seed=0)[0] == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="as many of each"):
        mind(*tensors(fake, REAL[:200]), seed=0)


def test_vendi_by_all_similarities():
    """exp(H) of the N x N matrix's eigenvalues; N equal images count once, N orthogonal N times."""
    features = generated(1, 40)
    unit = features.astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit @ unit.T / 40)
    values = values[values > 1e-12]
    assert vendi(features)[0] == pytest.approx(-(values * np.log(values)).sum(), rel=1e-9)
    assert vendi(np.ones((9, 4)))[0] == pytest.approx(0, abs=1e-12)
    assert np.exp(vendi(np.eye(12))[0]) == pytest.approx(12)


def test_authenticity_by_definition():
    images = np.concatenate([generated(1), REAL[:50] + np.float32(1e-3)])
    to_real, among = cdist(images, REAL), cdist(REAL, REAL)
    np.fill_diagonal(among, np.inf)
    expected = among.min(axis=1)[to_real.argmin(axis=1)] < to_real.min(axis=1)
    found = to_training(images, Index(REAL))
    assert authenticity(*found)[0] == pytest.approx(expected.mean())
    assert authenticity(*(part[300:] for part in found))[0] == 0


def test_c_t_is_mann_whitney_s_u():
    draws = np.random.default_rng(0)
    judged, unseen = draws.integers(0, 30, 70) * 1.0, draws.integers(3, 33, 90) * 1.0
    u = mannwhitneyu(judged, unseen).statistic
    expected = (u - 70 * 90 / 2) / np.sqrt(70 * 90 * 161 / 12)
    assert copying_statistic(judged, unseen)[0] == pytest.approx(expected)


def test_intervals_hold_the_expected_value():
    """Over 100 fresh sets of generated (and, for C_T, of held-out) images."""
    found: dict[str, list[tuple[float, float, float]]] = {}

    def add(name: str, value: float, error: float) -> None:
        width = NORMAL * error
        found.setdefault(name, []).append((value, value - width, value + width))

    index = Index(REAL)
    for seed in range(1, 101):
        fake, unseen = generated(seed), np.random.default_rng(-seed % 10_000).normal(size=(300, 5))
        add("mind", *mind(*tensors(fake, REAL), seed=0))
        add("vendi", *vendi(fake))
        ours = to_training(fake, index)
        add("authenticity", *authenticity(*ours))
        theirs = cdist(unseen, REAL).min(axis=1)
        found.setdefault("c_t", []).append(copying_statistic(ours[0], theirs))
    for name, rows in found.items():
        values, low, high = np.array(rows).T
        held = int(((low <= values.mean()) & (values.mean() <= high)).sum())
        print(f"{name}: {held} of 100")
        assert 88 <= held <= 99, name


def test_c_t_is_standard_where_nothing_is_copied():
    draws, inside = np.random.default_rng(0), 0
    for _ in range(200):
        judged, unseen = (cdist(draws.normal(size=(80, 5)), REAL).min(axis=1) for _ in range(2))
        inside += abs(copying_statistic(judged, unseen)[0]) < NORMAL
    assert 180 <= inside <= 199
