"""Distances between features: exact, and without an N x M matrix.

Squared distances come in blocks, in float32. Each has a rounding error of at most `slack` times
the sum of the two points' squared norms; wherever a comparison is nearer than that, the pair is
computed again in float64, as a sum of squared differences. So every decision is that of float64,
and ties are ties: a point at exactly the radius is not inside.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike

from gan_vkd.progress import QUIET, Bar, Reporter

CHUNK = 1_024  # points a side of a block
CACHED = 2**17  # float64 values that stay in a core's cache
SPARE = 8  # candidates kept beyond the nearest that are asked for
PLAIN = 20  # powers of two that the largest value may be from 1 without being scaled


def as_features(values: ArrayLike | torch.Tensor) -> np.ndarray:
    """Anything like an array of real numbers → float32 where it is that, else float64.

    Raises:
        ValueError: something else.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"features must be an array of real numbers, got {array.dtype}")
    return np.ascontiguousarray(array, np.float32 if array.dtype == np.float32 else np.float64)


def power_of_scale(*sets: np.ndarray) -> int:
    """The p such that no value of the sets x 2^-p is above 1; 0 where their size is no matter.

    So scaled, squares do not overflow, nor vanish; and nothing is rounded.

    Args:
        sets: features [N, d], finite.
    """
    power = int(np.frexp(max(float(np.abs(points).max(initial=0)) for points in sets))[1])
    return power if abs(power) > PLAIN else 0


