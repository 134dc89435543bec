"""AuthPct and C_T: distances to the nearest training image, against those of other real images.

Authenticity: Alaa et al., "How Faithful is your Synthetic Data?", ICML 2022. C_T: Meehan,
Chaudhuri and Dasgupta, "A Non-Parametric Test to Detect Data-Copying", AISTATS 2020; here with one
cell, which is the whole space.
"""

import numpy as np
from scipy.stats import rankdata

from gan_vkd.evaluation.intervals import NORMAL, of_mean
from gan_vkd.evaluation.search import Index, nearest
from gan_vkd.progress import QUIET, Reporter


def to_training(
    images: np.ndarray, training: Index, reporter: Reporter = QUIET
) -> tuple[np.ndarray, np.ndarray]:
    """Distances of images to their nearest training image, and of that to its nearest other one.

    Args:
        images: features [N, d].
        training: the training images', at least two.
        reporter: shows a bar.

    Returns:
        float64 [N] and [N].
    """
    own, places = nearest(images, training, 1, reporter=reporter)
    found, back = np.unique(places, return_inverse=True)
    points = training.points.given.cpu().numpy()[found]
    others, _ = nearest(points, training, 2, reporter=reporter)
    return own[:, 0], others[back.ravel(), 1]


def authenticity(own: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """The share of images that are farther from their nearest training image than another one is.

    Args:
        own, others: as `to_training` gives them, [N].

    Returns:
        The share, 0 where all are copies, and its standard error with the training images fixed.
    """
    authentic = others < own
    return float(authentic.mean()), of_mean(authentic)


def copying_statistic(judged: np.ndarray, unseen: np.ndarray) -> tuple[float, float, float]:
    """C_T: how much farther from training images judged images are than held-out ones.

    Mann and Whitney's U of the distances, standardised as it is where both are alike: far below 0
    where training images are copied, far above where images are unlike real ones.

    Args:
        judged: distances to the nearest training image, [N].
        unseen: those of held-out images, [M].

    Returns:
        The statistic and its 95 % interval, by DeLong's variance of U.
    """
    n, m = len(judged), len(unseen)
    ranks = rankdata(np.concatenate([judged, unseen]))
    above = (ranks[:n] - rankdata(judged)) / m  # the share of unseen ones nearer than each judged
    below = 1 - (ranks[n:] - rankdata(unseen)) / n
    share = float(above.mean())
    error = NORMAL * float(np.sqrt(above.var(ddof=1) / n + below.var(ddof=1) / m))
    scale = n * m / np.sqrt(n * m * (n + m + 1) / 12)
    return tuple(float((part - 0.5) * scale) for part in (share, share - error, share + error))
