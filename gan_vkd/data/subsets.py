"""Which images are trained on, and which are held out."""

from dataclasses import dataclass
from typing import Literal

import torch

from gan_vkd.data.images import Dataset, ImageSet
from gan_vkd.errors import GanVkdError
from gan_vkd.randomness import generator

HELD_OUT_SHARE = 0.1
FEWEST_HELD_OUT = 10


@dataclass(frozen=True)
class TrainingData:
    """The images a run trains on and those it must never see.

    Attributes:
        train: the training images.
        held_out: real images the run does not train on, or None where that leaves too few.
        held_out_origin: where they come from, in words.
        validation: a part of the subset that is not trained on either, to choose a checkpoint by.
    """

    train: ImageSet
    held_out: ImageSet | None
    held_out_origin: str
    validation: ImageSet | None = None


def split_training(
    dataset: Dataset,
    fraction: float,
    draw: Literal["balanced", "uniform"],
    seed: int,
    validation: float = 0.0,
) -> TrainingData:
    """Draw the training subset and choose the held-out images.

    Held out are the test split where there is one (of ten images or more); else the training
    images outside the subset; else a stratified tenth, set aside from training (classes of one
    image sit out: they are trained on); or none where that leaves fewer than ten. `validation` is
    the share of the subset's images, in the classes' proportions, that is set aside from training
    to choose a checkpoint by.

    Raises:
        GanVkdError: when the subset leaves a class without an image, or holds fewer than two; or
            when training or validation would.
    """
    source = dataset.train
    if len(source) < 2:
        raise GanVkdError(
            f"--dataset {dataset.name}: its training split has one image: at least two are needed"
        )
    rows = subset_indices(source, fraction, draw, seed)
    if dataset.test is not None and len(dataset.test) >= FEWEST_HELD_OUT:
        held_out, origin = dataset.test, "the test split"
    elif fraction < 1:
        held_out = source.select(_others(len(source), rows))
        origin = "training images outside the subset"
    else:
        rows, origin = _without_a_tenth(source, seed)
        held_out = source.select(_others(len(source), rows))
    if len(held_out) < FEWEST_HELD_OUT:
        held_out, origin = None, f"none: fewer than {FEWEST_HELD_OUT} images"
    if validation == 0:
        return TrainingData(source.select(rows), held_out, origin)

    count, labels = round(validation * len(rows)), source.labels[rows]
    if count < 2 or len(rows) - count < max(2, len(labels.unique())):
        raise GanVkdError(
            f"data.validation {validation:g}: {count} of {len(rows)} images are too few to "
            "validate on, or leave too few to train on: use another share, or more images"
        )
    kept = balanced_draw(labels, len(rows) - count, seed)
    set_aside = rows[_others(len(rows), kept)]
    return TrainingData(source.select(rows[kept]), held_out, origin, source.select(set_aside))


def _without_a_tenth(source: ImageSet, seed: int) -> tuple[torch.Tensor, str]:
    """The rows that stay when a stratified tenth of the other classes' images is set aside.

    All of them stay where that would be fewer than ten images.
    """
    single = source.counts == 1
    rows = (~single[source.labels]).nonzero().flatten()
    kept = round((1 - HELD_OUT_SHARE) * len(rows))
    if len(rows) - kept < FEWEST_HELD_OUT:
        return torch.arange(len(source)), ""
    rows = rows[balanced_draw(source.labels[rows], kept, seed)]
    alone = single[source.labels].nonzero().flatten()
    origin = "a stratified tenth, set aside from training"
    if len(alone):
        name = source.class_names[int(source.labels[alone[0]])]
        more = f" and {len(alone) - 1:,} more" if len(alone) > 1 else ""
        origin += f" (but for class {name!r}{more}, of one image)"
    return torch.cat([rows, alone]).sort().values, origin


def _others(count: int, chosen: torch.Tensor) -> torch.Tensor:
    """The numbers below `count` that are not among `chosen`: int64, ascending."""
    rest = torch.ones(count, dtype=torch.bool)
    rest[chosen] = False
    return rest.nonzero().flatten()


def subset_indices(
    images: ImageSet, fraction: float, draw: Literal["balanced", "uniform"], seed: int
) -> torch.Tensor:
    """The indices of a subset of exactly round(fraction · N) images, ascending.

    A smaller fraction with the same seed is a part of a larger one, but for the rounding of
    class counts. `balanced` keeps the classes' proportions; `uniform` ignores classes.

    Args:
        images: what is drawn from, N images.
        fraction: 0 < fraction ≤ 1.
        draw: as above.
        seed: of the draw.

    Returns:
        int64 [round(fraction · N)].

    Raises:
        GanVkdError: when a class is left without an image, or fewer than two images remain.
    """
    total = round(fraction * len(images))
    if draw == "uniform":
        order = torch.randperm(len(images), generator=generator(seed, "subset"))
        chosen = order[:total].sort().values
    else:
        chosen = balanced_draw(images.labels, total, seed)
    drawn = torch.bincount(images.labels[chosen], minlength=len(images.class_names))
    if len(chosen) < 2 or (drawn == 0).any():
        empty = images.class_names[int(drawn.argmin())]
        raise GanVkdError(
            f"--subset {fraction:g}: {total} of {len(images)} images leave "
            f"{'class ' + repr(empty) + ' empty' if (drawn == 0).any() else 'fewer than two'}: "
            "use a larger subset, or more images"
        )
    return chosen


def balanced_draw(labels: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """A draw in the proportions of `labels` (int64 [N]): indices int64 [count], ascending."""
    shares = proportional_counts(torch.bincount(labels), count, seed)
    chosen = []
    for label, share in enumerate(shares.tolist()):
        members = (labels == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=generator(seed, "subset", label))
        chosen.append(members[order[:share]])
    return torch.cat(chosen).sort().values


def proportional_counts(counts: torch.Tensor, total: int, seed: int = 0) -> torch.Tensor:
    """Share `total` over classes in proportion to `counts` by largest remainders.

    No class with images gets none as long as `total` allows it; the largest pay for that. Where
    it does not, classes are drawn, as likely as they are large, and get one each.

    Args:
        counts: int64 [classes], not all zero.
        total: any number of things to share out.
        seed: of the draw.

    Returns:
        int64 [classes], summing to `total`.
    """
    if total < (counts > 0).sum():
        shares = torch.zeros_like(counts)
        if total:
            draws = generator(seed, "classes")
            shares[torch.multinomial(counts.double(), total, generator=draws)] = 1
        return shares
    exact = counts.double() * total / counts.sum()
    shares = exact.floor().long()
    remainder_order = (exact - shares).argsort(descending=True, stable=True)
    shares[remainder_order[: total - int(shares.sum())]] += 1
    while ((shares == 0) & (counts > 0)).any():
        shares[((shares == 0) & (counts > 0)).nonzero()[0]] += 1
        shares[shares.argmax()] -= 1
    return shares
