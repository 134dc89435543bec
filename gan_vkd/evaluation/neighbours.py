"""Who is whose neighbour among two sets of features: exact, and without an N x M matrix.

Squared distances come in blocks, in float32. Each has a rounding error of at most `_slack` times
the sum of the two points' squared norms; wherever a comparison is nearer than that, the pair is
computed again in float64, as a sum of squared differences. So every decision is that of float64,
and ties are ties: a point at exactly the radius is not inside.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from gan_vkd.progress import QUIET, Bar, Reporter

CHUNK = 1_024  # points a side of a block
CACHED = 2**17  # float64 values that stay in a core's cache
SPARE = 8  # candidates kept beyond the k nearest


@dataclass(frozen=True)
class Neighbourhoods:
    """The balls around each set's points up to their k-th nearest neighbour in it.

    Attributes:
        k: as in k-th.
        real_radii, fake_radii: squared radii, float64 [N] and [M].
        real_nearest, fake_nearest: squared distances to the nearest other one of the same set.
        balls: int64 [M]: for each generated image, the real balls that it is strictly inside.
        hits: int64 [N]: for each real ball, the generated images strictly inside.
        recalled: bool [N]: real images strictly inside some generated image's ball.
        clipped_balls: int64 [M]: for each generated image, the real balls that it is inside or on
            the edge of, once no ball is wider than the median one.
        clipped_crowd: int64 [N]: the same for each real image and the other ones' balls.
    """

    k: int
    real_radii: np.ndarray
    fake_radii: np.ndarray
    real_nearest: np.ndarray
    fake_nearest: np.ndarray
    balls: np.ndarray
    hits: np.ndarray
    recalled: np.ndarray
    clipped_balls: np.ndarray
    clipped_crowd: np.ndarray


def neighbourhoods(
    real: np.ndarray,
    fake: np.ndarray,
    k: int,
    *,
    device: torch.device | str = "cpu",
    reporter: Reporter = QUIET,
) -> Neighbourhoods:
    """Find all of them in three passes over blocks, two of which use their symmetry.

    Args:
        real: features [N, d], float32 or float64.
        fake: features [M, d].
        k: smaller than N and M.
        device: where blocks are computed.
        reporter: shows a bar.

    Raises:
        ValueError: shapes that do not fit, k too large, or features that are not finite.
    """
    for features in (real, fake):
        if features.ndim != 2 or features.shape[1] != real.shape[1]:
            raise ValueError(f"features must be [N, d] and [M, d], got {real.shape}, {fake.shape}")
        if not 1 <= k < len(features):
            raise ValueError(f"nearest_k = {k} needs more than {k} points, got {len(features)}")
        if not np.isfinite(features).all():
            raise ValueError("features must be finite")
    centre = (real.mean(axis=0, dtype=np.float64) + fake.mean(axis=0, dtype=np.float64)) / 2
    centre = centre.astype(np.float32)  # float32 features less it are rounded once, not twice
    device = torch.device(device)
    ours, theirs = _Points(real, centre, device), _Points(fake, centre, device)
    steps = sum(p.chunks * (p.chunks + 1) // 2 for p in (ours, theirs))
    with reporter.bar("Neighbours", steps + ours.chunks * theirs.chunks) as bar:
        of_real = _nearest(ours, min(k + SPARE, len(real) - 1), bar)
        of_fake = _nearest(theirs, min(k + SPARE, len(fake) - 1), bar)
        real_radii, fake_radii = _radii(ours, k, *of_real), _radii(theirs, k, *of_fake)
        clipped_radii = np.minimum(real_radii, _squared_median(real_radii))
        balls, clipped_balls = np.zeros((2, len(fake)), np.int64)
        hits = np.zeros(len(real), np.int64)
        recalled = np.zeros(len(real), bool)
        for i, j, least, most in _close(ours, theirs, real_radii, fake_radii, bar):
            pairs = _Pairs(ours, i, theirs, j, least, most)
            inside = pairs.below(real_radii[i])
            hits += np.bincount(i[inside], minlength=len(real))
            balls += np.bincount(j[inside], minlength=len(fake))
            recalled[i[pairs.below(fake_radii[j])]] = True
            clipped = pairs.at_most(clipped_radii[i])
            clipped_balls += np.bincount(j[clipped], minlength=len(fake))
    return Neighbourhoods(
        k=k,
        real_radii=real_radii,
        fake_radii=fake_radii,
        real_nearest=_radii(ours, 1, *of_real),
        fake_nearest=_radii(theirs, 1, *of_fake),
        balls=balls,
        hits=hits,
        recalled=recalled,
        clipped_balls=clipped_balls,
        clipped_crowd=_crowd(ours, clipped_radii, *of_real),
    )


class _Points:
    """A set of points: centred float32 chunks for the blocks, the given values for the rest."""

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


def _slack(dim: int) -> float:
    """Bounds the error of a float32 |x|² + |y|² - 2xy, as a share of |x|² + |y|²."""
    return (dim + 8) * float(np.finfo(np.float32).eps)


def _exact(first: _Points, i: np.ndarray, second: _Points, j: np.ndarray) -> np.ndarray:
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


class _Pairs:
    """Pairs (i, j) whose squared distances are known to be in [least, most].

    Comparisons are exact: a pair that its bounds do not settle is computed again in float64.
    """

    def __init__(
        self,
        first: _Points,
        i: np.ndarray,
        second: _Points,
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
        found = _exact(self.first, self.i[unsure], self.second, self.j[unsure])
        self.least[unsure] = self.most[unsure] = found


def _radii(points: _Points, k: int, values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared distance of each point to its k-th nearest other one, float64 [N].

    Args:
        points: N of them.
        k: as in k-th.
        values, others: what `_nearest` found.
    """
    count = len(points.features)
    kth = values[:, k - 1 : k]
    slack = 2 * _slack_near(points, kth.clip(min=0))
    surely = values < kth - slack
    unsure = ~surely & (values <= kth + slack)
    rows, columns = np.nonzero(unsure)
    distances = np.full(values.shape, np.inf)
    distances[rows, columns] = _exact(points, rows, points, others[rows, columns])
    left = k - surely.sum(axis=1)  # of the unsure ones, this one is the k-th
    radii = np.take_along_axis(np.sort(distances, axis=1), left[:, None] - 1, axis=1)[:, 0]
    for row in np.flatnonzero(unsure[:, -1]) if values.shape[1] < count - 1 else ():
        radii[row] = np.partition(_to_others(points, row)[0], k - 1)[k - 1]  # too many near-ties
    return radii


