"""Images in .npy and .npz files. The rules in plain words: docs/layouts.md."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gan_vkd.data.archive import LARGEST_UNPACKED
from gan_vkd.data.decode import is_grey, to_square
from gan_vkd.data.images import Dataset, ImageSet
from gan_vkd.data.layout import ONE_CLASS, SPLIT_OF
from gan_vkd.errors import GanVkdError

SUFFIXES = (".npy", ".npz")
IMAGES, LABELS = ("images", "image", "x"), ("labels", "label", "y")  # beside a split's name
CLASS_NAMES = "class_names"
MOST_TIMES = 100  # the file's size, of arrays above LARGEST_UNPACKED
UNNAMED_LABELS = "arr_1"  # of files that np.savez wrote without names
SHOWN = 5  # arrays that a message names


@dataclass(frozen=True)
class Split:
    """Images uint8 [N, H, W, C], C = 1 or 3, and their labels, integers [N], or None."""

    pixels: np.ndarray
    labels: np.ndarray | None


def is_array_file(path: Path) -> bool:
    """Whether a file is to be read by NumPy, by its name."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def array_keys(path: Path) -> set[str]:
    """The names of a .npz's arrays; of any other file none."""
    if path.suffix.lower() != ".npz" or not zipfile.is_zipfile(path):
        return set()
    with zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


def array_size(path: Path) -> tuple[int, int]:
    """Height and width of the images in an array file, pixels.

    Raises:
        GanVkdError: as `load_arrays`.
    """
    return _read(path)[0]["train"].pixels.shape[1:3]


def load_arrays(path: Path, size: int | None, *, all_classes: bool = False) -> Dataset:
    """The images of a .npy or .npz, as `gan-vkd sample`, MedMNIST, Keras and others write them.

    Images are uint8 [N, H, W], [N, H, W, C] or [N, C, H, W] with C = 1 or 3. They have one channel
    where all of them are grey.

    Args:
        path: the file.
        size: the side to bring images to, pixels; None where they are squares.
        all_classes: keep classes that have a name and no training image; else they are left out.

    Raises:
        GanVkdError: something else in it.
    """
    splits, names = _read(path)
    height, width = splits["train"].pixels.shape[1:3]
    if size is None and height != width:
        raise GanVkdError(f"{path}: its images have {width}x{height} pixels: pass --size")
    notes = []
    if "test" in splits and (unused := splits.pop("validation", None)):
        notes.append(f"{len(unused.pixels):,} validation images are not used")
    splits = {"test" if name == "validation" else name: part for name, part in splits.items()}
    labels, names = _numbered(path, splits, names, all_classes, notes)
    coloured = any(p.pixels.shape[-1] == 3 and not is_grey(p.pixels) for p in splits.values())
    sets = {
        name: ImageSet(_squares(part.pixels, size or height, coloured), labels[name], names)
        for name, part in splits.items()
    }
    rule = "arrays of a training and a test split" if "test" in sets else "arrays"
    return Dataset(str(path), sets["train"], sets.get("test"), layout=rule, notes=tuple(notes))


def _read(path: Path) -> tuple[dict[str, Split], np.ndarray | None]:
    """The splits by name, `train` among them, and the classes' names where the file has them."""
    arrays = _arrays(path)
    roles = {name: _role(name) for name in arrays}
    found: dict[str, dict[str, np.ndarray]] = {"images": {}, "labels": {}}
    for name, (kind, split) in roles.items():
        if kind:
            found[kind][split] = arrays[name]
    if not found["images"]:  # under any name
        others = [array for name, array in arrays.items() if not roles[name][0]]
        candidates = [array for array in others if _images(array) is not None]
        found["images"] = {"train": candidates[0]} if len(candidates) == 1 else {}
        if UNNAMED_LABELS in arrays and arrays[UNNAMED_LABELS].ndim == 1:
            found["labels"].setdefault("train", arrays[UNNAMED_LABELS])
    splits = {}
    for split, array in found["images"].items():
        pixels = _images(array)
        if pixels is not None:
            splits[split] = Split(pixels, _labels(path, found["labels"].get(split), len(pixels)))
    if not splits and {"mu", "sigma"} <= arrays.keys():
        raise GanVkdError(
            f"{path}: holds statistics, not images; gan-vkd eval --reference takes those that its "
            "--save-stats wrote, which name their extractor"
        )
    if not splits or len(splits) < len(found["images"]):
        held = [f"{name} {array.dtype} {list(array.shape)}" for name, array in arrays.items()]
        held[SHOWN:] = [f"{len(held) - SHOWN} more"] * (len(held) > SHOWN)
        raise GanVkdError(
            f"{path}: holds no array, or several, of uint8 [N, H, W], [N, H, W, C] or "
            "[N, C, H, W], N > 0, C = 1 or 3; images are called images, or train_images and "
            f"test_images; it holds {', '.join(held) or 'nothing'}"
        )
    if "train" not in splits:
        raise GanVkdError(f"{path}: has no training images: call them images or train_images")
    if len({part.labels is None for part in splits.values()}) > 1:
        raise GanVkdError(f"{path}: only some of its splits have labels: label all, or none")
    return splits, arrays.get(CLASS_NAMES)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        if zipfile.is_zipfile(path):
            _check_unpacked(path)
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.lib.npyio.NpzFile):
            return {"images": found}
        with found:
            # other members come as bytes
            return {name: a for name, a in found.items() if isinstance(a, np.ndarray)}
    except Exception as error:  # its readers raise whatever they trip over
        reason = " ".join(str(error).split())[:200]
        if "allow_pickle" in reason:  # numpy's advice for other files is to run what is in them
            reason = "another kind of file, or Python objects in place of numbers"
        raise GanVkdError(f"{path}: not a whole .npy or .npz of arrays ({reason})") from None


