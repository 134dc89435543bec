"""The record of a run's training images: class names, counts and hashes."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gan_vkd.data.images import Dataset, ImageSet
from gan_vkd.errors import GanVkdError
from gan_vkd.paths import replacing

FILE_NAME = "data.json"
SHOWN = 3  # classes that a refusal names


@dataclass(frozen=True)
class Record:
    """A run's training images.

    Attributes:
        class_names: in the order of their labels.
        counts: images of each class.
        sha256: of each class's images in their order; None for runs of earlier versions.
    """

    class_names: tuple[str, ...]
    counts: tuple[int, ...]
    sha256: tuple[str, ...] | None


def record_of(train: ImageSet) -> Record:
    """The record of training images, which lie on the CPU."""
    hashes = [hashlib.sha256() for _ in train.class_names]
    pixels = train.images.numpy()
    for label, image in zip(train.labels.tolist(), pixels, strict=True):
        hashes[label].update(image)
    return Record(
        train.class_names,
        tuple(train.counts.tolist()),
        tuple(digest.hexdigest() for digest in hashes),
    )


def write_record(run: Path, record: Record) -> None:
    """Write `RUN/data.json`; it appears whole."""
    classes = zip(record.class_names, record.counts, record.sha256, strict=True)
    content = {"classes": [{"name": n, "images": c, "sha256": h} for n, c, h in classes]}
    with replacing(run / FILE_NAME) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_record(run: Path) -> Record | None:
    """The record in a run's directory, or None where there is none.

    Raises:
        GanVkdError: it is damaged.
    """
    path = run / FILE_NAME
    if not path.is_file():
        return None
    try:
        classes = json.loads(path.read_text(encoding="utf-8"))["classes"]
        names, counts, hashes = zip(
            *((str(c["name"]), int(c["images"]), str(c["sha256"])) for c in classes), strict=True
        )
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        raise GanVkdError(
            f"{path}: damaged: restore it, or remove it to resume without a check of the data"
        ) from None
    return Record(names, counts, hashes)


def in_order_of(dataset: Dataset, class_names: tuple[str, ...]) -> Dataset:
    """The data set with labels in the order of `class_names`, where it has these very classes.

    Earlier versions counted classes in another order; their runs keep it.
    """
    own = dataset.train.class_names
    if own == class_names or sorted(own) != sorted(class_names):
        return dataset
    place = torch.tensor([class_names.index(name) for name in own])

    def counted_anew(images: ImageSet) -> ImageSet:
        return ImageSet(images.images, place[images.labels], class_names)

    test = None if dataset.test is None else counted_anew(dataset.test)
    return replace(dataset, train=counted_anew(dataset.train), test=test)


def require_same(where: str, began: Record, train: ImageSet) -> None:
    """Check that training images are those that a run was begun on.

    Args:
        where: names the run in the error.
        began: the run's record.
        train: what is loaded now, on the CPU.

    Raises:
        GanVkdError: one line that says what differs.
    """
    then, now = _by_name(began), _by_name(record_of(train))
    differences = [f"class {name!r} is gone" for name in then if name not in now]
    differences += [f"class {name!r} is new" for name in now if name not in then]
    remedy = "put them back, or start a new run"
    for name in then:
        (had, before), (has, after) = then[name], now.get(name, then[name])
        if had != has:
            differences.append(f"class {name!r} had {had:,} training images and has {has:,}")
        elif None not in (before, after) and before != after:
            differences.append(f"class {name!r} has other images, or in another order")
    if differences:
        if all("other images" in line for line in differences):
            remedy += f" (if only the program that decodes the files changed, remove {FILE_NAME})"
        if began.sha256 is None:
            remedy += " (its earlier version may have read the same files otherwise)"
        rest = len(differences) - SHOWN
        raise GanVkdError(
            f"{where}: the training images differ from those of the run's start: "
            f"{'; '.join(differences[:SHOWN])}"
            f"{f' and {rest:,} more' if rest > 0 else ''}: {remedy}"
        )


def _by_name(record: Record) -> dict[str, tuple[int, str | None]]:
    hashes = record.sha256 or [None] * len(record.counts)
    return dict(zip(record.class_names, zip(record.counts, hashes, strict=True), strict=True))
