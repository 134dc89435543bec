"""Generated images that repeat training images, compared with held-out real images."""

from dataclasses import dataclass

import numpy as np
import torch

from gan_vkd.evaluation.content import digests
from gan_vkd.evaluation.distances import nearest
from gan_vkd.progress import Reporter

NEIGHBOURS = 50  # nearest training images that make the scale
CLOSEST = 100  # one of so many real images counts as close
SHOWN = 10  # closest pairs that are named
SPACES = ("features", "pixels")


@dataclass(frozen=True)
class Seen:
    """Images as they are compared: uint8 [N, 3, H, W], and their features [N, d]."""

    images: torch.Tensor
    features: np.ndarray

    def points(self, space: str) -> np.ndarray:
        """[N, d]: the features, or the pixels as they are, uint8 [N, 3 H W]."""
        return self.features if space == "features" else self.images.flatten(1).numpy()


@dataclass(frozen=True)
class Nearness:
    """How near images come to training images.

    Attributes:
        distances: float64 [N] to the nearest training image.
        relative: float64 [N]: the same over the mean of the 50 nearest.
        training: int64 [N]: which is the nearest.
        mirrored: bool [N]: whether it is the mirror image that is so near.
    """

    distances: np.ndarray
    relative: np.ndarray
    training: np.ndarray
    mirrored: np.ndarray


def copies_of_training(
    judged: tuple[Seen, Seen],
    training: Seen,
    held_out: tuple[Seen, Seen] | None,
    *,
    device: torch.device,
    reporter: Reporter,
) -> dict:
    """How near images come to training images, and how near held-out real images come.

    Smooth images are near to everything. So an image counts as close to its nearest training image
    not by the distance itself, but by the distance relative to the mean one of the 50 nearest (as
    Carlini et al., USENIX Security 2023, do): at most what the closest 1 % of held-out images have.
    Images that have copied nothing are close 1 time in 100.

    A mirrored copy is a copy. Each image and its mirror image are compared with the training
    images, and the nearer one counts; in pixels that is to compare the image with the training
    images and their mirror images, in features it needs none of mirrored training images.

    Args:
        judged: the images, and their mirror images.
        training: what may have been copied.
        held_out: real images that were not trained on, and their mirror images; without them
            nothing counts as close.
        device: where distances are computed.
        reporter: shows a bar.

    Returns:
        `identical`: images that equal a training image or its mirror image pixel by pixel,
        `{"judged", "held_out"}`, and `mirrored`, how many of them equal a mirror image only; and,
        in the spaces `features` and `pixels`: `median` distance to the nearest training image,
        `close`, a count, and `mirrored`, how many of these are nearest mirrored, each
        `{"judged", "held_out"}`; `closest`, the `image`, `training` image, `distance` and
        `mirrored` of the relatively nearest pairs.
    """
    sides = {"judged": judged} if held_out is None else {"judged": judged, "held_out": held_out}
    known = set(digests(training.images))
    equal = {
        name: np.array([[one in known for one in digests(view.images)] for view in views])
        for name, views in sides.items()
    }
    found: dict = {
        "identical": {
            **_counts({name: rows.any(axis=0) for name, rows in equal.items()}),
            "mirrored": _counts({name: ~plain & mirror for name, (plain, mirror) in equal.items()}),
        }
    }
    for space in SPACES:
        near = {
            name: _nearness(views, training, space, device, reporter)
            for name, views in sides.items()
        }
        close = {}
        if held_out is not None:
            limit = close_limit(near["held_out"].relative)
            close = {name: side.relative <= limit for name, side in near.items()}
        ours = near["judged"]
        found[space] = {
            "median": {"held_out": None}
            | {name: float(np.median(side.distances)) for name, side in near.items()},
            "close": _counts(close),
            "mirrored": _counts({name: rows & near[name].mirrored for name, rows in close.items()}),
            "closest": [
                {
                    "image": int(i),
                    "training": int(ours.training[i]),
                    "distance": float(ours.distances[i]),
                    "mirrored": bool(ours.mirrored[i]),
                }
                for i in np.argsort(ours.relative, kind="stable")[:SHOWN]
            ],
        }
    return found


def _counts(rows: dict[str, np.ndarray]) -> dict[str, int | None]:
    """How many are true on each side; None for a side that is not there."""
    return {"judged": None, "held_out": None} | {side: int(of.sum()) for side, of in rows.items()}


def _nearness(
    views: tuple[Seen, Seen], training: Seen, space: str, device: torch.device, reporter: Reporter
) -> Nearness:
    count = min(NEIGHBOURS, len(training.images))
    found = [
        nearest(view.points(space), training.points(space), count, device=device, reporter=reporter)
        for view in views
    ]
    distances, indices = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    order = np.argsort(distances, axis=1, kind="stable")[:, :count]
    distances = np.take_along_axis(distances, order, axis=1)
    scale = np.maximum(distances.mean(axis=1), np.finfo(np.float64).tiny)
    return Nearness(
        distances=distances[:, 0],
        relative=distances[:, 0] / scale,
        training=np.take_along_axis(indices, order[:, :1], axis=1)[:, 0],
        mirrored=order[:, 0] >= count,
    )


def close_limit(real: np.ndarray) -> np.ndarray:
    """The distance [...] that one in 100 real images is not beyond; theirs are [N, ...]."""
    rank = (len(real) - 1) // CLOSEST
    return np.partition(real, rank, axis=0)[rank]
