"""Permutation tests: which values chance alone explains.

Where judged images are drawn from the distribution of the real ones, independently of them, which
image is real and which is judged says nothing: had other images of the pool of both been the real
ones, that would have been as likely. So a figure is compared with what it is under such
relabellings of the pool, the true one among them (Fisher 1935; on neighbours Henze, Annals of
Statistics 1988). Nothing is assumed about the features, nor that images are far from each other:
the figures of images that share neighbours depend on each other, and do so under every labelling.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from gan_vkd.evaluation.search import nearest_others
from gan_vkd.progress import QUIET, Reporter
from gan_vkd.randomness import seed_for

LABELLINGS = 2_000  # the true one and 1,999 others
NEAREST = 16  # others of each image, enough for one of its label among them
CELLS = 2**22  # of a block of labellings


@dataclass(frozen=True)
class Pool:
    """Real and generated images together, in random order.

    Attributes:
        rows: int64 [n]: places in the real images followed by the judged ones.
        is_real: bool [n].
        distances: float64 [n, m] of each image's nearest other ones, ascending.
        others: int64 [n, m]: which those are, in the pool's order.
        seed: of the relabellings.
    """

    rows: np.ndarray
    is_real: np.ndarray
    distances: np.ndarray
    others: np.ndarray
    seed: int

    @classmethod
    def of(
        cls,
        real: np.ndarray,
        judged: np.ndarray,
        nearest: int,
        seed: int,
        *,
        device: torch.device | str = "cpu",
        reporter: Reporter = QUIET,
    ) -> "Pool":
        """The pool of two sets of images.

        Args:
            real: features [N, d].
            judged: features [M, d].
            nearest: m, as far as there are so many others.
            seed: of the order, which breaks ties of distances, and of the relabellings.
            device: where distances are computed.
            reporter: shows a bar.
        """
        size = len(real) + len(judged)
        rows = np.random.default_rng(seed_for(seed, "pool")).permutation(size)
        features = np.concatenate([real, judged])[rows]
        count = min(nearest, size - 1)
        found = nearest_others(features, count, device=device, reporter=reporter)
        return cls(rows, rows < len(real), *found, seed)

    def labellings(self) -> Iterator[np.ndarray]:
        """Blocks of columns, bool [n, B]: which images are real; the first column is the truth.

        All have the same number of real images.
        """
        draws = np.random.default_rng(seed_for(self.seed, "relabelling"))
        width = max(1, CELLS // len(self.rows))
        for start in range(0, LABELLINGS, width):
            block = np.tile(self.is_real, (min(width, LABELLINGS - start), 1))
            fresh = slice(0 if start else 1, None)
            block[fresh] = draws.permuted(block[fresh], axis=1)
            yield np.ascontiguousarray(block.T)

    def uncovered(self, labels: np.ndarray, k: int) -> np.ndarray:
        """Which images are real and have no judged one nearer than their k-th nearest real one.

        These are the real ones whose k nearest others are all real.

        Args:
            labels: a block, bool [n, B].
            k: at most m.

        Returns:
            bool [n, B].
        """
        found = labels.copy()
        for column in range(k):
            found &= labels[self.others[:, column]]
        return found

    def nearest_alike(self, labels: np.ndarray) -> np.ndarray:
        """The distance to the nearest other one of the same label, float64 [n, B].

        Infinite where none of the m nearest has it (one in 2^m, under labels drawn by chance).

        Args:
            labels: a block, bool [n, B].
        """
        passed, unlike = np.zeros(labels.shape, np.int16), np.ones(labels.shape, bool)
        for column in range(self.others.shape[1]):
            unlike &= labels[self.others[:, column]] != labels
            passed += unlike
        distances = np.pad(self.distances, ((0, 0), (0, 1)), constant_values=np.inf)
        return np.take_along_axis(distances, passed, axis=1)


def p_value(scores: np.ndarray) -> float:
    """The share of labellings that score as high as the true one.

    Args:
        scores: [L], the true labelling's first.
    """
    return float((scores >= scores[0]).mean())


def q_values(scores: np.ndarray) -> np.ndarray:
    """For each class the false share of those found if all are taken that stand out as much.

    Classes whose value is at most α are, by Benjamini and Hochberg (JRSS B 1995), found such that
    the expected share of false ones among them is at most α. So is, where all is chance, the
    probability that any is found. Scores are standardised in each class, and how often
    chance brings one as high is counted over the labellings of all classes.

    Args:
        scores: [L, C], a column a class, the true labelling's row first.

    Returns:
        [C], at most 1.
    """
    spread = scores.std(axis=0)
    standard = (scores - scores.mean(axis=0)) / np.where(spread > 0, spread, np.inf)
    own = standard[0]
    as_high = standard.size - np.searchsorted(np.sort(standard, axis=None), own)
    found = (own[:, None] <= own).sum(axis=1)
    shares = as_high / (len(scores) * found)
    lowest_first = np.argsort(own)
    values = np.empty(len(own))
    values[lowest_first] = np.minimum.accumulate(shares[lowest_first])
    return np.minimum(values, 1)