def _crowd(
    points: _Points, radii: np.ndarray, values: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """For each point the other points' balls that it is inside or on the edge of, int64 [N].

    Args:
        points: N of them.
        radii: squared, none above the k-th neighbour's.
        values, others: what `_nearest` found.
    """
    count, candidates = values.shape
    rows = np.arange(count).repeat(candidates)
    slack = _slack(points.features.shape[1]) * (points.norms[rows] + points.norms[others.ravel()])
    pairs = _Pairs(
        points, rows, points, others.ravel(), values.ravel() - slack, values.ravel() + slack
    )
    inside = pairs.at_most(radii[rows])
    more = values[:, -1] - _slack_near(points, radii[:, None])[:, 0] <= radii
    if candidates == count - 1:
        more[:] = False
    crowd = np.bincount(others.ravel()[inside & ~more[rows]], minlength=count)
    for row in np.flatnonzero(more):  # others than the candidates may be inside
        distances, everyone = _to_others(points, row)
        crowd[everyone[distances <= radii[row]]] += 1
    return crowd


def _slack_near(points: _Points, reach: np.ndarray) -> np.ndarray:
    """`_slack`'s bound for pairs of a point and any within the squared distance `reach` [N, 1]."""
    dim = points.features.shape[1]
    return _slack(dim) * (3 * points.norms[:, None] + 2 * reach)  # |y|² <= 2 |x|² + 2 |x - y|²


def _to_others(points: _Points, row: int) -> tuple[np.ndarray, np.ndarray]:
    """One point's squared distances to all others, and which those are."""
    everyone = np.delete(np.arange(len(points.features)), row)
    return _exact(points, np.full(len(everyone), row), points, everyone), everyone


def _squared_median(squared: np.ndarray) -> float:
    """The square of the median of non-negative numbers whose squares are given."""
    low, high = np.sort(squared)[[(len(squared) - 1) // 2, len(squared) // 2]]
    return low if low == high else ((low**0.5 + high**0.5) / 2) ** 2


def _nearest(points: _Points, count: int, bar: Bar) -> tuple[np.ndarray, np.ndarray]:
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


def _close(
    real: _Points, fake: _Points, real_radii: np.ndarray, fake_radii: np.ndarray, bar: Bar
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Pairs of a real i and a generated j that may share a ball, block by block.

    Yields:
        i, j, and bounds of their squared distances.
    """
    slack = _slack(real.features.shape[1])

    def floor(norms: torch.Tensor) -> torch.Tensor:
        return norms * (1 - slack)

    for a in range(real.chunks):
        start_a, x, x_norms = real.chunk(a)
        of_real = torch.from_numpy(real_radii[start_a : start_a + len(x)]).to(x)
        for b in range(fake.chunks):
            start_b, y, y_norms = fake.chunk(b)
            of_fake = torch.from_numpy(fake_radii[start_b : start_b + len(y)]).to(x)
            widest = torch.maximum(of_real[:, None], of_fake).mul_(1 + 1e-6)
            least = torch.addmm(floor(y_norms), x, y.T, alpha=-2).add_(floor(x_norms)[:, None])
            i, j = (least <= widest).nonzero(as_tuple=True)
            least = least[i, j].double().cpu().numpy()
            i, j = i.cpu().numpy() + start_a, j.cpu().numpy() + start_b
            yield i, j, least, least + 2 * slack * (real.norms[i] + fake.norms[j])
            bar.advance(1)


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
        queries: [Q, d], float32 or float64.
        among: [N, d].
        count: how many of them, at most N.
        device: where blocks are computed.
        reporter: shows a bar.

    Returns:
        Distances float64 [Q, count], ascending, and the points' indices int64 [Q, count].
    """
    centre = among.mean(axis=0, dtype=np.float64).astype(np.float32)
    device = torch.device(device)
    ours, theirs = _Points(queries, centre, device), _Points(among, centre, device)
    candidates = min(count + SPARE, len(among))
    found = []
    with reporter.bar("Nearest images", ours.chunks * theirs.chunks) as bar:
        for a in range(ours.chunks):
            start_a, x, x_norms = ours.chunk(a)
            values = torch.empty(len(x), 0, device=device)
            others = torch.empty(len(x), 0, dtype=torch.int64, device=device)
            for b in range(theirs.chunks):
                start_b, y, y_norms = theirs.chunk(b)
                block = torch.addmm(y_norms, x, y.T, alpha=-2).add_(x_norms[:, None])
                values, others = _smallest(values, others, block, start_b, candidates)
                bar.advance(1)
            j = others.cpu().numpy()
            i = np.arange(start_a, start_a + len(x)).repeat(candidates)
            squared = _exact(ours, i, theirs, j.ravel()).reshape(j.shape)
            order = np.argsort(squared, axis=1, kind="stable")[:, :count]
            found.append([np.take_along_axis(part, order, axis=1) for part in (squared, j)])
    squared, indices = (np.concatenate(column) for column in zip(*found, strict=True))
    return np.sqrt(squared), indices
