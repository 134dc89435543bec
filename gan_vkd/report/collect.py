"""What a run directory holds: recipe, logs, metrics and pictures."""

import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from gan_vkd.config.classification import ClassificationRecipe
from gan_vkd.config.core import Recipe
from gan_vkd.config.layers import dump, read_config
from gan_vkd.engine.run_dir import RunDir, read_lines
from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.compare import newest_result, read_result
from gan_vkd.gan.exported import FILE_NAME, load_generator
from gan_vkd.gan.sampling import class_grid, shown_classes

COLUMNS = 8  # samples a class
MOST_PIXELS = 2**26  # of a picture that is taken in


@dataclass(frozen=True)
class Facts:
    """One run of either kind; None or nothing for what it has not.

    Attributes:
        name: the directory's.
        recipe: its settings, and the same as YAML.
        recipe_text: as above.
        log: lines of the training log, numbers by name.
        curve: lines of metrics while training.
        result: the newest of `gan-vkd eval`; of a classifier the last and the best epoch.
    """

    name: str
    recipe: Recipe | ClassificationRecipe
    recipe_text: str
    log: list[dict]
    curve: list[dict]
    result: dict | None


@dataclass(frozen=True)
class RunFacts(Facts):
    """One run of `gan-vkd train`.

    Attributes:
        grid: samples, PNG.
        grid_note: which classes it shows, where it shows some only.
        nearest: the samples nearest to training images, PNG.
    """

    grid: bytes | None
    grid_note: str
    nearest: bytes | None


def collect(path: Path) -> RunFacts:
    """Read a run.

    Raises:
        GanVkdError: no run directory, or a damaged file in it.
    """
    recipe, file = read_config(path), newest_result(path)
    generator = load_generator(path) if (path / FILE_NAME).is_file() else None
    shown, known = 0, 0
    if generator is not None:
        shown, known = len(shown_classes(generator, 0)), len(generator.class_names)
    return RunFacts(
        **of_every_run(path, recipe),
        result=None if file is None else _whole_result(file),
        grid=None if generator is None else _png(class_grid(generator, columns=COLUMNS)),
        grid_note=f"{shown} of {known:,} classes, drawn" if shown < known else "",
        nearest=None if file is None else _picture(file.with_suffix(".nearest.png")),
    )


def of_every_run(path: Path, recipe: Recipe | ClassificationRecipe) -> dict[str, Any]:
    """The fields of `Facts` but the result."""
    run = RunDir(path)
    return {
        "name": path.resolve().name,
        "recipe": recipe,
        "recipe_text": dump(recipe),
        "log": [_numbers(line) for line in read_lines(run.log_path)],
        "curve": read_lines(run.curve_path),
    }


def _whole_result(file: Path) -> dict:
    result = read_result(file)
    missing = {"protocol", "expected", "held_out", "classes", "findings"} - result.keys()
    if missing:
        raise GanVkdError(f"{file}: of an older version: run gan-vkd eval again")
    return result


def series(lines: list[dict], key: str) -> list[tuple[float, float]]:
    """(iteration, value) pairs of what the lines say under `key`, as far as they are numbers."""
    pairs = [(line["iteration"], line.get(key)) for line in lines]
    return [(i, float(v)) for i, v in pairs if isinstance(v, int | float) and math.isfinite(v)]


def _numbers(line: dict) -> dict:
    return {name: value for name, value in line.items() if isinstance(value, int | float)}


def _picture(path: Path) -> bytes | None:
    """A PNG of the run, decoded and written anew: nothing else gets into the page."""
    if not path.is_file():
        return None
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if math.prod(image.size) > MOST_PIXELS:
                raise GanVkdError(f"{path}: too large a picture for a report")
            return _png(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise GanVkdError(f"{path}: not a whole PNG ({reason}): run gan-vkd eval again") from None


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def as_text(value: object) -> str:
    """A protocol's entry as text."""
    return value if isinstance(value, str) else json.dumps(value)
