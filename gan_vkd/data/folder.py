"""Folders, zips and tars of images, with a cache that makes the second load fast."""

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from PIL import UnidentifiedImageError

from gan_vkd.cache import mark_used, prune
from gan_vkd.data.decode import decode, is_grey, open_image
from gan_vkd.data.images import Dataset, ImageSet
from gan_vkd.data.labels import read_labels
from gan_vkd.data.layout import Layout, find_layout
from gan_vkd.data.tree import Tree, open_tree
from gan_vkd.errors import GanVkdError
from gan_vkd.paths import cache_dir
from gan_vkd.progress import Reporter
from gan_vkd.tensors import UNREADABLE, read_tensors, write_tensors

CACHE_VERSION = 3  # raise it when decoding or the layout rules change
REMEDY = "repair or remove what cannot be read, or pass --skip-bad"
AHEAD = 8  # images a processor that are decoded, or wait to be, before one is taken over


def common_size(root: Path, *, skip_bad: bool) -> int:
    """The side of the images below a folder or in an archive, all square and of one size.

    Raises:
        GanVkdError: sizes that differ, not square, or unreadable images: one (unless `skip_bad`),
            or all.
    """
    tree = open_tree(root)
    if not skip_bad:
        _refuse_bad(root, tree)
    first = None
    for path in tree.paths:
        try:
            with open_image(tree.read(path)) as image:
                size = image.size
        except Exception as error:
            if skip_bad:
                continue
            raise GanVkdError(f"{root}: can't read {path} ({_reason(error)}): {REMEDY}") from None
        first = first or size
        if size != first or size[0] != size[1]:
            raise GanVkdError(
                f"{root}: {path} has {size[0]}x{size[1]} pixels; evaluation takes square "
                f"images of one size (the first one: {first[0]}x{first[1]})"
            )
    if first is None:
        count = len(tree.paths) + len(tree.bad)
        raise GanVkdError(f"{root}: none of the {count:,} images can be read")
    return first[0]


def load_folder(root: Path, image_size: int, *, skip_bad: bool, reporter: Reporter) -> Dataset:
    """Load a folder, zip or tar of images as squares of `image_size` pixels.

    They have one channel where all of them are grey, in every split.

    The decoded images are cached under a key made of the files' names, sizes, times and some of
    their bytes, written under a lock and renamed when whole, so interruption and a second process
    do no harm. What comes from the cache is mapped, not read: an image takes memory once it is
    looked at, and the system may take it back. While decoding, and where there is no cache, images
    lie in memory.

    Raises:
        GanVkdError: no images, an unclear layout, labels that don't fit, more images than there is
            memory for, or an unreadable image, folder or link (unless `skip_bad`).
    """
    tree = open_tree(root)
    if not skip_bad:
        _refuse_bad(root, tree)
    if not tree.paths:
        raise GanVkdError(f"{root}: none of the {len(tree.bad):,} images can be read")
    labels = read_labels(root, tree)
    layout = find_layout(root, tree.paths, tree.folders, labels)
    dataset = _load(root, tree, layout, image_size, skip_bad, reporter)
    unlisted = tuple(f"{path} ({reason})" for path, reason in sorted(tree.bad.items()))
    return replace(
        dataset,
        layout=layout.rule,
        notes=(*tree.notes, *layout.notes, *dataset.notes),
        skipped=unlisted + dataset.skipped,
    )


def _refuse_bad(root: Path, tree: Tree) -> None:
    if tree.bad:
        first, reason = min(tree.bad.items())
        rest = f" and {len(tree.bad) - 1:,} more" if len(tree.bad) > 1 else ""
        raise GanVkdError(f"{root}: can't read {first} ({reason}){rest}: {REMEDY}")


def _load(
    root: Path, tree: Tree, layout: Layout, image_size: int, skip_bad: bool, reporter: Reporter
) -> Dataset:
    """From the cache, or decoded and written there."""
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
        reporter.say(
            f"The image cache {entry.parent} can't be written ({error}); continuing without it"
        )
        return _decode_all(root, tree, layout, image_size, skip_bad, reporter)
    try:
        cached = _read_cache(root, entry, layout, image_size, reporter)
        if cached is not None:
            return cached
        dataset = _decode_all(root, tree, layout, image_size, skip_bad, reporter)
        _write_cache(entry, dataset, reporter)
        return _read_cache(root, entry, layout, image_size, reporter) or dataset
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # at worst, two processes decode at once
        lock.release()


def _cache_entry(root: Path, tree: Tree, image_size: int, skip_bad: bool) -> Path:
    key = [CACHE_VERSION, str(root.resolve()), image_size, skip_bad, tree.fingerprint]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
    return cache_dir() / "images" / f"{digest}.safetensors"


def _read_cache(
    root: Path, entry: Path, layout: Layout, image_size: int, reporter: Reporter
) -> Dataset | None:
    if not entry.exists():
        return None
    try:
        tensors, header = read_tensors(entry)
        skipped, notes = (json.loads(header[name]) for name in ("skipped", "notes"))
        dataset = _dataset(root, tensors, layout.class_names, skipped, notes)
        _check_cached(dataset, layout, image_size)
        mark_used(entry)
    except UNREADABLE:
        reporter.say(f"The image cache {entry} is damaged; {root} is read again")
        return None
    return dataset


