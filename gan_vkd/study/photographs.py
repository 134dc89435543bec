"""Photographs drawn beforehand, for machines that have not the whole data set."""

from pathlib import Path

import torch

from gan_vkd.data.grids import to_pillow
from gan_vkd.data.images import ImageSet
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import balanced_draw, split_training
from gan_vkd.errors import GanVkdError
from gan_vkd.progress import Reporter
from gan_vkd.study.plan import Unit, Workplace

HELD_OUT = 1_000  # of which the overfitting probe takes 256


def draw_photographs(work: Workplace, destination: Path, reporter: Reporter) -> list[Path]:
    """Write the photographs of every data set and seed: PNG, train/<class>/* and test/<class>/*.

    Training takes from there the same images in the same order as from the whole data set: read
    back and compared. Held out are 1,000 of those images that the whole set would hold out.

    Returns:
        The folders; those that are there already stay.

    Raises:
        GanVkdError: data that can't be loaded, or whose order a folder can't keep.
    """
    study, folders = work.study, []
    for spec in study.datasets:
        dataset, size = None, 0
        for seed in study.seeds:
            unit = Unit(spec, next(iter(study.arms)), seed)  # all arms have the same
            folder = destination / work.drawn(unit)
            folders.append(folder)
            if folder.exists():
                continue
            if dataset is None:
                size = study.recipe(unit, 1, work.whole(unit)).data.image_size
                dataset = load_dataset(
                    spec, image_size=size, data_root=work.data_root, reporter=reporter
                )
            share = study.datasets[spec]
            data = split_training(dataset, share, "balanced", seed)
            temporary = folder.with_name(f".{folder.name}.{seed}.tmp")
            _write(data.train, temporary / "train")
            if data.held_out is not None:
                count = min(HELD_OUT, len(data.held_out))
                rows = balanced_draw(data.held_out.labels, count, 0)
                _write(data.held_out.select(rows), temporary / "test")
            _check(temporary, data.train, size)
            temporary.rename(folder)
            reporter.say(f"{folder}: {len(data.train):,} photographs")
    return folders


def _write(images: ImageSet, folder: Path) -> None:
    for row, (pixels, label) in enumerate(zip(images.images, images.labels.tolist(), strict=True)):
        place = folder / images.class_names[label] / f"{row:06d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        to_pillow(pixels).save(place)


def _check(folder: Path, expected: ImageSet, size: int) -> None:
    found = load_dataset(str(folder), image_size=size, channels=expected.channels).train
    same = found.class_names == expected.class_names and torch.equal(found.images, expected.images)
    if not (same and torch.equal(found.labels, expected.labels)):
        raise GanVkdError(
            f"{folder}: a folder can't keep the order of these images, which are not class by "
            "class: draw from a folder train/<class>/*, or train with the whole data set"
        )
