"""Image files that are evaluated or serve as reference: their size, kind and classes."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from gan_vkd.data.archive import open_archive
from gan_vkd.data.arrays import array_size, is_array_file, load_arrays
from gan_vkd.data.decode import open_image
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
LOSSY = {".jpg": "JPEG", ".jpeg": "JPEG", ".jfif": "JPEG", ".webp": "WebP"}


@dataclass(frozen=True)
class Files:
    """Facts about image files that need no pixels.

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
        if is_array_file(root):
            return cls(min(array_size(root)), "none")
        tree, sizes = open_tree(root), []
        for path in tree.paths[:: max(1, len(tree.paths) // LOOKED_AT)]:
            try:
                with open_image(tree.read(path)) as image:
                    sizes.append(min(image.size))
            except Exception:  # of any class; whoever loads the image says so
                continue
        kinds = [LOSSY.get(Path(path).suffix.lower(), "none") for path in tree.paths]
        return cls(min(sizes, default=0), max(sorted(set(kinds)), key=kinds.count))


def load_given(
    target: Path, size: int | None, reporter: Reporter, *, skip_bad: bool = False
) -> ImageSet:
    """The images of a folder, zip, .npz or .npy, labelled where it has classes.

    Args:
        target: the folder or file, which is there.
        size: the side to bring them to, pixels; None where all are squares of one size.
        reporter: told about long work, and of resizing.
        skip_bad: leave unreadable files out, and count them, in place of refusing.

    Raises:
        GanVkdError: no such images, or without `size` images of several sizes.
    """
    if is_array_file(target):
        return load_arrays(target, size, all_classes=True).train
    side = size or common_size(target, skip_bad=skip_bad)
    if size is not None and (own := Files.of(str(target)).size) != size:
        reporter.say(
            f"{target}: the shorter side ({own} pixels or more) is resized to {size}, and the "
            "central square is used"
        )
    dataset = load_dataset(str(target), image_size=side, skip_bad=skip_bad, reporter=reporter)
    return _renamed(target, dataset.train)


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
        raise GanVkdError(f"{target}: {CLASS_NAMES} is not a table of class names: remove it")
    return replace(images, class_names=names)