def _check_cached(dataset: Dataset, layout: Layout, image_size: int) -> None:
    """Raises ValueError where a cache entry holds something else.

    Shapes, labels and counts are checked, and by safetensors the size of the file: what is cut
    short or another's is noticed. Pixels that changed on the disk are not: a checksum would have
    to read them all.
    """
    found = [images for images in (dataset.train, dataset.test) if images is not None]
    wanted = sum(len(paths) for paths, _ in layout.splits.values())
    if sum(map(len, found)) + len(dataset.skipped) != wanted:
        raise ValueError("another number of images")
    for images in found:
        if images.images.dtype != torch.uint8 or images.labels.dtype != torch.int64:
            raise ValueError("no images and labels")
        shape = (*images.labels.shape, found[0].channels, image_size, image_size)
        if images.images.shape != shape or images.channels not in (1, 3):
            raise ValueError("images of another size")
        if not 0 <= int(images.labels.min()) <= int(images.labels.max()) < len(images.class_names):
            raise ValueError("labels of other classes")


def _write_cache(entry: Path, dataset: Dataset, reporter: Reporter) -> None:
    tensors = {"train_images": dataset.train.images, "train_labels": dataset.train.labels}
    if dataset.test is not None:
        tensors |= {"test_images": dataset.test.images, "test_labels": dataset.test.labels}
    try:
        lists = {"skipped": dataset.skipped, "notes": dataset.notes}
        write_tensors(entry, tensors, {name: json.dumps(lines) for name, lines in lists.items()})
        prune(entry.parent, keep=entry)
    except OSError as error:
        reporter.say(
            f"The image cache {entry} could not be written ({error}); continuing without it"
        )


def _dataset(
    root: Path,
    tensors: dict[str, torch.Tensor],
    class_names: tuple[str, ...],
    skipped: list[str],
    notes: list[str],
) -> Dataset:
    train, test = (
        ImageSet(tensors[f"{split}_images"], tensors[f"{split}_labels"], class_names)
        if f"{split}_images" in tensors
        else None
        for split in ("train", "test")
    )
    return Dataset(str(root), train, test, skipped=tuple(skipped), notes=tuple(notes))


def _decode_all(
    root: Path, tree: Tree, layout: Layout, image_size: int, skip_bad: bool, reporter: Reporter
) -> Dataset:
    cropped: set[str] = set()

    def attempt(path: str) -> np.ndarray | Exception:
        try:
            content = tree.read(path)
            pixels = decode(content, image_size)
            with open_image(content) as image:
                if image.width != image.height:
                    cropped.add(path)
            return pixels
        except Exception as error:
            return error

    tensors, skipped, grey = {}, [], True
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for split, (paths, labels) in layout.splits.items():
            images, bad = _room(root, len(paths), image_size), []
            decoded = reporter.track(
                _in_order(pool, attempt, paths), f"Reading {split} images", len(paths)
            )
            for row, (path, result) in enumerate(zip(paths, decoded, strict=True)):
                if isinstance(result, np.ndarray):
                    images[row - len(bad)] = result.transpose(2, 0, 1)
                    grey = grey and is_grey(result)
                elif skip_bad:
                    bad.append(row)
                    skipped.append(f"{path} ({_reason(result)})")
                else:
                    pool.shutdown(cancel_futures=True)
                    raise GanVkdError(f"{root}: can't read {path} ({_reason(result)}): {REMEDY}")
            if len(bad) == len(paths):
                raise GanVkdError(f"{root}: none of the {len(paths)} {split} images can be read")
            tensors[f"{split}_images"] = torch.from_numpy(images[: len(paths) - len(bad)])
            tensors[f"{split}_labels"] = torch.from_numpy(np.delete(labels.numpy(), bad))
    if grey:
        for name in (name for name in tensors if name.endswith("_images")):
            tensors[name] = tensors[name][:, :1].contiguous()
    count = f"{len(cropped):,} images are not square"
    notes = [f"{count}: the middle of each is used"] if cropped else []
    return _dataset(root, tensors, layout.class_names, skipped, notes)


def _room(root: Path, count: int, size: int) -> np.ndarray:
    """Memory for uint8 [count, 3, size, size]; it is used up row by row, as rows are filled."""
    try:
        return np.empty((count, 3, size, size), np.uint8)
    except (MemoryError, ValueError):  # more than there is, more than can be counted
        raise GanVkdError(
            f"{root}: {count:,} images of {size}x{size} pixels need "
            f"{count * 3 * size**2 / 2**30:,.1f} GiB of memory: make them smaller, or fewer"
        ) from None


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[str], object], items: list[str]
) -> Iterator:
    """`pool.map(function, items)` that runs only AHEAD items a processor before the consumer."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) == AHEAD * (os.cpu_count() or 1):
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its own text has an object's address
        return "not an image, or of a format that is not read"
    return " ".join(str(error).split()) or type(error).__name__
