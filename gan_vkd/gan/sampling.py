"""Pictures from an exported generator: grids with class names, walks, single images."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gan_vkd import processes
from gan_vkd.data.grids import labelled_rows, to_pillow
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.exported import ExportedGenerator
from gan_vkd.gan.latents import great_circle, latents
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
    """One row per class with its name; every row shows other latents.

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
    """One row per class, along the great circle from one latent to another."""
    classes = _rows(generator, classes, seed)
    z_dim = generator.network.shape["z_dim"]
    ends = latents(range(2 * len(classes)), z_dim, seed, truncation).view(-1, 2, z_dim)
    steps = torch.linspace(0, 1, columns)[None, :, None]
    walk = great_circle(ends[:, :1], ends[:, 1:], steps).flatten(0, 1)
    images = generator.draw(walk, torch.tensor(classes).repeat_interleave(columns))
    return labelled_rows([generator.class_names[label] for label in classes], images)


def latent_grid(
    generator: ExportedGenerator,
    z: torch.Tensor,
    *,
    classes: Sequence[int | str] | None = None,
) -> Image.Image:
    """One row per class, of the same latents, float [N, z_dim], from left to right."""
    classes = _rows(generator, classes, 0)
    labels = torch.tensor(classes).repeat_interleave(len(z))
    images = generator.draw(z.repeat(len(classes), 1), labels)
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
    """Write `num` images in all, spread over the classes: see `_write` for where.

    Without `classes` the training data's proportions hold, else all of them get as many.

    Raises:
        GanVkdError: `out` holds something already, or can't be written.
    """
    if classes is None:
        labels = generator.labels(num, seed)
    else:
        chosen = torch.tensor(generator.class_indices(classes))
        labels = chosen[torch.arange(num) % len(chosen)].sort().values
    z = latents(range(num), generator.network.shape["z_dim"], seed, truncation)
    _write(generator, out, z, labels, list(range(num)), reporter)


def write_latents(
    generator: ExportedGenerator,
    out: Path,
    z: torch.Tensor,
    *,
    classes: Sequence[int | str] | None = None,
    reporter: Reporter,
) -> None:
    """Write the image of each latent, float [N, z_dim], in each class; default all classes.

    Raises:
        GanVkdError: as `write_images`.
    """
    known = range(len(generator.class_names))
    chosen = generator.class_indices(known if classes is None else classes)
    labels = torch.tensor(chosen).repeat_interleave(len(z))
    numbers = list(range(len(z))) * len(chosen)
    _write(generator, out, z.repeat(len(chosen), 1), labels, numbers, reporter)


def _write(
    generator: ExportedGenerator,
    out: Path,
    z: torch.Tensor,
    labels: torch.Tensor,
    numbers: list[int],
    reporter: Reporter,
) -> None:
    """Write images as `out/<class name>/<number>.png`, or as one file: `out` ends in .npz or .npy.

    Where a folder can't be called as its class is, `out/class_names.json` says what it holds. A
    .npz has `images` (uint8 [N, S, S, 3]), `labels` (int64 [N]) and `class_names`; a .npy is the
    images alone. Grey images have three equal channels there, as other tools expect.
    """
    packed = out.suffix in (".npz", ".npy")
    processes.on_first(_require_new, out, packed)
    folders, size = _folder_names(generator.class_names), generator.image_size
    images = np.empty((len(z), size, size, 3), np.uint8) if packed else None
    with reporter.bar("Writing images", len(z)) as bar:
        for part in torch.arange(len(z)).split(64 * processes.size()):
            drawn = generator.draw(z[part], labels[part])
            if packed:
                images[part] = drawn.permute(0, 2, 3, 1)
            else:
                places = [
                    out / folders[int(labels[i])] / f"{numbers[i]:06d}.png" for i in part.tolist()
                ]
                processes.on_first(_write_files, out, places, drawn)
            bar.advance(len(part))
    if packed:
        processes.on_first(_write_arrays, out, images, labels, generator.class_names)
    else:
        names = {folders[i]: generator.class_names[i] for i in labels.unique().tolist()}
        processes.on_first(_write_names, out, names)


def _require_new(out: Path, packed: bool) -> None:
    if out.exists() and (packed or not out.is_dir() or any(out.iterdir())):
        raise GanVkdError(f"--out {out}: already exists and is not empty: choose a new name")


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GanVkdError(f"--out {out}: cannot be written ({error})") from None


def _write_files(out: Path, places: list[Path], images: torch.Tensor) -> None:
    with _writing(out):
        for place, image in zip(places, images, strict=True):
            place.parent.mkdir(parents=True, exist_ok=True)
            to_pillow(image).save(place)


def _write_arrays(
    out: Path, images: np.ndarray, labels: torch.Tensor, names: tuple[str, ...]
) -> None:
    with _writing(out), replacing(out) as temporary, temporary.open("wb") as file:
        if out.suffix == ".npz":
            others = {"labels": labels.numpy(), "class_names": np.array(names)}
            np.savez(file, images=images, **others)
        else:
            np.save(file, images)


def _write_names(out: Path, names: dict[str, str]) -> None:
    """Of folders that are not called as their classes are."""
    renamed = {folder: name for folder, name in names.items() if folder != name}
    if renamed:
        with _writing(out), replacing(out / CLASS_NAMES) as temporary:
            temporary.write_text(json.dumps(renamed, indent=2) + "\n")


def shown_classes(generator: ExportedGenerator, seed: int, most: int = MOST_ROWS) -> list[int]:
    """The classes of a picture that names none: all, or `most` drawn by `seed`, ascending."""
    known = len(generator.class_names)
    order = torch.randperm(known, generator=draws_of(seed, "rows"))
    return sorted(order[:most].tolist()) if known > most else list(range(known))


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