class Points:
    """A set of points: centred float32 chunks for the blocks, the given values for the rest.

    Args:
        features: [N, d], float32, float64 or uint8.
        centre: float32 [d], subtracted in the blocks.
        device: where blocks are computed.
    """

    def __init__(self, features: np.ndarray, centre: np.ndarray, device: torch.device):
        self.features, self.centre, self.device = features, centre, device
        self.chunks = -(-len(features) // CHUNK)
        centred = (features[rows] - centre.astype(np.float64) for rows in self._rows())
        self.norms = np.concatenate([np.einsum("nd,nd->n", part, part) for part in centred])

    def _rows(self) -> Iterator[slice]:
        return (slice(n * CHUNK, (n + 1) * CHUNK) for n in range(self.chunks))

    def chunk(self, number: int) -> tuple[int, torch.Tensor, torch.Tensor]:
        """The first point's index, the points [C, d] and their squared norms [C], float32."""
        start = number * CHUNK
        rows = slice(start, start + CHUNK)
        points = (torch.from_numpy(self.features[rows]) - torch.from_numpy(self.centre)).float()
        norms = torch.from_numpy(self.norms[rows].astype(np.float32))
        return start, points.to(self.device), norms.to(self.device)


def slack(dim: int) -> float:
    """Bounds the error of a float32 |x|² + |y|² - 2xy, as a share of |x|² + |y|²."""
    return (dim + 8) * float(np.finfo(np.float32).eps)


def exact(first: Points, i: np.ndarray, second: Points, j: np.ndarray) -> np.ndarray:
    """Squared distances of the pairs (i, j) in float64."""
    at_once = max(1, CACHED // first.features.shape[1])
    parts = [
        np.square(
            first.features[i[start : start + at_once]].astype(np.float64)
            - second.features[j[start : start + at_once]]
        ).sum(axis=1)
        for start in range(0, len(i), at_once)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


class Pairs:
    """Pairs (i, j) whose squared distances are known to be in [least, most].

    Comparisons are exact: a pair that its bounds do not settle is computed again in float64.
    """

    def __init__(
        self,
        first: Points,
        i: np.ndarray,
        second: Points,
        j: np.ndarray,
        least: np.ndarray,
        most: np.ndarray,
    ):
        self.first, self.i, self.second, self.j = first, i, second, j
        self.least, self.most = least, most

    def below(self, radii: np.ndarray) -> np.ndarray:
        """Whether each squared distance is < its radius."""
        self._settle((self.least < radii) & (radii <= self.most))
        return self.most < radii

    def at_most(self, radii: np.ndarray) -> np.ndarray:
        """Whether each squared distance is <= its radius."""
        self._settle((self.least <= radii) & (radii < self.most))
        return self.most <= radii

    def _settle(self, unsure: np.ndarray) -> None:
        found = exact(self.first, self.i[unsure], self.second, self.j[unsure])
        self.least[unsure] = self.most[unsure] = found


def candidates(points: Points, count: int, bar: Bar) -> tuple[np.ndarray, np.ndarray]:
    """The `count` nearest others by float32, ascending: squared distances and indices [N, count].

    Each block of the symmetric matrix is computed once and serves its rows and its columns.
    """
    size = len(points.features)
    values = torch.full((size, count), torch.inf, device=points.device)
    others = torch.zeros((size, count), dtype=torch.int64, device=points.device)

    def update(rows: slice, block: torch.Tensor, start: int) -> None:
        values[rows], others[rows] = _smallest(values[rows], others[rows], block, start, count)

    for a in range(points.chunks):
        start_a, x, x_norms = points.chunk(a)
        for b in range(a, points.chunks):
            start_b, y, y_norms = points.chunk(b)
            block = torch.addmm(y_norms, x, y.T, alpha=-2).add_(x_norms[:, None])
            if a == b:
                block.fill_diagonal_(torch.inf)
            update(slice(start_a, start_a + len(x)), block, start_b)
            if a != b:
                update(slice(start_b, start_b + len(y)), block.T.contiguous(), start_a)
            bar.advance(1)
    return values.cpu().numpy().astype(np.float64), others.cpu().numpy()


def _smallest(
    values: torch.Tensor, others: torch.Tensor, block: torch.Tensor, start: int, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` smallest, as far as there are, of `values` [B, n] and `block`'s [B, C] columns.

    Args:
        values: squared distances found so far.
        others: the points they lead to.
        block: more of them, to the points from `start` on.
        start, count: as above.
    """
    found, columns = block.topk(min(count, block.shape[1]), dim=1, largest=False)
    found = torch.cat([values, found], dim=1)
    columns = torch.cat([others, columns + start], dim=1)
    values, chosen = found.topk(min(count, found.shape[1]), dim=1, largest=False)
    return values, columns.gather(1, chosen)


def nearest_others(
    features: np.ndarray,
    count: int,
    *,
    device: torch.device | str = "cpu",
    reporter: Reporter = QUIET,
) -> tuple[np.ndarray, np.ndarray]:
    """Each point's nearest other points of the same set.

    Args:
        features: [N, d], float32 or float64.
        count: how many of them, less than N.
        device: where blocks are computed.
        reporter: shows a bar.

    Returns:
        Distances float64 [N, count], ascending, and the points' indices int64 [N, count].
    """
    power = power_of_scale(features)
    features = np.ldexp(features, -power) if power else features
    centre = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    points = Points(features, centre, torch.device(device))
    with reporter.bar("Neighbours", points.chunks * (points.chunks + 1) // 2) as bar:
        _, others = candidates(points, min(count + SPARE, len(features) - 1), bar)
    distances, others = _in_order(points, np.arange(len(features)), points, others, count)
    return np.ldexp(distances, power), others


def nearest(
    queries: np.ndarray,
    among: np.ndarray,
    count: int,
    *,
    device: torch.device | str = "cpu",
    reporter: Reporter = QUIET,
) -> tuple[np.ndarray, np.ndarray]:
    """Each query's nearest points of another set.

    Args:
        queries: [Q, d], float32, float64 or uint8.
        among: [N, d].
        count: how many of them, at most N.
        device: where blocks are computed.
        reporter: shows a bar.

    Returns:
        Distances float64 [Q, count], ascending, and the points' indices int64 [Q, count].
    """
    centre = among.mean(axis=0, dtype=np.float64).astype(np.float32)
    device = torch.device(device)
    ours, theirs = Points(queries, centre, device), Points(among, centre, device)
    kept = min(count + SPARE, len(among))
    found = []
    with reporter.bar("Nearest images", ours.chunks * theirs.chunks) as bar:
        for a in range(ours.chunks):
            start_a, x, x_norms = ours.chunk(a)
            values = torch.empty(len(x), 0, device=device)
            others = torch.empty(len(x), 0, dtype=torch.int64, device=device)
            for b in range(theirs.chunks):
                start_b, y, y_norms = theirs.chunk(b)
                block = torch.addmm(y_norms, x, y.T, alpha=-2).add_(x_norms[:, None])
                values, others = _smallest(values, others, block, start_b, kept)
                bar.advance(1)
            rows = np.arange(start_a, start_a + len(x))
            found.append(_in_order(ours, rows, theirs, others.cpu().numpy(), count))
    distances, indices = (np.concatenate(column) for column in zip(*found, strict=True))
    return distances, indices


def _in_order(
    first: Points, rows: np.ndarray, second: Points, others: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The `count` nearest of each row's candidates `others` [B, n]: float64 distances, indices."""
    i = rows.repeat(others.shape[1])
    squared = exact(first, i, second, others.ravel()).reshape(others.shape)
    order = np.argsort(squared, axis=1, kind="stable")[:, :count]
    squared, others = (np.take_along_axis(part, order, axis=1) for part in (squared, others))
    return np.sqrt(squared), others
