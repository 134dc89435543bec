"""Nearest points of another set: against all distances in float64."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from gan_vkd.evaluation import distances, search
from gan_vkd.evaluation.distances import Points, squared
from gan_vkd.evaluation.search import Index, nearest, nearest_others

DIM = 1_100


def normal(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DIM))


def along_few(count: int, seed: int) -> np.ndarray:
    """Points of a few directions, in float32, far from zero."""
    draws = np.random.default_rng(seed)
    directions = np.random.default_rng(0).normal(size=(30, DIM))
    points = draws.normal(size=(count, 30)) @ directions + 0.1 * draws.normal(size=(count, DIM))
    return (points + 100).astype(np.float32)


def pixels(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=(count, DIM)).astype(np.uint8)


def few_dimensions(count: int, seed: int) -> np.ndarray:
    return normal(count, seed)[:, :20]


KINDS = {each.__name__: each for each in (normal, along_few, pixels, few_dimensions)}


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def _blocks(request, monkeypatch):
    """What blocks are computed in here, and on CUDA."""
    monkeypatch.setattr(distances, "block_type", lambda _: request.param)


def expected(queries: np.ndarray, among: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    found = cdist(queries.astype(float), among.astype(float))
    order = np.argsort(found, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(found, order, axis=1), order


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "count"), [(400, 7), (300, 300), (1, 1)])
def test_nearest_by_definition(kind, size, count):
    among, queries = KINDS[kind](size, 1), KINDS[kind](40, 2)
    queries[:1] = among[:1]  # at distance 0
    found, order = nearest(queries, Index(among), count)
    of, places = expected(queries, among, count)
    assert found == pytest.approx(of, rel=1e-12, abs=0)
    assert (order == places).all()


def test_of_equally_near_points_the_first_ones_come():
    among = np.concatenate([along_few(150, 1)] * 3)
    _, order = nearest(among[:40], Index(among), 3)
    assert (order == np.arange(40)[:, None] + [0, 150, 300]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("factor", [2.0**100, 2.0**-100])
@pytest.mark.parametrize("kind", ["along_few", "few_dimensions"])
def test_the_size_of_features_is_no_matter(factor, dtype, kind):
    among, queries = (KINDS[kind](400, seed).astype(dtype) for seed in (1, 2))
    of, places = expected(queries[:20], among, 5)
    large = [(part * dtype(factor)).astype(dtype) for part in (queries[:20], among)]
    found, order = nearest(large[0], Index(large[1]), 5)
    assert found == pytest.approx(of * factor, rel=1e-12, abs=0)
    assert (order == places).all()
    mixed, _ = nearest(large[0], Index(among), 5)
    of, _ = expected(large[0].astype(float), among, 5)
    assert mixed == pytest.approx(of, rel=1e-12, abs=0)


def clustered(spread: float) -> np.ndarray:
    """Four tight clusters far from each other: float32 blocks see no distance within them."""
    draws = np.random.default_rng(0)
    centres = 1_000 * draws.normal(size=(4, 64))
    return centres[draws.integers(4, size=300)] + spread * draws.normal(size=(300, 64))


@pytest.mark.parametrize(
    "points",
    [clustered(0.01), np.tile(normal(60, 1)[:, :30], (5, 1)), few_dimensions(300, 1)],
    ids=["clusters", "copies", "plain"],
)
def test_nearest_other_points_by_definition(points):
    squares = cdist(points, points)
    np.fill_diagonal(squares, np.inf)
    order = np.argsort(squares, axis=1, kind="stable")[:, :5]
    found, others = nearest_others(points, 5)
    assert found == pytest.approx(np.take_along_axis(squares, order, axis=1), rel=1e-9, abs=1e-9)
    assert (others == order).all()
    assert (nearest_others(points[:6], 5)[1] != np.arange(6)[:, None]).all()


def test_many_blocks_of_queries(monkeypatch):
    monkeypatch.setattr(search, "CELLS", 3_000)  # seven queries at once
    among, queries = along_few(400, 1), along_few(40, 2)
    assert (nearest(queries, Index(among), 5)[1] == expected(queries, among, 5)[1]).all()


def test_directions_rule_out_most_pairs_and_none_that_is_near():
    among, queries = along_few(2_000, 1), along_few(50, 2)
    index = Index(among)
    ours = Points(queries, index.points.centre.numpy(), torch.device("cpu"))
    bounds = index.sketch.bounds(*index.sketch.of(ours)).double().numpy()
    squares = cdist(queries.astype(float), among.astype(float)) ** 2
    assert (bounds <= squares).all()
    assert (bounds >= 0.8 * squares).mean() > 0.99
    assert Index(few_dimensions(2_000, 1)).sketch is None


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_are_computed_alike_on_every_device(kind, monkeypatch):
    """The form for other devices, on this one."""
    given = [KINDS[kind](60, seed) for seed in (1, 2)]
    centre = np.zeros(given[0].shape[1], np.float32)
    sides = [Points(each, centre, torch.device("cpu")) for each in given]
    i, j = torch.arange(60), torch.arange(60).flip(0)
    here = squared(sides[0], i, sides[1], j)
    differences = given[0].astype(float) - given[1][::-1]
    assert here.numpy() == pytest.approx((differences**2).sum(axis=1), rel=1e-13)
    monkeypatch.setattr(distances, "SPREAD", 7 * DIM)  # a few pairs at once
    assert distances.squared_apart(sides[0], i, sides[1], j).numpy() == pytest.approx(here.numpy())


def test_threads_share_all_pairs(monkeypatch):
    points = Points(normal(50, 1), np.zeros(DIM, np.float32), torch.device("cpu"))
    i, j = (part.ravel() for part in np.indices((50, 50)))
    monkeypatch.setattr(distances, "CACHED", 7 * DIM)  # a few pairs at once
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    found = distances.exact(points, i, points, j)
    squares = cdist(normal(50, 1), normal(50, 1)) ** 2
    assert found.reshape(50, 50) == pytest.approx(squares, rel=1e-12)


def test_squares_of_large_images_do_not_overflow():
    dark, bright = np.zeros((1, 200_000), np.uint8), np.full((1, 200_000), 255, np.uint8)
    found, _ = nearest(dark, Index(bright), 1)
    assert found[0, 0] == pytest.approx(255 * 200_000**0.5, rel=1e-12)
