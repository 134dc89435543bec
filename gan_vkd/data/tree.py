"""The image files below a folder, or in a zip."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gan_vkd.data.archive import open_archive, read_file, read_member
from gan_vkd.errors import GanVkdError

SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif"}


@dataclass(frozen=True)
class Tree:
    """The image files of a folder or zip, and a way to read them.

    Attributes:
        paths: below the root, sorted.
        fingerprint: another one as soon as a file comes, goes, or changes in size, or in time (in
            a zip: in checksum).
        read: a path → the file's bytes.
    """

    paths: list[str]
    fingerprint: str
    read: Callable[[str], bytes]


def open_tree(root: Path) -> Tree:
    """List the images below a folder, or in a zip; hidden names are left out.

    Raises:
        GanVkdError: when `root` is neither, holds no image, or is a zip not to be trusted.
    """
    if root.is_dir():
        files, read = _walk(root), lambda path: read_file(root / path)
    elif zipfile.is_zipfile(root):
        archive, members = open_archive(root)
        files = ((member.filename, member.file_size, member.CRC) for member in members)
        read = lambda path: read_member(archive, path)  # noqa: E731 (the twin of the one above)
    else:
        raise GanVkdError(f"{root}: neither a folder nor a zip of images")
    paths, digest = [], hashlib.sha256()
    for path, *stamp in files:
        if _is_image(path):
            paths.append(path)
            digest.update(json.dumps([path, *stamp]).encode())
    if not paths:
        raise GanVkdError(f"{root}: no images in it (looked for {', '.join(sorted(SUFFIXES))})")
    return Tree(sorted(paths), digest.hexdigest(), read)


def _walk(root: Path) -> Iterator[tuple[str, int, int]]:
    """Path below `root`, size and time of every file, always in the same order."""
    visited = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        subfolders[:] = [] if real in visited else sorted(subfolders)
        if real in visited:  # a link back up
            continue
        visited.add(real)
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file():
                stat = path.stat()
                yield path.relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns


def _is_image(path: str) -> bool:
    parts = path.split("/")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and Path(path).suffix.lower() in SUFFIXES
