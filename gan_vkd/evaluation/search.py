"""The nearest points of another set: exact, from bounds in a few directions.

With orthonormal directions V and what they leave of a point's length, r(x) = |x - V Vᵀ x|, the
points (Vᵀx, r(x)) are never farther from each other than the x are, since
|x - y|² >= |Vᵀ(x - y)|² + (r(x) - r(y))². Photographs lie along few directions, so most pairs are
ruled out at a fraction of a distance's cost, groups of them together. Where that rules out too few,
as among noise, bounds are the distances themselves but for their rounding. What is left is computed
in float64.
"""

import numpy as np
import torch
import torch.nn.functional as F

from gan_vkd.evaluation.distances import CHUNK, Points, power_of_scale, squared
from gan_vkd.progress import QUIET, Reporter
from gan_vkd.randomness import generator

DIRECTIONS = 256
FEWEST = 1_024  # dimensions from which on directions pay
SAMPLE = 2_048  # points that the directions are taken from
CELLS = 2**24  # of a block of bounds
GROUP = 16  # points that are ruled out together
MANY = 32  # one point in so many left by the directions: they do not pay
ROUNDING = 16  # of a sketch's numbers, beside its products', in units of the last place


class Index:
    """A set of points to be searched.

    Args:
        features: [N, d], float32, float64 or uint8, finite.
        device: where all is computed.
        power: they are searched x 2^-power, so that squares neither overflow nor vanish; None: as
            their size asks for.
    """

    def __init__(
        self,
        features: np.ndarray,
        device: torch.device | str = "cpu",
        power: int | None = None,
    ):
        self.features = features
        self.power = power_of_scale(features) if power is None else power
        features = _scaled(features, self.power)
        centre = features.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.points = Points(features, centre, torch.device(device))
        wide = features.shape[1] >= FEWEST and len(features) > DIRECTIONS
        self.sketch = _Sketch(self.points) if wide else None


def _scaled(features: np.ndarray, power: int) -> np.ndarray:
    return np.ldexp(features, -power) if power else features


