"""Pictures from an exported generator: grids with class names, walks, single images."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from gan_vkd.data.grids import labelled_rows, to_pillow
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.exported import ExportedGenerator
from gan_vkd.gan.latents import latents
from gan_vkd.paths import replacing
from gan_vkd.progress import Reporter
from gan_vkd.randomness import generator as draws_of

CLASS_NAMES = "class_names.json"  # beside folders of samples: what their classes are called
MOST_ROWS = 100  # classes of a grid that names none
FORBIDDEN = r"[^\w !#$%&\'()+,;=@\[\]^`{}~.-]"  # and whatever does not print
RESERVED = r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?"  # on Windows


def class_grid(
    generator: ExportedGenerator,
    *,
    columns: int = 10,
    classes: Sequence[int | str] | None = None,
    seed: int = 0,
    truncation: float | None = None,
) -> Image.Image:
    """One row a class, its name beside it; every row shows other latents.

    Args:
        generator: what to draw from.
        columns: images a row.
        classes: the rows, default all classes, or 100 of them, see `shown_classes`.
        seed: of the latents.
        truncation: see `gan_vkd.gan.latents.latents`.
    """
    classes = _rows(generator, classes, seed)
    labels = torch.tensor(classes).repeat_interleave(columns)
    images = generator.sample(len(labels), labels.tolist(), seed, truncation)
    return labelled_rows([generator.class_names[label] for label in classes], images)


def interpolation_grid(
    generator: ExportedGenerator,
    *,
    columns: int = 10,
    classes: Sequence[int | str] | None = None,
    seed: int = 0,
    truncation: float | None = None,
) -> Image.Image:
    """One row a class: from one latent to another along the great circle between them."""
    classes = _rows(generator, classes, seed)
    z_dim = generator.network.shape["z_dim"]
    ends = latents(range(2 * len(classes)), z_dim, seed, truncation).view(-1, 2, z_dim)
    steps = torch.linspace(0, 1, columns)[None, :, None]
    start, end = ends[:, :1], ends[:, 1:]
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=-1)[..., None]
    angle = cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos()
    walk = ((1 - steps) * angle).sin() * start + (steps * angle).sin() * end
    walk = (walk / angle.sin()).flatten(0, 1)
    images = generator.draw(walk, torch.tensor(classes).repeat_interleave(columns))
    return labelled_rows([generator.class_names[label] for label in classes], images)


def write_images(
    generator: ExportedGenerator,
    out: Path,
    num: int,
    *,
    classes: Sequence[int | str] | None = None,
    seed: int = 0,
    truncation: float | None = None,
    reporter: Reporter,
) -> None:
    """Write `num` images in all as `out/<class name>/<number>.png`, spread over the classes.

    Without `classes` the training data's proportions hold, else all of them get as many. Where a
    folder can't be called as its class is, `out/class_names.json` says what it holds.

    Raises:
        GanVkdError: `out` holds something already, or can't be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise GanVkdError(f"--out {out}: already holds something: choose a new folder")
    if classes is None:
        labels = generator.labels(num, seed)
    else:
        chosen = torch.tensor(generator.class_indices(classes))
        labels = chosen[torch.arange(num) % len(chosen)].sort().values
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
        drawn = labels.unique().tolist()
        renamed = {folders[i]: generator.class_names[i] for i in drawn}
        renamed = {folder: name for folder, name in renamed.items() if folder != name}
        if renamed:
            with replacing(out / CLASS_NAMES) as temporary:
                temporary.write_text(json.dumps(renamed, indent=2) + "\n")
    except OSError as error:
        raise GanVkdError(f"--out {out}: can't be written ({error})") from None


def shown_classes(generator: ExportedGenerator, seed: int) -> list[int]:
    """The classes of a grid that names none: all, or 100 of them, drawn by `seed`, ascending."""
    known = len(generator.class_names)
    order = torch.randperm(known, generator=draws_of(seed, "rows"))
    return sorted(order[:MOST_ROWS].tolist()) if known > MOST_ROWS else list(range(known))


def _rows(
    generator: ExportedGenerator, classes: Sequence[int | str] | None, seed: int
) -> list[int]:
    return shown_classes(generator, seed) if classes is None else generator.class_indices(classes)


def _folder_names(class_names: tuple[str, ...]) -> list[str]:
    """Class names as folder names: the same, where all systems take them and tell them apart."""
    safe = [re.sub(FORBIDDEN, "_", name).strip(". ")[:60] or "class" for name in class_names]
    safe = [f"{name}_" if re.fullmatch(RESERVED, name) else name for name in safe]
    taken_twice = len({name.lower() for name in safe}) < len(safe)
    return [f"{i:03d} {name}" for i, name in enumerate(safe)] if taken_twice else safe
