"""Distances between features: exact, and without an N x M matrix.

Squared distances come in blocks, in float32, on CUDA in float64 (never in TF32). Each has a
rounding error of at most `slack` times the sum of the two points' squared norms; wherever a
comparison is nearer than that, the pair is computed again in float64, as a sum of squared
differences. So every decision is that of float64, and ties are ties: a point at exactly the radius
is not inside.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import ArrayLike

from gan_vkd.progress import Bar

CHUNK = 1_024  # points a side of a block
CACHED = 2**17  # values at once, which stay in a core's cache
SPREAD = 2**26  # values at once on another device
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


def block_type(device: torch.device) -> torch.dtype:
    """What blocks are computed in.

    A CUDA device multiplies float64 fast enough, and what it makes of float32 depends on settings.
    """
    return torch.float64 if device.type == "cuda" else torch.float32


class Points:
    """A set of points on a device: centred chunks for the blocks, the given values for the rest.

    Args:
        features: [N, d], float32, float64 or uint8.
        centre: float32 [d], subtracted in the blocks.
        device: where all is computed.

    Attributes:
        norms: float64 [N]: the squared norms of the centred points.
        slack: bounds the error of a block's |x|² + |y|² - 2xy, as a share of |x|² + |y|².
    """

    def __init__(self, features: np.ndarray, centre: np.ndarray, device: torch.device):
        self.device, self.dtype = device, block_type(device)
        self.given = torch.from_numpy(features).to(device)
        self.centre = torch.from_numpy(centre).to(device)
        self.slack = (features.shape[1] + 8) * torch.finfo(self.dtype).eps
        self.chunks = -(-len(features) // CHUNK)
        parts = (self.centred(slice(n * CHUNK, (n + 1) * CHUNK)) for n in range(self.chunks))
        self.norms = torch.cat([part.square_().sum(dim=1) for part in parts]).cpu().numpy()

    def __len__(self) -> int:
        return len(self.given)

    def centred(self, rows: slice) -> torch.Tensor:
        """Some of the points less the centre, float64 [C, d]."""
        return self.given[rows].double() - self.centre

    def chunk(self, number: int) -> tuple[int, torch.Tensor, torch.Tensor]:
        """The first point's index, the points [C, d] and their squared norms [C]."""
        start = number * CHUNK
        rows = slice(start, start + CHUNK)
        norms = torch.from_numpy(self.norms[rows]).to(self.device, self.dtype)
        if self.dtype == torch.float64:
            return start, self.centred(rows), norms
        return start, (self.given[rows] - self.centre).float(), norms


def squared(first: Points, i: torch.Tensor, second: Points, j: torch.Tensor) -> torch.Tensor:
    """Squared distances of the pairs (i, j), int64 [P] on the device: float64 [P]."""
    if first.device.type == "cpu":
        return torch.from_numpy(exact(first, i.numpy(), second, j.numpy()))
    return squared_apart(first, i, second, j)


def squared_apart(first: Points, i: torch.Tensor, second: Points, j: torch.Tensor) -> torch.Tensor:
    """`squared` on any other device."""
    at_once = max(1, SPREAD // first.given.shape[1])
    parts = [
        (first.given[a].double() - second.given[b].double()).square_().sum(dim=1)
        for a, b in zip(i.split(at_once), j.split(at_once), strict=True)
    ]
    return torch.cat(parts)


def exact(first: Points, i: np.ndarray, second: Points, j: np.ndarray) -> np.ndarray:
    """`squared` of pairs that are known on the CPU, where numpy is faster at it."""
    if first.device.type != "cpu":
        pairs = (torch.from_numpy(side).to(first.device) for side in (i, j))
        return squared(first, next(pairs), second, next(pairs)).cpu().numpy()
    ours, theirs = first.given.numpy(), second.given.numpy()
    dim, found = ours.shape[1], np.empty(len(i))
    kind = sums = np.float64
    if ours.dtype == theirs.dtype == np.uint8:  # 2¹⁵ squares of 255 fit into 31 bits
        kind, sums = np.int16, np.int32 if dim <= 2**15 else np.int64
    at_once, threads = max(1, CACHED // dim), torch.get_num_threads()

    def share(number: int) -> None:
        for start in range(number * at_once, len(i), threads * at_once):
            rows = slice(start, start + at_once)
            difference = ours[i[rows]].astype(kind) - theirs[j[rows]]
            squares = np.einsum("nd,nd->n", difference, difference, dtype=sums, casting="unsafe")
            found[rows] = squares

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(share, range(threads)))
    return found


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
    """The `count` nearest others by blocks, ascending: squared distances and indices [N, count].

    Each block of the symmetric matrix is computed once and serves its rows and its columns.
    """
    values = torch.full((len(points), count), torch.inf, dtype=points.dtype, device=points.device)
    others = torch.zeros((len(points), count), dtype=torch.int64, device=points.device)

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
