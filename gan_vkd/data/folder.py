"""Folders and zips of images, with a cache that makes the second load fast."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from PIL import UnidentifiedImageError

from gan_vkd.cache import mark_used, prune
from gan_vkd.data.archive import open_archive, read_file, read_member
from gan_vkd.data.decode import decode, open_image
from gan_vkd.data.images import Dataset, ImageSet
from gan_vkd.errors import GanVkdError
from gan_vkd.paths import cache_dir
from gan_vkd.progress import Reporter
from gan_vkd.tensors import UNREADABLE, read_tensors, write_tensors

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
TEST_NAMES = ("test", "val", "valid")
CACHE_VERSION = 1  # raise it when decoding or the layout rules change


@dataclass(frozen=True)
class Member:
    """One image file: its path below the root, and what tells whether it has changed."""

    path: str
    stamp: tuple[int, int]


@dataclass(frozen=True)
class Tree:
    """The image files of a folder or zip, and a way to read them."""

    members: list[Member]
    read: Callable[[str], bytes]


def open_tree(root: Path) -> Tree:
    """List the images below a folder, or in a zip, sorted by path; hidden names are left out.

    Raises:
        GanVkdError: when `root` is neither, holds no image, or is a zip not to be trusted.
    """
    if root.is_dir():
        members = sorted(_walk(root), key=lambda member: member.path)
        tree = Tree(members, lambda path: read_file(root / path))
    elif zipfile.is_zipfile(root):
        archive, files = open_archive(root)
        members = [
            Member(info.filename, (info.file_size, info.CRC))
            for info in sorted(files, key=lambda info: info.filename)
            if _is_image(info.filename)
        ]
        tree = Tree(members, lambda path: read_member(archive, path))
    else:
        raise GanVkdError(f"{root}: neither a folder nor a zip of images")
    if not tree.members:
        raise GanVkdError(f"{root}: no images in it (looked for {', '.join(sorted(SUFFIXES))})")
    return tree


def _walk(root: Path) -> list[Member]:
    members, visited = [], set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        subfolders[:] = [] if real in visited else sorted(subfolders)
        if real in visited:  # a link back up
            continue
        visited.add(real)
        for name in files:
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            if _is_image(relative) and path.is_file():
                stat = path.stat()
                members.append(Member(relative, (stat.st_size, stat.st_mtime_ns)))
    return members


def _is_image(path: str) -> bool:
    parts = path.split("/")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and Path(path).suffix.lower() in SUFFIXES


@dataclass(frozen=True)
class Layout:
    """Which file belongs to which split and class: split → [(path, label)]."""

    class_names: tuple[str, ...]
    splits: dict[str, list[tuple[str, int]]]


def find_layout(root: Path, paths: list[str]) -> Layout:
    """Read splits and classes off the paths.

    `train/<class>/*` with `test/<class>/*` (or `val`), `<class>/*`, or flat: one class. Folders
    that only wrap the rest are looked through; below a class folder any depth is fine.

    Raises:
        GanVkdError: when images lie beside class folders, or a test class has no training image.
    """
    parts = {path: path.split("/") for path in paths}
    while True:
        heads = {p[0] for p in parts.values()}
        wrapped = len(heads) == 1 and all(len(p) > 2 for p in parts.values())
        if not wrapped or heads <= {"train", *TEST_NAMES}:
            break
        parts = {path: p[1:] for path, p in parts.items()}

    if any(p[0] == "train" and len(p) > 1 for p in parts.values()):
        test_name = next((t for t in TEST_NAMES if any(p[0] == t for p in parts.values())), None)
        splits = {
            split: {path: p[1:] for path, p in parts.items() if p[0] == head}
            for split, head in (("train", "train"), ("test", test_name))
            if head is not None
        }
    else:
        splits = {"train": parts}

    class_names = _classes(root, splits["train"])
    number = {name: label for label, name in enumerate(class_names)}
    labelled: dict[str, list[tuple[str, int]]] = {}
    for split, files in splits.items():
        for name in set(_classes(root, files)) - set(class_names):
            raise GanVkdError(f"{root}: class {name!r} of the {split} split has no training image")
        labelled[split] = [(path, number[p[0]] if len(p) > 1 else 0) for path, p in files.items()]
    return Layout(class_names, labelled)


def _classes(root: Path, files: dict[str, list[str]]) -> tuple[str, ...]:
    names = sorted({p[0] for p in files.values() if len(p) > 1})
    flat = next((path for path, p in files.items() if len(p) == 1), None)
    if names and flat is not None:
        raise GanVkdError(
            f"{root}: {flat} lies beside class folders ({names[0]}, ...): move it into one"
        )
    return tuple(names) or ("images",)


def common_size(root: Path) -> int:
    """The side of the images below a folder or in a zip, all square and of one size.

    Raises:
        GanVkdError: sizes that differ, not square, or unreadable images.
    """
    tree = open_tree(root)
    first = None
    for member in tree.members:
        try:
            with open_image(tree.read(member.path)) as image:
                size = image.size
        except Exception as error:
            raise GanVkdError(f"{root}: can't read {member.path} ({_reason(error)})") from None
        first = first or size
        if size != first or size[0] != size[1]:
            raise GanVkdError(
                f"{root}: {member.path} has {size[0]}x{size[1]} pixels; evaluation takes square "
                f"images of one size (the first one: {first[0]}x{first[1]})"
            )
    return first[0]


def load_folder(root: Path, image_size: int, *, skip_bad: bool, reporter: Reporter) -> Dataset:
    """Load a folder or zip of images as squares of `image_size` pixels.

    The decoded images are cached under a key made of the file names, sizes and times, written
    under a lock and renamed when whole, so interruption and a second process do no harm.

    Raises:
        GanVkdError: no images, an unclear layout, or an unreadable image (unless `skip_bad`).
    """
    tree = open_tree(root)
    layout = find_layout(root, [member.path for member in tree.members])
    entry = _cache_entry(root, tree, image_size, skip_bad)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{entry}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            reporter.say(f"Waiting for another process that is reading {root}")
            lock.acquire()
    except OSError as error:
        reporter.say(f"The image cache {entry.parent} can't be written ({error}): going without")
        return _decode_all(root, tree, layout, image_size, skip_bad, reporter)
    try:
        cached = _read_cache(root, entry, layout, reporter)
        if cached is not None:
            return cached
        dataset = _decode_all(root, tree, layout, image_size, skip_bad, reporter)
        _write_cache(entry, dataset, reporter)
        return dataset
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # at worst, two processes decode at once
        lock.release()


def _cache_entry(root: Path, tree: Tree, image_size: int, skip_bad: bool) -> Path:
    key = [CACHE_VERSION, str(root.resolve()), image_size, skip_bad]
    listing = [(member.path, *member.stamp) for member in tree.members]
    digest = hashlib.sha256(json.dumps([key, listing]).encode()).hexdigest()[:32]
    return cache_dir() / "images" / f"{digest}.safetensors"


def _read_cache(root: Path, entry: Path, layout: Layout, reporter: Reporter) -> Dataset | None:
    if not entry.exists():
        return None
    try:
        tensors, header = read_tensors(entry)
        dataset = _dataset(root, tensors, layout.class_names, int(header["skipped"]))
        for images in filter(None, (dataset.train, dataset.test)):
            _check_cached(images)
        mark_used(entry)
    except UNREADABLE:
        reporter.say(f"The image cache {entry} is damaged: reading {root} again")
        return None
    return dataset


def _check_cached(images: ImageSet) -> None:
    """Raises ValueError where a cache entry holds something else."""
    shape, labels = images.images.shape, images.labels
    if images.images.dtype != torch.uint8 or len(shape) != 4 or labels.shape != shape[:1]:
        raise ValueError("no images and labels")
    if not 0 <= int(labels.min()) <= int(labels.max()) < len(images.class_names):
        raise ValueError("labels of other classes")


def _write_cache(entry: Path, dataset: Dataset, reporter: Reporter) -> None:
    tensors = {"train_images": dataset.train.images, "train_labels": dataset.train.labels}
    if dataset.test is not None:
        tensors |= {"test_images": dataset.test.images, "test_labels": dataset.test.labels}
    try:
        write_tensors(entry, tensors, {"skipped": str(dataset.skipped)})
        prune(entry.parent, keep=entry)
    except OSError as error:
        reporter.say(f"The image cache {entry} could not be written ({error}): going without")


def _dataset(
    root: Path, tensors: dict[str, torch.Tensor], class_names: tuple[str, ...], skipped: int
) -> Dataset:
    train, test = (
        ImageSet(tensors[f"{split}_images"], tensors[f"{split}_labels"], class_names)
        if f"{split}_images" in tensors
        else None
        for split in ("train", "test")
    )
    return Dataset(str(root), train, test, skipped=skipped)


def _decode_all(
    root: Path, tree: Tree, layout: Layout, image_size: int, skip_bad: bool, reporter: Reporter
) -> Dataset:
    def attempt(path: str) -> np.ndarray | Exception:
        try:
            return decode(tree.read(path), image_size)
        except Exception as error:
            return error

    tensors, skipped = {}, 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for split, files in layout.splits.items():
            arrays, labels = [], []
            decoded = pool.map(attempt, [path for path, _ in files])
            decoded = reporter.track(decoded, f"Reading {split} images", len(files))
            for (path, label), result in zip(files, decoded, strict=True):
                if isinstance(result, np.ndarray):
                    arrays.append(result)
                    labels.append(label)
                elif skip_bad:
                    skipped += 1
                else:
                    pool.shutdown(cancel_futures=True)
                    raise GanVkdError(
                        f"{root}: can't read {path} ({_reason(result)}): "
                        "mend or remove it, or pass --skip-bad"
                    )
            if not arrays:
                raise GanVkdError(f"{root}: none of the {len(files)} {split} images can be read")
            stacked = torch.from_numpy(np.stack(arrays))
            tensors[f"{split}_images"] = stacked.permute(0, 3, 1, 2).contiguous()
            tensors[f"{split}_labels"] = torch.tensor(labels)
    return _dataset(root, tensors, layout.class_names, skipped)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its own text has an object's address
        return "not an image, or of a format that is not read"
    return " ".join(str(error).split()) or type(error).__name__
