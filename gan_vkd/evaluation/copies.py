"""Images that repeat training images, or each other: against what real images do."""

from dataclasses import dataclass

import numpy as np
import torch

from gan_vkd.evaluation.neighbours import Neighbourhoods, nearest
from gan_vkd.progress import Reporter

NEIGHBOURS = 50  # nearest training images that make the scale
QUANTILE = 0.01  # of the real images: what counts as close
SHOWN = 10  # closest pairs that are named


@dataclass(frozen=True)
class Seen:
    """Images as they are compared: uint8 [N, 3, H, W], and their features [N, d]."""

    images: torch.Tensor
    features: np.ndarray

    def as_pixels(self) -> np.ndarray:
        """Float32 [N, 3 H W], 0 to 255."""
        return self.images.flatten(1).float().numpy()


def copies_of_training(
    judged: Seen,
    training: Seen,
    held_out: Seen | None,
    *,
    device: torch.device,
    reporter: Reporter,
) -> dict:
    """How near images come to training images, and how near held-out real images come.

    Smooth images are near to everything. So an image counts as close to its nearest training image
    not by the distance itself, but by the distance relative to the mean one of the 50 nearest (as
    Carlini et al., USENIX Security 2023, do): below the held-out images' 1 % quantile. Images that
    have copied nothing are close 1 time in 100.

    Args:
        judged, training: the two sets.
        held_out: real images that were not trained on; without them nothing counts as close.
        device: where distances are computed.
        reporter: shows a bar.

    Returns:
        `identical`: images that equal a training image pixel by pixel, `{"judged", "held_out"}`;
        and, in the spaces `features` and `pixels`: `median` distance to the nearest training
        image and `close`, a count, `{"judged", "held_out"}`; `closest`, the `image`, `training`
        image and `distance` of the relatively nearest pairs.
    """
    known = {_content(image) for image in training.images}
    sides = {"judged": judged, "held_out": held_out}
    found: dict = {
        "identical": {
            name: side and sum(_content(image) in known for image in side.images)
            for name, side in sides.items()
        }
    }
    for space in ("features", "pixels"):
        points = {
            name: side and (side.features if space == "features" else side.as_pixels())
            for name, side in {**sides, "training": training}.items()
        }
        medians, close = {"held_out": None}, {"judged": None, "held_out": None}
        relative: dict[str, np.ndarray] = {}
        for name in ("held_out", "judged"):
            if points[name] is None:
                continue
            count = min(NEIGHBOURS, len(training.images))
            distances, indices = nearest(
                points[name], points["training"], count, device=device, reporter=reporter
            )
            scale = np.maximum(distances.mean(axis=1), np.finfo(np.float64).tiny)
            relative[name] = distances[:, 0] / scale
            medians[name] = float(np.median(distances[:, 0]))
        if held_out is not None:
            limit = np.quantile(relative["held_out"], QUANTILE)
            close = {name: int((values < limit).sum()) for name, values in relative.items()}
        order = np.argsort(relative["judged"], kind="stable")[:SHOWN]
        closest = [
            {"image": int(i), "training": int(indices[i, 0]), "distance": float(distances[i, 0])}
            for i in order
        ]
        found[space] = {"median": medians, "close": close, "closest": closest}
    return found


def duplicates(found: Neighbourhoods, judged: torch.Tensor, real: torch.Tensor) -> dict:
    """How often images repeat another one, and how often as many real images do.

    An image counts as close to another when it is nearer than the real images' 1 % quantile of
    the distance to the nearest other one, in the feature space.

    Args:
        found: neighbourhoods of both sets' features.
        judged: uint8 [M, 3, H, W], in the order of the features.
        real: uint8 [N, 3, H, W].

    Returns:
        `count` of images a side, `identical` (images less different ones) and `close`, each
        `{"judged", "real"}`.
    """
    sides = {"judged": judged, "real": real}
    limit = np.quantile(found.real_nearest, QUANTILE)
    return {
        "count": {name: len(images) for name, images in sides.items()},
        "identical": {
            name: len(images) - len({_content(image) for image in images})
            for name, images in sides.items()
        },
        "close": {
            "judged": int((found.fake_nearest < limit).sum()),
            "real": int((found.real_nearest < limit).sum()),
        },
    }


def _content(image: torch.Tensor) -> bytes:
    return image.numpy().tobytes()
