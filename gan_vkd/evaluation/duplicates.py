"""Generated images that repeat each other, compared with real images."""

from collections import defaultdict

import numpy as np

from gan_vkd.evaluation.chance import Pool, p_value
from gan_vkd.evaluation.copies import close_limit


def duplicates(pool: Pool, judged: list[bytes], real: list[bytes]) -> dict:
    """How often images repeat another one, and how often as many real images do.

    An image counts as close to another when it is as near as the closest 1 % of real images are to
    another one, in the feature space.

    Args:
        pool: of both sides' features.
        judged: the images' digests, see `content.digests`, in the order of the features.
        real: the real images'.

    Returns:
        `count` of images a side, `identical` (images less different ones) and `close`, each
        `{"judged", "real"}`; and `p`, for both: how probable so many more among the judged than
        among the real images are by chance, see `chance`.
    """
    places = defaultdict(list)
    content = [*real, *judged]
    for place, row in enumerate(pool.rows):
        places[content[row]].append(place)
    equal = [group for group in places.values() if len(group) > 1]
    found, more = {}, defaultdict(list)
    for labels in pool.labellings():
        near = pool.nearest_alike(labels)
        limit = close_limit(near.T[labels.T].reshape(-1, len(real)).T)
        sides = {"judged": ~labels, "real": labels}
        counts = {
            "identical": {name: _repeats(side, equal) for name, side in sides.items()},
            "close": {name: (side & (near <= limit)).sum(axis=0) for name, side in sides.items()},
        }
        for kind, of in counts.items():
            found.setdefault(kind, {name: int(count[0]) for name, count in of.items()})
            more[kind].append(of["judged"] - of["real"])
    return {
        "count": {"judged": len(judged), "real": len(real)},
        **found,
        "p": {kind: p_value(np.concatenate(scores)) for kind, scores in more.items()},
    }


def _repeats(side: np.ndarray, equal: list[list[int]]) -> np.ndarray:
    """Images less different ones, int64 [B], of those in `side`, bool [n, B]."""
    repeats = np.zeros(side.shape[1], np.int64)
    for group in equal:
        repeats += (side[group].sum(axis=0) - 1).clip(min=0)
    return repeats
