"""C_T over cells: copying in a part of the space that good or bad samples elsewhere cannot hide.

Meehan, Chaudhuri and Dasgupta, "A Non-Parametric Test to Detect Data-Copying in Generative Models",
AISTATS 2020, section 4. The cells are those of k-means on the training images. In each of them
Mann and Whitney's U compares the distances to the nearest training image, of judged images and of
held-out ones, and the cells' standardised values are averaged by their shares of held-out images.
"""

import numpy as np

from gan_vkd.evaluation.authenticity import copying_statistic

CELLS = 10  # at most
EACH = 50  # images of each set a cell, on average, at least
FEWEST = 20  # judged, and held-out, images that a cell must have to count
STARTS = 3  # of k-means


def cells_of(training: np.ndarray, *others: np.ndarray, seed: int) -> list[np.ndarray]:
    """The cell of each of `others`, by k-means on the training images.

    Args:
        training: features [N, d].
        others: features [M, d] each.
        seed: of k-means.

    Returns:
        int [M] for each of them.
    """
    from sklearn.cluster import KMeans

    fewest = min(map(len, (training, *others)))
    count = max(1, min(CELLS, fewest // EACH))
    training = np.ascontiguousarray(training, np.float32)
    found = KMeans(count, n_init=STARTS, random_state=seed).fit(training)
    return [found.predict(np.ascontiguousarray(each, np.float32)) for each in others]


def copying_over_cells(
    judged: tuple[np.ndarray, np.ndarray], unseen: tuple[np.ndarray, np.ndarray]
) -> tuple[tuple[float, float, float] | None, int]:
    """The average of the cells' C_T, weighted by their held-out images.

    Cells with fewer than `FEWEST` judged or held-out images do not count.

    Args:
        judged: distances to the nearest training image, and cells, [N] each.
        unseen: the same of held-out images, [M] each.

    Returns:
        The average and its 95 % interval, by the cells' own, which are independent; None where no
        cell counts; and how many do.
    """
    values, halves, weights = [], [], []
    for cell in np.unique(unseen[1]):
        ours, theirs = (distances[cells == cell] for distances, cells in (judged, unseen))
        if min(len(ours), len(theirs)) >= FEWEST:
            value, low, high = copying_statistic(ours, theirs)
            values.append(value)
            halves.append((high - low) / 2)
            weights.append(len(theirs))
    if not values:
        return None, 0
    shares = np.array(weights) / np.sum(weights)
    value, width = float(shares @ values), float(np.linalg.norm(shares * halves))
    return (value, value - width, value + width), len(values)
