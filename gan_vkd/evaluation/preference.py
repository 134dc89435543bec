"""Whether images are nearer to training images than to real images that were never trained on.

As many training as held-out images are pooled. A generator that has learned the distribution and
copied nothing cannot tell one from the other, so that half of its images have a training image as
their nearest one, and it is as likely that any other half of the pool had been trained on.
"""

from dataclasses import dataclass

import numpy as np
import torch

from gan_vkd.evaluation.chance import LABELLINGS, p_value
from gan_vkd.evaluation.copies import SPACES, Seen
from gan_vkd.evaluation.intervals import NORMAL
from gan_vkd.evaluation.metrics import SATURATED
from gan_vkd.evaluation.search import Index, nearest
from gan_vkd.progress import Reporter
from gan_vkd.randomness import seed_for


@dataclass(frozen=True)
class Preference:
    """The share of images that are nearest to a training image.

    Attributes:
        value: from 0 to 1; .5 where nothing is copied.
        low, high: its 95 % interval, for fresh images of all kinds, cut off at 0 and 1; None so
            near them that it would have no width.
        p: the share of labellings of the pool with as high a value.
    """

    value: float
    low: float | None
    high: float | None
    p: float


def preference(
    judged: tuple[Seen, Seen],
    training: Seen,
    unseen: Seen,
    *,
    seed: int,
    device: torch.device,
    reporter: Reporter,
) -> dict:
    """The preference of images for training images, in features and in pixels.

    Args:
        judged: the images, and their mirror images, of which the nearer one counts.
        training: what may have been copied.
        unseen: real images of the same distribution that were not trained on.
        seed: of the draws: of the larger side, of the pool's order, of the relabellings.
        device: where distances are computed.
        reporter: shows a bar.

    Returns:
        `count`, the real images a side; `features` and `pixels`, each as `Preference`.
    """
    draws = np.random.default_rng(seed_for(seed, "preference"))
    count = min(len(training.images), len(unseen.images))
    sides = [(side, draws.permutation(len(side.images))[:count]) for side in (training, unseen)]
    order = draws.permutation(2 * count)
    is_training = order < count
    found: dict = {"count": count}
    for space in SPACES:
        pool = np.concatenate([side.points(space)[rows] for side, rows in sides])[order]
        index = Index(pool, device)
        near = [nearest(view.points(space), index, 1, reporter=reporter) for view in judged]
        distances, places = (np.concatenate(part, axis=1) for part in zip(*near, strict=True))
        chosen = distances.argmin(axis=1)[:, None]
        counts = np.bincount(np.take_along_axis(places, chosen, axis=1)[:, 0], minlength=2 * count)
        found[space] = vars(of_counts(counts, is_training, draws))
    return found


def of_counts(
    counts: np.ndarray, is_training: np.ndarray, draws: np.random.Generator
) -> Preference:
    """The preference by the pool's images.

    Images with one nearest image stand or fall together. So the interval is that of a share of two
    sums, over the pool's training and held-out images, each of independent counts.

    Args:
        counts: int64 [P], of how many images each image of the pool is the nearest.
        is_training: bool [P].
        draws: of the relabellings.
    """
    total = counts.sum()
    value = float(counts[is_training].sum() / total)
    sides = ((counts[is_training], 1 - value), (counts[~is_training], value))
    variance = sum(weight**2 * len(side) * side.var() for side, weight in sides)
    width = NORMAL * float(np.sqrt(variance)) / float(total)
    labels = draws.permuted(np.tile(is_training, (LABELLINGS, 1)), axis=1)
    labels[0] = is_training
    p = p_value(labels @ counts)
    if not SATURATED < value < 1 - SATURATED:
        return Preference(value, None, None, p)
    return Preference(value, max(value - width, 0.0), min(value + width, 1.0), p)
