"""Nearest-neighbour balls of real and generated images, and which images lie inside them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from gan_vkd.evaluation.distances import (
    SPARE,
    Pairs,
    Points,
    as_features,
    candidates,
    exact,
    power_of_scale,
    slack,
)
from gan_vkd.progress import QUIET, Bar, Reporter


@dataclass(frozen=True)
class Neighbourhoods:
    """The balls around each set's points up to their k-th nearest neighbour in it.

    Attributes:
        k: as in k-th.
        balls: int64 [M]: for each generated image, the real balls that it is strictly inside.
        hits: int64 [N]: for each real ball, the generated images strictly inside.
        recalled: bool [N]: real images strictly inside some generated image's ball.
        clipped_balls: int64 [M]: for each generated image, the real balls that it is inside or on
            the edge of, once no ball is wider than the median one.
        clipped_crowd: int64 [N]: the same for each real image and the other ones' balls.
    """

    k: int
    balls: np.ndarray
    hits: np.ndarray
    recalled: np.ndarray
    clipped_balls: np.ndarray
    clipped_crowd: np.ndarray


def neighbourhoods(
    real: ArrayLike | torch.Tensor,
    fake: ArrayLike | torch.Tensor,
    k: int,
    *,
    device: torch.device | str = "cpu",
    reporter: Reporter = QUIET,
) -> Neighbourhoods:
    """Find all of them in three passes over blocks, two of which use their symmetry.

    Args:
        real: features [N, d], of any size and real type; anything like an array.
        fake: features [M, d].
        k: smaller than N and M.
        device: where blocks are computed.
        reporter: shows a bar.

    Raises:
        ValueError: shapes that do not fit, k too large, or features that are not finite.
    """
    real, fake = as_features(real), as_features(fake)
    for features in (real, fake):
        if features.ndim != 2 or features.shape[1] != real.shape[1]:
            raise ValueError(f"features must be [N, d] and [M, d], got {real.shape}, {fake.shape}")
        if not 1 <= k < len(features):
            raise ValueError(f"nearest_k = {k} needs more than {k} points, got {len(features)}")
        if not np.isfinite(features).all():
            raise ValueError("features must be finite")
    if power := power_of_scale(real, fake):
        real, fake = np.ldexp(real, -power), np.ldexp(fake, -power)
    centre = (real.mean(axis=0, dtype=np.float64) + fake.mean(axis=0, dtype=np.float64)) / 2
    centre = centre.astype(np.float32)  # float32 features less it are rounded once, not twice
    device = torch.device(device)
    ours, theirs = Points(real, centre, device), Points(fake, centre, device)
    steps = sum(p.chunks * (p.chunks + 1) // 2 for p in (ours, theirs))
    with reporter.bar("Neighbours", steps + ours.chunks * theirs.chunks) as bar:
        of_real = candidates(ours, min(k + SPARE, len(real) - 1), bar)
        of_fake = candidates(theirs, min(k + SPARE, len(fake) - 1), bar)
        real_radii, fake_radii = _radii(ours, k, *of_real), _radii(theirs, k, *of_fake)
        clipped_radii = np.minimum(real_radii, _squared_median(real_radii))
        balls, clipped_balls = np.zeros((2, len(fake)), np.int64)
        hits = np.zeros(len(real), np.int64)
        recalled = np.zeros(len(real), bool)
        for i, j, least, most in _close(ours, theirs, real_radii, fake_radii, bar):
            pairs = Pairs(ours, i, theirs, j, least, most)
            inside = pairs.below(real_radii[i])
            hits += np.bincount(i[inside], minlength=len(real))
            balls += np.bincount(j[inside], minlength=len(fake))
            recalled[i[pairs.below(fake_radii[j])]] = True
            clipped = pairs.at_most(clipped_radii[i])
            clipped_balls += np.bincount(j[clipped], minlength=len(fake))
    return Neighbourhoods(
        k=k,
        balls=balls,
        hits=hits,
        recalled=recalled,
        clipped_balls=clipped_balls,
        clipped_crowd=_crowd(ours, clipped_radii, *of_real),
    )


def _radii(points: Points, k: int, values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared distance of each point to its k-th nearest other one, float64 [N].

    Args:
        points: N of them.
        k: as in k-th.
        values, others: what `candidates` found.
    """
    count = len(points.features)
    kth = values[:, k - 1 : k]
    error = 2 * _slack_near(points, kth.clip(min=0))
    surely = values < kth - error
    unsure = ~surely & (values <= kth + error)
    rows, columns = np.nonzero(unsure)
    distances = np.full(values.shape, np.inf)
    distances[rows, columns] = exact(points, rows, points, others[rows, columns])
    left = k - surely.sum(axis=1)  # of the unsure ones, this one is the k-th
    radii = np.take_along_axis(np.sort(distances, axis=1), left[:, None] - 1, axis=1)[:, 0]
    for row in np.flatnonzero(unsure[:, -1]) if values.shape[1] < count - 1 else ():
        radii[row] = np.partition(_to_others(points, row)[0], k - 1)[k - 1]  # too many near-ties
    return radii


def _crowd(points: Points, radii: np.ndarray, values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each point the other points' balls that it is inside or on the edge of, int64 [N].

    Args:
        points: N of them.
        radii: squared, none above the k-th neighbour's.
        values, others: what `candidates` found.
    """
    count, kept = values.shape
    rows = np.arange(count).repeat(kept)
    error = slack(points.features.shape[1]) * (points.norms[rows] + points.norms[others.ravel()])
    pairs = Pairs(
        points, rows, points, others.ravel(), values.ravel() - error, values.ravel() + error
    )
    inside = pairs.at_most(radii[rows])
    more = values[:, -1] - _slack_near(points, radii[:, None])[:, 0] <= radii
    if kept == count - 1:
        more[:] = False
    crowd = np.bincount(others.ravel()[inside & ~more[rows]], minlength=count)
    for row in np.flatnonzero(more):  # others than the candidates may be inside
        distances, everyone = _to_others(points, row)
        crowd[everyone[distances <= radii[row]]] += 1
    return crowd


def _slack_near(points: Points, reach: np.ndarray) -> np.ndarray:
    """`slack`'s bound for pairs of a point and any within the squared distance `reach` [N, 1]."""
    dim = points.features.shape[1]
    return slack(dim) * (3 * points.norms[:, None] + 2 * reach)  # |y|² <= 2 |x|² + 2 |x - y|²


def _to_others(points: Points, row: int) -> tuple[np.ndarray, np.ndarray]:
    """One point's squared distances to all others, and which those are."""
    everyone = np.delete(np.arange(len(points.features)), row)
    return exact(points, np.full(len(everyone), row), points, everyone), everyone


def _squared_median(squared: np.ndarray) -> float:
    """The square of the median of non-negative numbers whose squares are given."""
    low, high = np.sort(squared)[[(len(squared) - 1) // 2, len(squared) // 2]]
    return low if low == high else ((low**0.5 + high**0.5) / 2) ** 2


def _close(
    real: Points, fake: Points, real_radii: np.ndarray, fake_radii: np.ndarray, bar: Bar
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Pairs of a real i and a generated j that may share a ball, block by block.

    Yields:
        i, j, and bounds of their squared distances.
    """
    share = slack(real.features.shape[1])

    def floor(norms: torch.Tensor) -> torch.Tensor:
        return norms * (1 - share)

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
            yield i, j, least, least + 2 * share * (real.norms[i] + fake.norms[j])
            bar.advance(1)
