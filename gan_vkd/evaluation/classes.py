"""Which classes are missing, badly covered, or without variety."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from gan_vkd.data.images import ImageSet
from gan_vkd.evaluation.chance import Pool, q_values
from gan_vkd.evaluation.neighbours import Neighbourhoods, neighbourhoods
from gan_vkd.evaluation.prdc import expected_coverage, prdc_per_image
from gan_vkd.evaluation.reference import Reference
from gan_vkd.randomness import generator, seed_for


@dataclass(frozen=True)
class ClassFigures:
    """The metrics of one class; None for unknown values and for too few images.

    Attributes:
        name: the class's.
        real: real images of it that were compared.
        judged: judged images of it; None where their classes are not known.
        asked: whether images of it were to be there, see `asked_for`.
        recall, coverage: of its real images.
        expected_coverage: of two samples of one distribution.
        coverage_q: the false share among the classes covered as badly, see `chance.q_values`.
        variety: root mean squared distance of the judged images from their mean, over the real
            ones'.
        variety_q: the false share among the classes that vary as little.
    """

    name: str
    real: int
    judged: int | None
    asked: bool = True
    recall: float | None = None
    coverage: float | None = None
    expected_coverage: float | None = None
    coverage_q: float | None = None
    variety: float | None = None
    variety_q: float | None = None


def same_classes(judged: ImageSet, reference: Reference) -> torch.Tensor | None:
    """Labels of the evaluated images in the reference's numbering, int64 [N].

    None where they have classes that the reference has not, or none at all.
    """
    number = {name: label for label, name in enumerate(reference.class_names)}
    if len(number) < 2 or not set(judged.class_names) <= set(number):
        return None
    return torch.tensor([number[name] for name in judged.class_names])[judged.labels]


def asked_for(judged: ImageSet, reference: Reference) -> list[bool]:
    """For each of the reference's classes whether its absence is a fault.

    It is none of a class that was not to have an image: one that a generator has but was not asked
    for, or one whose share of so many images, in the reference's proportions, is less than one.
    """
    shares = reference.counts * len(judged) / len(reference)
    left_out = {
        name for name, count in zip(judged.class_names, judged.counts, strict=True) if not count
    }
    return [
        bool(share >= 1) and name not in left_out
        for name, share in zip(reference.class_names, shares, strict=True)
    ]


def within_classes(
    judged: np.ndarray,
    judged_labels: torch.Tensor,
    reference: np.ndarray,
    reference_labels: torch.Tensor,
    class_names: tuple[str, ...],
    asked: list[bool],
    nearest_k: int,
    seed: int,
) -> list[ClassFigures]:
    """Each class's images against that class's real ones, as many on both sides.

    What chance explains is found by relabelling within each class.

    Args:
        judged: features [N, d]; their labels int64 [N].
        judged_labels: as the reference numbers them.
        reference: features [M, d] of the whole reference; their labels int64 [M].
        reference_labels: as above.
        class_names: a name a label.
        asked: of each class, see `asked_for`.
        nearest_k: k of recall and coverage.
        seed: of the draw on the larger side, and of the relabellings.
    """
    figures, chance = [], {}
    for label, name in enumerate(class_names):
        members = [
            (labels == label).nonzero().flatten() for labels in (judged_labels, reference_labels)
        ]
        count = min(len(rows) for rows in members)
        if count < nearest_k + 2:
            figures.append(ClassFigures(name, count, len(members[0]), asked[label]))
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
                asked[label],
                recall=float(found["recall"].mean()),
                coverage=float(found["coverage"].mean()),
                expected_coverage=expected_coverage(count, count, nearest_k),
                variety=_spread(fake) / spread if (spread := _spread(real)) > 0 else None,
            )
        )
        chance[label] = _chance_within(real, fake, nearest_k, seed_for(seed, "class", label))
    if chance:
        of_coverage, of_variety = (
            q_values(np.stack(scores, axis=1)) for scores in zip(*chance.values(), strict=True)
        )
        for label, coverage_q, variety_q in zip(chance, of_coverage, of_variety, strict=True):
            figures[label] = replace(
                figures[label], coverage_q=float(coverage_q), variety_q=float(variety_q)
            )
    return figures


def _chance_within(
    real: np.ndarray, fake: np.ndarray, k: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Under each labelling, [L]: how many real images are not covered, how much wider they are.

    The latter is the difference of the mean squared distances from the pool's mean. That is the
    difference of both sides' variances, since their means are equally far from the pool's.
    """
    pool = Pool.of(real, fake, k, seed)
    features = np.concatenate([real, fake])[pool.rows]
    squared = np.square(features - features.mean(axis=0, dtype=np.float64)).sum(axis=1)
    signed = 2 * (squared - squared.mean()) / len(real)
    uncovered, wider = [], []
    for labels in pool.labellings():
        uncovered.append(pool.uncovered(labels, k).sum(axis=0))
        wider.append(signed @ labels)
    return np.concatenate(uncovered), np.concatenate(wider)


def across_classes(
    found: Neighbourhoods, pool: Pool, real_labels: torch.Tensor, class_names: tuple[str, ...]
) -> list[ClassFigures]:
    """Each class's real images against all evaluated ones, whose classes are unknown.

    What chance explains is found by relabelling all images. A judged image that is made a real
    one needs a class for that: its nearest real image's.

    Args:
        found: of the real images [N] and the judged ones.
        pool: of the same images, at least k others for each.
        real_labels: int64 [N].
        class_names: a name a label.
    """
    shares = prdc_per_image(found)
    expected = expected_coverage(len(found.hits), len(found.balls), found.k)
    scores = _chance_across(pool, real_labels.numpy(), len(class_names), found.k, 1 - expected)
    figures = []
    for label, (name, coverage_q) in enumerate(zip(class_names, q_values(scores), strict=True)):
        rows = (real_labels == label).numpy()
        if not rows.any():
            figures.append(ClassFigures(name, 0, None))
            continue
        recall, coverage = (float(shares[key][rows].mean()) for key in ("recall", "coverage"))
        figures.append(
            ClassFigures(
                name,
                int(rows.sum()),
                None,
                recall=recall,
                coverage=coverage,
                expected_coverage=expected,
                coverage_q=float(coverage_q),
            )
        )
    return figures


def _chance_across(
    pool: Pool, real_labels: np.ndarray, class_count: int, k: int, share: float
) -> np.ndarray:
    """Under each labelling and for each class, [L, C]: real images not covered beyond `share`.

    Over the square root of the class's real images, of which labellings make more or fewer.
    """
    known = pool.is_real[pool.others]
    nearest_real = np.take_along_axis(pool.others, known.argmax(axis=1)[:, None], axis=1)[:, 0]
    models = np.where(pool.is_real, np.arange(len(known)), nearest_real)
    classes = np.full(len(known), -1)  # none where no real image is near
    certain = pool.is_real[models]
    classes[certain] = real_labels[pool.rows[models[certain]]]
    members = [np.flatnonzero(classes == label) for label in range(class_count)]
    scores = []
    for labels in pool.labellings():
        uncovered = pool.uncovered(labels, k)
        count, real = (
            np.stack([part[rows].sum(axis=0) for rows in members], axis=1)
            for part in (uncovered, labels)
        )
        scores.append((count - share * real) / np.sqrt(np.maximum(real, 1)))
    return np.concatenate(scores)


def _spread(features: np.ndarray) -> float:
    centred = features - features.mean(axis=0, dtype=np.float64)
    return float(np.sqrt(np.square(centred).sum(axis=1).mean()))
