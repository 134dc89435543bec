"""Which classes are missing, badly covered, or without variety."""

from dataclasses import dataclass

import numpy as np
import torch

from gan_vkd.data.images import ImageSet
from gan_vkd.evaluation.neighbours import Neighbourhoods, neighbourhoods
from gan_vkd.evaluation.prdc import expected_coverage, prdc_per_image
from gan_vkd.randomness import generator


@dataclass(frozen=True)
class ClassFigures:
    """How one class fares; None for what is not known, or of too few images.

    Attributes:
        name: the class's.
        real: real images of it that were compared.
        judged: judged images of it; None where their classes are not known.
        recall, coverage: of its real images.
        expected_coverage: of two samples of one distribution.
        variety: root mean squared distance of the judged images from their mean, over the real
            ones'.
    """

    name: str
    real: int
    judged: int | None
    recall: float | None = None
    coverage: float | None = None
    expected_coverage: float | None = None
    variety: float | None = None


def same_classes(judged: ImageSet, reference: ImageSet) -> torch.Tensor | None:
    """The judged images' labels as the reference numbers them, int64 [N].

    None where they have classes that the reference has not, or none at all.
    """
    number = {name: label for label, name in enumerate(reference.class_names)}
    if len(number) < 2 or not set(judged.class_names) <= set(number):
        return None
    return torch.tensor([number[name] for name in judged.class_names])[judged.labels]


def within_classes(
    judged: np.ndarray,
    judged_labels: torch.Tensor,
    reference: np.ndarray,
    reference_labels: torch.Tensor,
    class_names: tuple[str, ...],
    nearest_k: int,
    seed: int,
) -> list[ClassFigures]:
    """Each class's images against that class's real ones, as many on both sides.

    Args:
        judged: features [N, d]; their labels int64 [N].
        judged_labels: as the reference numbers them.
        reference: features [M, d] of the whole reference; their labels int64 [M].
        reference_labels: as above.
        class_names: a name a label.
        nearest_k: k of recall and coverage.
        seed: of the draw on the larger side.
    """
    figures = []
    for label, name in enumerate(class_names):
        members = [
            (labels == label).nonzero().flatten() for labels in (judged_labels, reference_labels)
        ]
        count = min(len(rows) for rows in members)
        if count < nearest_k + 2:
            figures.append(ClassFigures(name, count, len(members[0])))
            continue
        draws = generator(seed, "class", label)
        drawn = [rows[torch.randperm(len(rows), generator=draws)[:count]] for rows in members]
        fake, real = judged[drawn[0]], reference[drawn[1]]
        found = prdc_per_image(neighbourhoods(real, fake, nearest_k))
        figures.append(
            ClassFigures(
                name,
                count,
                len(members[0]),
                recall=float(found["recall"].mean()),
                coverage=float(found["coverage"].mean()),
                expected_coverage=expected_coverage(count, count, nearest_k),
                variety=_spread(fake) / spread if (spread := _spread(real)) > 0 else None,
            )
        )
    return figures


def across_classes(
    found: Neighbourhoods, real_labels: torch.Tensor, class_names: tuple[str, ...]
) -> list[ClassFigures]:
    """Each class's real images against all judged ones, whose classes are not known.

    Args:
        found: of the real images [N] and the judged ones.
        real_labels: int64 [N].
        class_names: a name a label.
    """
    shares = prdc_per_image(found)
    expected = expected_coverage(len(found.hits), len(found.balls), found.k)
    figures = []
    for label, name in enumerate(class_names):
        rows = (real_labels == label).numpy()
        if not rows.any():
            figures.append(ClassFigures(name, 0, None))
            continue
        recall, coverage = (float(shares[key][rows].mean()) for key in ("recall", "coverage"))
        figures.append(ClassFigures(name, int(rows.sum()), None, recall, coverage, expected))
    return figures


def _spread(features: np.ndarray) -> float:
    centred = features - features.mean(axis=0, dtype=np.float64)
    return float(np.sqrt(np.square(centred).sum(axis=1).mean()))
