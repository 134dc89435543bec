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

CHUNK = 2_048  # points a side of a block
SPARE = 8  # candidates kept beyond the k nearest


@dataclass(frozen=True)
class Neighbourhoods:
    """The balls around each set's points up to their k-th nearest neighbour in it.

    Attributes:
        k: as in k-th.
        real_radii, fake_radii: squared radii, float64 [N] and [M].
        balls: int64 [M]: for each generated image, the real balls that it is strictly inside.
        hits: int64 [N]: for each real ball, the generated images strictly inside.
        recalled: bool [N]: real images strictly inside some generated image's ball.
    """

    k: int
    real_radii: np.ndarray
    fake_radii: np.ndarray
    balls: np.ndarray
    hits: np.ndarray
    recalled: np.ndarray


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
        real_radii, fake_radii = (_radii(points, k, bar) for points in (ours, theirs))
        balls = np.zeros(len(fake), np.int64)
        hits = np.zeros(len(real), np.int64)
        recalled = np.zeros(len(real), bool)
        for i, j, in_real, in_fake in _inside(ours, theirs, real_radii, fake_radii, bar):
            hits += np.bincount(i[in_real], minlength=len(real))
            balls += np.bincount(j[in_real], minlength=len(fake))
            recalled[i[in_fake]] = True
    return Neighbourhoods(k, real_radii, fake_radii, balls, hits, recalled)


class _Points:
    """A set of points: centred float32 chunks for the blocks, the given values for the rest."""

    def __init__(self, features: np.ndarray, centre: np.ndarray, device: torch.device):
        self.features, self.centre, self.device = features, centre, device
        self.chunks = -(-len(features) // CHUNK)
        self.norms = np.concatenate(
            [
                np.square(features[rows] - centre.astype(np.float64)).sum(axis=1)
                for rows in self._rows()
            ]
        )

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
    at_once = max(1, CHUNK * CHUNK // first.features.shape[1])
    parts = [
        np.square(
            first.features[i[start : start + at_once]].astype(np.float64)
            - second.features[j[start : start + at_once]]
        ).sum(axis=1)
        for start in range(0, len(i), at_once)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _radii(points: _Points, k: int, bar: Bar) -> np.ndarray:
    """Squared distance of each point to its k-th nearest other one, float64 [N]."""
    count, dim = points.features.shape
    values, others = _nearest(points, min(k + SPARE, count - 1), bar)
    kth = values[:, k - 1 : k]
    slack = 2 * _slack(dim) * (3 * points.norms[:, None] + 2 * kth.clip(min=0))  # of a near pair
    surely = values < kth - slack
    unsure = ~surely & (values <= kth + slack)
    rows, columns = np.nonzero(unsure)
    distances = np.full(values.shape, np.inf)
    distances[rows, columns] = _exact(points, rows, points, others[rows, columns])
    left = k - surely.sum(axis=1)  # of the unsure ones, this one is the k-th
    radii = np.take_along_axis(np.sort(distances, axis=1), left[:, None] - 1, axis=1)[:, 0]
    for row in np.flatnonzero(unsure[:, -1]) if values.shape[1] < count - 1 else ():
        everyone = np.delete(np.arange(count), row)  # more near-ties than candidates
        distances = _exact(points, np.full(count - 1, row), points, everyone)
        radii[row] = np.partition(distances, k - 1)[k - 1]
    return radii


def _nearest(points: _Points, count: int, bar: Bar) -> tuple[np.ndarray, np.ndarray]:
    """The `count` nearest others by float32, ascending: squared distances and indices [N, count].

    Each block of the symmetric matrix is computed once and serves its rows and its columns.
    """
    size = len(points.features)
    values = torch.full((size, count), torch.inf, device=points.device)
    others = torch.zeros((size, count), dtype=torch.int64, device=points.device)

    def update(rows: slice, block: torch.Tensor, start: int) -> None:
        found, columns = block.topk(min(count, block.shape[1]), dim=1, largest=False)
        found = torch.cat([values[rows], found], dim=1)
        columns = torch.cat([others[rows], columns + start], dim=1)
        values[rows], chosen = found.topk(count, dim=1, largest=False)
        others[rows] = columns.gather(1, chosen)

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


def _inside(
    real: _Points, fake: _Points, real_radii: np.ndarray, fake_radii: np.ndarray, bar: Bar
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Pairs of a real i and a generated j that share a ball, block by block.

    Yields:
        i, j, whether j is inside i's ball, whether i is inside j's.
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
            most = least + 2 * slack * (real.norms[i] + fake.norms[j])
            yield i, j, *_decide(real, i, fake, j, least, most, real_radii[i], fake_radii[j])
            bar.advance(1)


def _decide(
    real: _Points,
    i: np.ndarray,
    fake: _Points,
    j: np.ndarray,
    least: np.ndarray,
    most: np.ndarray,
    *radii: np.ndarray,
) -> list[np.ndarray]:
    """Whether each pair's squared distance, between `least` and `most`, is below each radius."""
    unsure = np.zeros(len(i), bool)
    for radius in radii:
        unsure |= (least < radius) & (radius <= most)
    distances = np.where(unsure, 0.0, most)
    distances[unsure] = _exact(real, i[unsure], fake, j[unsure])
    return [distances < radius for radius in radii]
