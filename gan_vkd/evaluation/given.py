"""Images that are given as files, to be judged or to judge by: their size, kind and classes."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gan_vkd.data.archive import open_archive
from gan_vkd.data.decode import open_image, to_square
from gan_vkd.data.folder import common_size
from gan_vkd.data.images import ImageSet
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.tree import open_tree
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.sampling import CLASS_NAMES
from gan_vkd.paths import expanded
from gan_vkd.progress import Reporter

OWN_SIZES = {"digits": 8, "cifar10": 32, "cifar100": 32}
LOOKED_AT = 100  # images of a folder whose sizes are read
ARRAYS = (".npy", ".npz")
LOSSY = {".jpg": "JPEG", ".jpeg": "JPEG", ".jfif": "JPEG", ".webp": "WebP"}


@dataclass(frozen=True)
class Files:
    """What is known of image files without reading their pixels.

    Attributes:
        size: the smallest side among a hundred of them, pixels.
        compression: that most of them have: JPEG, WebP (which may be lossless), or none.
    """

    size: int
    compression: str

    @classmethod
    def of(cls, spec: str) -> "Files":
        """Of a data set's spec, as `load_dataset` takes it; the files are there.

        Raises:
            GanVkdError: an image that can't be read.
        """
        if spec in OWN_SIZES:
            return cls(OWN_SIZES[spec], "none")
        root = expanded(spec)
        if root.suffix in ARRAYS:
            return cls(min(_pixels(root)[0].shape[1:3]), "none")
        tree, sizes = open_tree(root), []
        for path in tree.paths[:: max(1, len(tree.paths) // LOOKED_AT)]:
            try:
                with open_image(tree.read(path)) as image:
                    sizes.append(min(image.size))
            except Exception:  # of any class; whoever loads the image says so
                continue
        kinds = [LOSSY.get(Path(path).suffix.lower(), "none") for path in tree.paths]
        return cls(min(sizes, default=0), max(sorted(set(kinds)), key=kinds.count))


def load_given(target: Path, size: int | None, reporter: Reporter) -> ImageSet:
    """The images of a folder, zip, .npz or .npy, labelled where it has classes.

    Args:
        target: the folder or file, which is there.
        size: the side to bring them to, pixels; None where all are squares of one size.
        reporter: told about long work, and of resizing.

    Raises:
        GanVkdError: no such images, or without `size` images of several sizes.
    """
    if target.suffix in ARRAYS:
        return load_arrays(target, size)
    side = size or common_size(target)
    if size is not None and (own := Files.of(str(target)).size) != size:
        reporter.say(
            f"{target}: the shorter side (from {own} pixels on) is resized to {size}, and the "
            "centre cut out"
        )
    return _renamed(target, load_dataset(str(target), image_size=side, reporter=reporter).train)


def load_arrays(path: Path, size: int | None) -> ImageSet:
    """The images of a .npy, or of a .npz with or without labels, as `gan-vkd sample` writes it.

    Args:
        path: the file.
        size: the side to bring them to, pixels; None where they are squares.

    Raises:
        GanVkdError: something else in it.
    """
    pixels, labels, names = _pixels(path)
    height, width = pixels.shape[1:3]
    if size is None and height != width:
        raise GanVkdError(f"{path}: its images have {width}x{height} pixels: pass --size")
    side = size or height
    if (height, width) != (side, side):
        pixels = np.stack([to_square(Image.fromarray(image), side) for image in pixels])
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    return ImageSet(images, torch.from_numpy(labels.astype(np.int64)), names)


def _pixels(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images uint8 [N, H, W, 3], labels [N] and class names, of an array file."""
    try:
        found = np.load(path, allow_pickle=False)
        arrays = dict(found) if isinstance(found, np.lib.npyio.NpzFile) else {"images": found}
    except Exception as error:  # its readers raise whatever they trip over
        reason = " ".join(str(error).split())[:200]
        raise GanVkdError(f"{path}: not a whole .npy or .npz of arrays ({reason})") from None
    images = [
        a for a in arrays.values() if a.dtype == np.uint8 and a.ndim == 4 and 3 in a.shape[1:]
    ]
    if len(images) != 1 or not images[0].size:
        raise GanVkdError(
            f"{path}: holds no array, or several, of uint8 [N, H, W, 3] or [N, 3, H, W]"
        )
    pixels = images[0] if images[0].shape[-1] == 3 else images[0].transpose(0, 2, 3, 1)
    if pixels.shape[-1] != 3:
        raise GanVkdError(
            f"{path}: its images are {images[0].shape[1:]}: neither [H, W, 3] nor [3, H, W]"
        )
    if "labels" not in arrays:
        return pixels, np.zeros(len(pixels), np.int64), ("images",)
    labels = arrays["labels"]
    whole = labels.dtype.kind in "iu" and labels.shape == pixels.shape[:1] and labels.min() >= 0
    if "class_names" in arrays:
        names = arrays["class_names"]
    else:  # the numbers that are there
        names, labels = np.unique(labels, return_inverse=True)
    if not whole or names.ndim != 1 or labels.max() >= len(names):
        raise GanVkdError(f"{path}: its labels are no integers from 0 on, one an image")
    return pixels, labels, tuple(str(name) for name in names.tolist())


def _renamed(target: Path, images: ImageSet) -> ImageSet:
    """The images under their classes' names, where `gan-vkd sample` couldn't name folders so.

    Raises:
        GanVkdError: a table of names that is none.
    """
    if target.is_dir():
        tables = [(target / CLASS_NAMES).read_bytes] if (target / CLASS_NAMES).is_file() else []
    else:
        members, _ = open_archive(target)
        tables = [each.read for path, each in members.items() if Path(path).name == CLASS_NAMES]
    if not tables:
        return images
    try:
        table = json.loads(tables[0]())
        names = tuple(str(table.get(name, name)) for name in images.class_names)
    except Exception:  # archives' readers raise whatever they trip over
        names = ()
    if len(set(names)) < len(images.class_names):
        raise GanVkdError(f"{target}: {CLASS_NAMES} is no table of class names: remove it")
    return replace(images, class_names=names)
