"""The training images of a run: loaded, looked for on resume, and recorded beside it."""

from pathlib import Path

from gan_vkd.config.classification import ClassificationRecipe
from gan_vkd.config.core import DataSettings, Recipe
from gan_vkd.data.images import Dataset
from gan_vkd.data.record import Record, write_record
from gan_vkd.data.sources import load_dataset
from gan_vkd.errors import GanVkdError
from gan_vkd.paths import replacing
from gan_vkd.progress import Reporter
from gan_vkd.terminal import printable

SKIPPED_NAME = "skipped.txt"


def dataset_of(settings: DataSettings, reporter: Reporter) -> Dataset:
    """The data set that a recipe names.

    Raises:
        GanVkdError: see `load_dataset`.
    """
    return load_dataset(
        settings.dataset,
        image_size=settings.image_size,
        data_root=None if settings.data_root is None else Path(settings.data_root),
        skip_bad=settings.skip_bad,
        channels=settings.channels,
        reporter=reporter,
    )


def refuse_moved(recipe: Recipe | ClassificationRecipe, run: Path) -> None:
    """A run finds its data and weights by absolute paths, which may have moved meanwhile.

    Raises:
        GanVkdError: names what is missing and the line of the config that says where it is.
    """
    for field, place in (
        ("data.dataset", recipe.data.dataset),
        ("teacher.weights", recipe.teacher.weights),
        ("teacher.spec", recipe.teacher.spec.removeprefix("file:")),
    ):
        if place is not None and Path(place).is_absolute() and not Path(place).exists():
            raise GanVkdError(
                f"--resume: {place} is missing: put it back, or write its new place into "
                f"{run}/config.yaml ({field})"
            )


def write_down(run: Path, record: Record, skipped: tuple[str, ...], reporter: Reporter) -> None:
    """Write what the training images are, and the files that were skipped.

    Raises:
        OSError: the run can't be written.
    """
    write_record(run, record)
    if skipped:
        with replacing(run / SKIPPED_NAME) as temporary:
            lines = "".join(f"{printable(line)}\n" for line in skipped)
            temporary.write_text(lines, encoding="utf-8")
        reporter.say(f"{len(skipped):,} skipped files are listed in {SKIPPED_NAME}")
