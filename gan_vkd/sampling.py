"""Pictures from an exported generator: grids with class names, walks, single images."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from gan_vkd.errors import GanVkdError
from gan_vkd.gan.exported import ExportedGenerator, latents
from gan_vkd.progress import Reporter
from gan_vkd.terminal import printable

CELL = 64  # smallest side of an image in a grid, pixels
GAP = 2
ROWS_PER_BLOCK = 25  # more classes than this stand in blocks side by side


def class_grid(
    generator: ExportedGenerator,
    *,
    columns: int = 10,
    classes: Sequence[int] | None = None,
    seed: int = 0,
    truncation: float | None = None,
) -> Image.Image:
    """One row a class, its name beside it; every row shows other latents.

    Args:
        generator: what to draw from.
        columns: images a row.
        classes: the rows, default all classes.
        seed: of the latents.
        truncation: see `gan_vkd.gan.exported.latents`.
    """
    classes = _rows(generator, classes)
    labels = torch.tensor(classes).repeat_interleave(columns)
    images = generator.sample(len(labels), labels.tolist(), seed, truncation)
    return _draw_rows(generator, classes, images)


def interpolation_grid(
    generator: ExportedGenerator,
    *,
    columns: int = 10,
    classes: Sequence[int] | None = None,
    seed: int = 0,
    truncation: float | None = None,
) -> Image.Image:
    """One row a class: from one latent to another along the great circle between them."""
    classes = _rows(generator, classes)
    z_dim = generator.network.shape["z_dim"]
    ends = latents(range(2 * len(classes)), z_dim, seed, truncation).view(-1, 2, z_dim)
    steps = torch.linspace(0, 1, columns)[None, :, None]
    start, end = ends[:, :1], ends[:, 1:]
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=-1)[..., None]
    angle = cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos()
    walk = ((1 - steps) * angle).sin() * start + (steps * angle).sin() * end
    walk = (walk / angle.sin()).flatten(0, 1)
    images = generator.draw(walk, torch.tensor(classes).repeat_interleave(columns))
    return _draw_rows(generator, classes, images)


def write_images(
    generator: ExportedGenerator,
    out: Path,
    num: int,
    *,
    classes: Sequence[int] | None = None,
    seed: int = 0,
    truncation: float | None = None,
    reporter: Reporter,
) -> None:
    """Write `num` images in all as `out/<class name>/<number>.png`, spread over the classes.

    Without `classes` the training data's proportions hold, else all of them get as many.

    Raises:
        GanVkdError: `out` holds something already, or can't be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise GanVkdError(f"--out {out}: already holds something: choose a new folder")
    if classes is None:
        labels = generator.labels(num)
    else:
        labels = torch.tensor(_rows(generator, classes))[torch.arange(num) % len(classes)]
        labels = labels.sort().values
    folders = _folder_names(generator.class_names)
    z_dim = generator.network.shape["z_dim"]
    try:
        with reporter.bar("Writing images", num) as bar:
            for part in torch.arange(num).split(64):
                z = latents(part.tolist(), z_dim, seed, truncation)
                for i, image in zip(part.tolist(), generator.draw(z, labels[part]), strict=True):
                    folder = out / folders[int(labels[i])]
                    folder.mkdir(parents=True, exist_ok=True)
                    to_pillow(image).save(folder / f"{i:06d}.png")
                    bar.advance()
    except OSError as error:
        raise GanVkdError(f"--out {out}: can't be written ({error})") from None


def to_pillow(image: torch.Tensor) -> Image.Image:
    """uint8 [3, H, W] → a Pillow image."""
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def _rows(generator: ExportedGenerator, classes: Sequence[int] | None) -> list[int]:
    return list(range(len(generator.class_names))) if classes is None else list(classes)


def _folder_names(class_names: tuple[str, ...]) -> list[str]:
    """Class names as folder names: unlike each other, and going nowhere else."""
    safe = [re.sub(r"[^\w .()+-]", "_", name).strip(". ")[:60] or "class" for name in class_names]
    taken_twice = len({name.lower() for name in safe}) < len(safe)
    return [f"{i:03d} {name}" for i, name in enumerate(safe)] if taken_twice else safe


def _draw_rows(
    generator: ExportedGenerator, classes: list[int], images: torch.Tensor
) -> Image.Image:
    """uint8 [rows · columns, 3, S, S] → a picture, rows in blocks side by side if many."""
    size = generator.image_size
    scale = max(1, math.ceil(CELL / size))
    cell = size * scale
    columns = len(images) // len(classes)
    font = ImageFont.load_default(size=14)
    names = [printable(generator.class_names[label])[:24] for label in classes]
    margin = math.ceil(max(font.getlength(name) for name in names)) + 16
    blocks = math.ceil(len(classes) / ROWS_PER_BLOCK)
    rows = math.ceil(len(classes) / blocks)
    block_width = margin + columns * (cell + GAP) + 8
    picture = Image.new("RGB", (blocks * block_width, rows * (cell + GAP) + GAP), "white")
    pen = ImageDraw.Draw(picture)
    for index, name in enumerate(names):
        block, row = divmod(index, rows)
        left, top = block * block_width, GAP + row * (cell + GAP)
        pen.text((left + margin - 8, top + cell / 2), name, "black", font, anchor="rm")
        for column in range(columns):
            image = to_pillow(images[index * columns + column])
            enlarged = image.resize((cell, cell), Image.Resampling.NEAREST)
            picture.paste(enlarged, (left + margin + column * (cell + GAP), top))
    return picture
