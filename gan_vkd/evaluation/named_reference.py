"""The reference that `--reference` names: images of a data set's split, or statistics."""

from pathlib import Path

from gan_vkd.data.images import Dataset, ImageSet
from gan_vkd.data.sources import load_dataset
from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.features import Extractor
from gan_vkd.evaluation.reference import Reference, holds_statistics, read_statistics
from gan_vkd.paths import expanded
from gan_vkd.progress import Reporter


def named_reference(
    text: str,
    image_size: int,
    *,
    data_root: Path | None,
    skip_bad: bool,
    extractor: Extractor,
    reporter: Reporter,
) -> tuple[ImageSet | Reference, str, ImageSet | None, str]:
    """A reference that is not the run's own data, as `sides` gives it: images, or statistics.

    Args:
        text: `SPEC[:train|test]`, or a file that `--save-stats` wrote.
        image_size: the judged images' side, pixels.
        data_root, skip_bad: see `load_dataset`.
        extractor: what statistics must be of.
        reporter: told about long work.

    Raises:
        GanVkdError: no such reference, or statistics of another extractor or size.
    """
    path = expanded(text)
    if not holds_statistics(path):
        return sides(*load_named(text, image_size, data_root, skip_bad, reporter))
    found = read_statistics(path, extractor)
    if found.image_size != image_size:
        sides_of = f"{found.image_size}x{found.image_size}"
        raise GanVkdError(
            f"--reference {text}: statistics of images of {sides_of} pixels, and the images have "
            f"{image_size}x{image_size}: bring a folder's images to that size with --size, or make "
            "the statistics again"
        )
    return found, found.origin, None, "none: the reference is statistics"


def load_named(
    text: str, image_size: int, data_root: Path | None, skip_bad: bool, reporter: Reporter
) -> tuple[Dataset, str]:
    """`SPEC[:train|test]` → the data set and the split's name."""
    spec, split = spec_and_split(text)
    try:
        dataset = load_dataset(
            spec,
            image_size=image_size,
            data_root=data_root,
            skip_bad=skip_bad,
            reporter=reporter,
        )
    except GanVkdError as error:  # train's flag takes the same
        raise GanVkdError(str(error).replace("--dataset", "--reference")) from None
    return dataset, split


def spec_and_split(text: str) -> tuple[str, str]:
    """`SPEC[:train|test]` in its two parts; the split is train where none is named."""
    spec, _, split = text.rpartition(":")
    return (spec, split) if split in ("train", "test") else (text, "train")


def sides(dataset: Dataset, split: str) -> tuple[ImageSet, str, ImageSet | None, str]:
    """The reference and the held-out real images beside it, each with where it comes from."""
    name = f"{dataset.name}:{split}"
    if dataset.test is None:
        if split == "test":
            raise GanVkdError(
                f"{dataset.name}: no test split, which --protocol field and --reference NAME:test "
                "need: leave them out"
            )
        return dataset.train, name, None, "none: the data set has no second split"
    if split == "test":
        return dataset.test, name, dataset.train, "the training split"
    return dataset.train, name, dataset.test, "the test split"
