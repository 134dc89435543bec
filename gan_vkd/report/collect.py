"""What a run directory holds: recipe, logs, metrics and pictures."""

import io
import json
import math
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

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
class RunFacts:
    """One run; None or nothing for what it has not.

    Attributes:
        name: the directory's.
        recipe: its settings, and the same as YAML.
        recipe_text: as above.
        log: lines of the training log, numbers by name.
        curve: lines of metrics while training.
        result: the newest of `gan-vkd eval`.
        grid: samples, PNG.
        grid_note: which classes it shows, where it shows some only.
        nearest: the samples nearest to training images, PNG.
    """

    name: str
    recipe: Recipe
    recipe_text: str
    log: list[dict]
    curve: list[dict]
    result: dict | None
    grid: bytes | None
    grid_note: str
    nearest: bytes | None


def collect(path: Path) -> RunFacts:
    """Read a run.

    Raises:
        GanVkdError: no run directory, or a damaged file in it.
    """
    recipe = read_config(path)
    run = RunDir(path)
    file = newest_result(path)
    generator = load_generator(path) if (path / FILE_NAME).is_file() else None
    shown, known = 0, 0
    if generator is not None:
        shown, known = len(shown_classes(generator, 0)), len(generator.class_names)
    return RunFacts(
        name=path.resolve().name,
        recipe=recipe,
        recipe_text=dump(recipe),
        log=[numbers(line) for line in read_lines(run.log_path)],
        curve=read_lines(run.curve_path),
        result=None if file is None else _whole_result(file),
        grid=None if generator is None else _png(class_grid(generator, columns=COLUMNS)),
        grid_note=f"{shown} of {known:,} classes, drawn" if shown < known else "",
        nearest=None if file is None else _picture(file.with_suffix(".nearest.png")),
    )


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


def numbers(line: dict) -> dict:
    """What a line of a log measures."""
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
