"""Data set specs: `digits`, `cifar10`, `cifar100`, or a path to images: folder, archive, arrays."""

import contextlib
import difflib
import io
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gan_vkd.data.arrays import is_array_file, load_arrays
from gan_vkd.data.decode import to_square
from gan_vkd.data.folder import load_folder
from gan_vkd.data.images import Dataset, ImageSet, in_channels
from gan_vkd.errors import GanVkdError
from gan_vkd.paths import cache_dir, expanded
from gan_vkd.progress import QUIET, Reporter

SHOWN = 20  # names of files that were left out
NAMES = ("digits", "cifar10", "cifar100")
DOWNLOAD_TIMEOUT = 10  # seconds without an answer

_CIFAR_ARCHIVES = {"cifar10": "cifar-10-python.tar.gz", "cifar100": "cifar-100-python.tar.gz"}


def load_dataset(
    spec: str,
    *,
    image_size: int,
    data_root: Path | None = None,
    skip_bad: bool = False,
    channels: int | None = None,
    reporter: Reporter = QUIET,
) -> Dataset:
    """Load every split of a data set into memory, and report what is not used.

    Args:
        spec: `digits`, `cifar10`, `cifar100`, or the path of a folder, zip, tar, .npz or .npy of
            images.
        image_size: side of the square images, pixels.
        data_root: where named data sets are looked for; default the user's cache folder.
        skip_bad: leave unreadable files out, and count them, in place of refusing.
        channels: 1 or 3; None: 1 where all images are grey, else 3.
        reporter: told about long work, and what is not used.

    Raises:
        GanVkdError: unknown spec, missing or broken files.
    """
    dataset = read_dataset(
        spec, image_size=image_size, data_root=data_root, skip_bad=skip_bad, reporter=reporter
    )
    if channels is not None:
        dataset = in_channels(dataset, channels)
    for line in unused(dataset):
        reporter.say(f"{spec}: {line}")
    return dataset


def unused(dataset: Dataset) -> list[str]:
    """The parts of a source that are not used, in lines of text."""
    lines, skipped = [*dataset.notes], dataset.skipped
    if skipped:
        lines.append(f"{len(skipped):,} unreadable files are skipped: {', '.join(skipped[:SHOWN])}")
        lines[-1] += f" and {len(skipped) - SHOWN:,} more" if len(skipped) > SHOWN else ""
    return lines


def read_dataset(
    spec: str, *, image_size: int, data_root: Path | None, skip_bad: bool, reporter: Reporter
) -> Dataset:
    """As `load_dataset`, which see, but what is not used is only noted in the data set."""
    if spec == "digits":
        return _load_digits(image_size)
    if spec in _CIFAR_ARCHIVES:
        root = data_root or cache_dir() / "data"
        return _load_cifar(spec, root, image_size, skip_bad=skip_bad, reporter=reporter)
    path = expanded(spec)
    if not path.exists():
        close = difflib.get_close_matches(spec, NAMES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "known names: " + ", ".join(NAMES)
        raise GanVkdError(f"--dataset {spec}: neither a folder or file nor a known name; {hint}")
    if is_array_file(path):
        return replace(load_arrays(path, image_size), name=spec)
    return load_folder(path, image_size, skip_bad=skip_bad, reporter=reporter)


def describe(dataset: Dataset) -> list[str]:
    """The contents of a data set, in lines of text."""
    lines = [f"{dataset.name}: {len(dataset.train.class_names)} classes"]
    if dataset.layout:
        lines.append(f"read   as {dataset.layout} (the rules: docs/layouts.md)")
    for split, images in (("train", dataset.train), ("test", dataset.test)):
        if images is None:
            lines.append(f"{split:6} none")
            continue
        counts = images.counts
        lines.append(
            f"{split:6} {len(images):,} images, {int(counts.min())} to {int(counts.max())} a class"
        )
    lines.append(f"colour {'yes' if dataset.train.channels == 3 else 'no: all images are grey'}")
    lines.append(f"flips  {'on' if dataset.flippable else 'off: a mirrored image is another sign'}")
    lines += unused(dataset)
    for name, count in zip(dataset.train.class_names, dataset.train.counts.tolist(), strict=True):
        lines.append(f"  {count:8,}  {name}")
    return lines


def _load_digits(image_size: int) -> Dataset:
    """scikit-learn's 1,797 handwritten digits (8x8 pixels, 17 grey levels), enlarged."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = (digits.images * 255 / 16).round().astype(np.uint8)[..., None]
    names = tuple(str(name) for name in digits.target_names)
    return Dataset("digits", _image_set(pixels, digits.target, names, image_size), None, False)


def _load_cifar(
    name: str, root: Path, image_size: int, *, skip_bad: bool, reporter: Reporter
) -> Dataset:
    from torchvision.datasets import CIFAR10, CIFAR100

    torchvision_class = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
    try:
        return _from_torchvision(name, torchvision_class, root, image_size, download=False)
    except RuntimeError:  # not there, or its checksums fail
        pass
    for path in (root / f"{name}{suffix}" for suffix in ("", ".zip", ".tar", ".tar.gz")):
        if path.exists():
            dataset = load_folder(path, image_size, skip_bad=skip_bad, reporter=reporter)
            return replace(dataset, name=name)

    reporter.say(f"Downloading {name}, which is not in {root}")
    archive, made_root = root / _CIFAR_ARCHIVES[name], not root.exists()
    had_archive, timeout = archive.exists(), socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
        silence = contextlib.redirect_stderr(io.StringIO())
        with silence if reporter.quiet else contextlib.nullcontext():
            return _from_torchvision(name, torchvision_class, root, image_size, download=True)
    except (OSError, RuntimeError) as error:
        if not had_archive:
            archive.unlink(missing_ok=True)
        if made_root:
            with contextlib.suppress(OSError):
                root.rmdir()
        reason = " ".join(str(error).split())
        raise GanVkdError(
            f"--dataset {name}: not found in {root}, and the download failed ({reason}): put "
            f"{archive.name}, or a folder, zip or tar {name!r} that holds train/<class>/*, there "
            "(--data-root names another place), or try --dataset digits, which needs no files"
        ) from None
    finally:
        socket.setdefaulttimeout(timeout)


def _from_torchvision(
    name: str, torchvision_class: type, root: Path, image_size: int, download: bool
) -> Dataset:
    splits = []
    for train in (True, False):
        raw = torchvision_class(root, train=train, download=download)
        splits.append(_image_set(raw.data, raw.targets, tuple(raw.classes), image_size))
    return Dataset(name, *splits)


def _image_set(
    pixels: np.ndarray, labels: np.ndarray | list[int], class_names: tuple[str, ...], size: int
) -> ImageSet:
    """uint8 [N, H, W, C] arrays, C = 1 or 3, → an ImageSet of `size` pixels."""
    if pixels.shape[1:3] == (size, size):
        images = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    else:
        images = np.empty((len(pixels), pixels.shape[-1], size, size), np.uint8)
        for row, array in enumerate(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels):
            square = to_square(Image.fromarray(array), size)
            images[row] = np.atleast_3d(square).transpose(2, 0, 1)
    labels = torch.as_tensor(labels, dtype=torch.int64)
    return ImageSet(torch.from_numpy(images), labels, class_names)