def _check_unpacked(path: Path) -> None:
    """Raises ValueError for arrays that take far more than the file, as in an archive."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > max(LARGEST_UNPACKED, MOST_TIMES * path.stat().st_size):
        raise ValueError(
            f"unpacks to {unpacked / 2**30:,.1f} GiB, over {MOST_TIMES} times its size"
        )


def _role(name: str) -> tuple[str, str]:
    """`train_images` → `images`, `train`; no kind where a name says nothing."""
    words = name.lower().split("_")
    split = next((SPLIT_OF[word] for word in words if word in SPLIT_OF), "train")
    rest = "_".join(word for word in words if word not in SPLIT_OF)
    return "images" if rest in IMAGES else "labels" if rest in LABELS else "", split


def _images(array: np.ndarray) -> np.ndarray | None:
    """As [N, H, W, C] where an array can be images, else None."""
    if array.dtype != np.uint8 or not array.size:
        return None
    if array.ndim == 3:
        return array[..., None]
    if array.ndim != 4:
        return None
    if array.shape[-1] in (1, 3):
        return array
    return array.transpose(0, 2, 3, 1) if array.shape[1] in (1, 3) else None


def _labels(path: Path, labels: np.ndarray | None, count: int) -> np.ndarray | None:
    """Labels [N] or [N, 1] → [N], checked."""
    if labels is None:
        return None
    if labels.shape == (count, 1):
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.shape != (count,) or labels.min() < 0:
        raise GanVkdError(f"{path}: its labels are not integers from 0 on, one per image")
    return labels


def _numbered(
    path: Path,
    splits: dict[str, Split],
    names: np.ndarray | None,
    all_classes: bool,
    notes: list[str],
) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Labels as indices into the classes, and these classes."""
    given = {name: part.labels for name, part in splits.items() if part.labels is not None}
    if not given:
        zeros = {name: torch.zeros(len(p.pixels), dtype=torch.int64) for name, p in splits.items()}
        return zeros, (ONE_CLASS,)
    kept = np.unique(given["train"])
    highest = max(int(labels.max()) for labels in given.values())
    if names is not None and (names.ndim != 1 or highest >= len(names)):
        raise GanVkdError(
            f"{path}: its labels are not integers from 0 to the number of class names - 1"
        )
    if names is not None and all_classes:
        kept = np.arange(len(names))
    elif names is not None and len(kept) < len(names):
        empty = len(names) - len(kept)
        notes.append(f"classes without a training image are left out: {empty:,}")
    for name, labels in given.items():
        unknown = np.setdiff1d(labels, kept)
        if len(unknown):
            raise GanVkdError(
                f"{path}: class {unknown[0]} of the {name} split has no training image: add some, "
                "or remove its images"
            )
    numbers = {
        name: torch.from_numpy(np.searchsorted(kept, labels).astype(np.int64))
        for name, labels in given.items()
    }
    called = kept if names is None else names[kept]
    return numbers, tuple(str(name) for name in called.tolist())


def _squares(pixels: np.ndarray, size: int, coloured: bool) -> torch.Tensor:
    """uint8 [N, H, W, C] → uint8 [N, 3 or, where none is coloured, 1, size, size]."""
    if not coloured:
        pixels = pixels[..., :1]
    if pixels.shape[1:3] != (size, size):
        plain = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        pillow = (Image.fromarray(np.ascontiguousarray(image)) for image in plain)
        squares = np.stack([to_square(image, size) for image in pillow])
        pixels = squares[..., None] if squares.ndim == 3 else squares
    if coloured and pixels.shape[-1] == 1:  # another split has colours
        pixels = pixels.repeat(3, axis=-1)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