class _Sketch:
    """Points in the leading directions of a set, and bounds of distances from it."""

    def __init__(self, points: Points):
        self.directions = _leading(points)
        sketches, norms = self.of(points)
        self.share = 1 - (DIRECTIONS + ROUNDING) * torch.finfo(points.dtype).eps
        missing = _in_groups(len(points)) - len(points)
        self.sketches = F.pad(sketches, (0, 0, 0, missing))
        self.norms = F.pad(norms * self.share, (0, missing), value=torch.inf)

    def of(self, points: Points) -> tuple[torch.Tensor, torch.Tensor]:
        """(Vᵀx, r(x)) of each point, [N, `DIRECTIONS` + 1], and their squared norms [N]."""
        found = []
        for start in range(0, len(points), CHUNK):
            part = points.centred(slice(start, start + CHUNK))
            along = part @ self.directions
            rest = part.square().sum(dim=1) - along.square().sum(dim=1)
            part = torch.cat([along, rest.clamp(min=0).sqrt()[:, None]], dim=1)
            found.append(part.to(points.dtype))
        sketches = torch.cat(found)
        return sketches, sketches.square().sum(dim=1)

    def bounds(self, queries: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """Of the squared distances of queries, given as sketches [B, s], to all points.

        Returns:
            [B, N], and infinite ones up to whole groups.
        """
        found = torch.addmm(self.norms, queries, self.sketches.T, alpha=-2)
        return found.add_((norms * self.share)[:, None])


def _leading(points: Points) -> torch.Tensor:
    """Orthonormal directions [d, `DIRECTIONS`] that hold most of the variance, float64.

    Two steps of subspace iteration (Halko, Martinsson and Tropp, SIAM Review 2011) on some of the
    points; any orthonormal directions give valid bounds.
    """
    some = points.given[:: max(1, len(points) // SAMPLE)].double() - points.centre
    draws = generator(0, "directions")
    start = torch.randn(some.shape[1], DIRECTIONS, generator=draws, dtype=torch.float64)
    found = start.to(points.device)
    for _ in range(2):
        found = torch.linalg.qr(some.T @ (some @ found)).Q
    return found


def _in_groups(count: int) -> int:
    """How many points whole groups of them hold, at least `count`."""
    return -(-count // GROUP) * GROUP


def _bounds(queries: Points, rows: torch.Tensor, among: Points) -> torch.Tensor:
    """As `_Sketch.bounds`, of the queries at `rows` [B]: their distances but for rounding."""
    x = (queries.given[rows].double() - queries.centre).to(among.dtype)
    share, own = 1 - among.slack, x.square().sum(dim=1)
    found = x.new_full((len(rows), _in_groups(len(among))), torch.inf)
    for number in range(among.chunks):
        start, y, norms = among.chunk(number)
        torch.addmm(norms * share, x, y.T, alpha=-2, out=found[:, start : start + len(y)])
    return found.add_((own * share)[:, None])


def nearest(
    queries: np.ndarray, among: Index, count: int, *, reporter: Reporter = QUIET
) -> tuple[np.ndarray, np.ndarray]:
    """Each query's nearest points, of equally near ones those that come first.

    Args:
        queries: [Q, d], float32, float64 or uint8, finite.
        among: N points.
        count: how many of them, at most N.
        reporter: shows a bar.

    Returns:
        Distances float64 [Q, count], ascending, and the points' indices int64 [Q, count].
    """
    device, power = among.points.device, max(among.power, power_of_scale(queries))
    if power != among.power:  # queries of another size than the points'
        among = Index(among.features, device, power)
    theirs = among.points
    ours = Points(_scaled(queries, power), theirs.centre.cpu().numpy(), device)
    sketches = among.sketch and among.sketch.of(ours)
    steps = torch.arange(len(ours), device=ours.device).split(max(1, CELLS // len(theirs)))
    found = []
    for rows in reporter.track(steps, "Nearest images", len(steps)):
        pairs = None
        if among.sketch:
            bounds = among.sketch.bounds(*(part[rows] for part in sketches))
            pairs = _possible(bounds, ours, rows, theirs, count)
        if pairs is None or len(pairs[0]) > bounds.numel() // MANY:
            pairs = _possible(_bounds(ours, rows, theirs), ours, rows, theirs, count)
        found.append(_in_order(*pairs, ours, rows, theirs, count))
    distances, indices = (torch.cat(column).cpu().numpy() for column in zip(*found, strict=True))
    return np.ldexp(distances, power), indices


def nearest_others(
    features: np.ndarray,
    count: int,
    *,
    device: torch.device | str = "cpu",
    reporter: Reporter = QUIET,
) -> tuple[np.ndarray, np.ndarray]:
    """Each point's nearest other points of the same set, of equally near ones the first.

    Args:
        features: [N, d], float32 or float64, finite.
        count: how many of them, less than N.
        device: where distances are computed.
        reporter: shows a bar.

    Returns:
        Distances float64 [N, count], ascending, and the points' indices int64 [N, count].
    """
    distances, indices = nearest(features, Index(features, device), count + 1, reporter=reporter)
    itself = indices == np.arange(len(features))[:, None]
    itself[~itself.any(axis=1), -1] = True  # where more copies of it come first
    return distances[~itself].reshape(-1, count), indices[~itself].reshape(-1, count)


def _possible(
    bounds: torch.Tensor, queries: Points, rows: torch.Tensor, among: Points, count: int
) -> tuple[torch.Tensor, ...]:
    """The pairs that may be among each row's `count` nearest, in the rows' order.

    A row's limit is the `count`-th distance of twice as many points that look near. Groups whose
    least bound is beyond it are ruled out without a look at their points.

    Args:
        bounds: [B, N], which are overwritten.
        queries, rows, among, count: as in `nearest`, of B queries.

    Returns:
        Rows and columns int64 [P] of `bounds`, and squared distances float64 [P]; NaN, not known.
    """
    columns, start = bounds.shape[1], torch.arange(len(rows), device=bounds.device)[:, None]
    size = GROUP if columns >= 2 * count * GROUP else 1
    groups = bounds.view(len(rows), size, -1)  # a group's points are far apart in the set
    least = groups.amin(dim=1)
    some = least.topk(min(2 * count, len(among)), dim=1, largest=False, sorted=False).indices
    member = groups.gather(2, some[:, None].expand(-1, size, -1)).argmin(dim=1)
    first = member * least.shape[1] + some
    near = squared(queries, rows.repeat_interleave(first.shape[1]), among, first.flatten())
    near = near.view(first.shape)
    limits = near.kthvalue(count, dim=1).values.to(bounds)[:, None] * (1 + 1e-6)
    bounds.scatter_(1, first, torch.inf)
    row, group = (least <= limits).nonzero(as_tuple=True)
    which, member = (groups[row, :, group] <= limits[row]).nonzero(as_tuple=True)
    others = row[which] * columns + member * least.shape[1] + group[which]
    known = near <= limits
    cells, order = torch.cat([(start * columns + first)[known], others]).sort()
    squares = torch.cat([near[known], near.new_full(others.shape, torch.nan)])[order]
    return cells // columns, cells % columns, squares


def _in_order(
    row: torch.Tensor,
    column: torch.Tensor,
    squares: torch.Tensor,
    queries: Points,
    rows: torch.Tensor,
    among: Points,
    count: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances and indices [B, count] of each row's nearest, of pairs in the rows' order."""
    unknown = squares.isnan()
    squares[unknown] = squared(queries, rows[row[unknown]], among, column[unknown])
    per_row = row.bincount(minlength=len(rows))
    begins = per_row.cumsum(0) - per_row
    table = squares.new_full((len(rows), int(per_row.max())), torch.inf)
    table[row, torch.arange(len(row), device=row.device) - begins[row]] = squares
    ordered, chosen = table.sort(dim=1, stable=True)
    return ordered[:, :count].sqrt(), column[chosen[:, :count] + begins[:, None]]
