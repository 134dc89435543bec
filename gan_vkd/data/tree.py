"""The image files below a folder, or in an archive."""

import hashlib
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gan_vkd.data.archive import LARGEST_FILE, is_archive, open_archive
from gan_vkd.errors import GanVkdError

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif")
LABEL_FILES = ("dataset.json", "labels.csv", "metadata.csv")
SOME = 4096  # bytes at the start, middle and end of a file that tell it from another


@dataclass
class Tree:
    """The files of a folder or archive, without hidden ones, and a way to read them.

    Attributes:
        paths: of the images, below the root, sorted.
        folders: all there are, with images and without.
        label_files: paths of the files that may hold labels.
        others: how many files there are of each other type.
        bad: what can't be read → the reason; it is not among `paths`.
        notes: what else is to be said, in lines.
        fingerprint: another one as soon as an image or label file comes, goes or changes.
        read: a path → the file's bytes.
    """

    read: Callable[[str], bytes]
    paths: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    label_files: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    bad: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    fingerprint: str = ""


def open_tree(root: Path) -> Tree:
    """List the images below a folder, or in a zip or tar; hidden names are left out.

    Raises:
        GanVkdError: when `root` is neither, holds no image, or is an archive not to be trusted.
    """
    if root.is_dir():
        tree = Tree(read=lambda path: _read_file(root / path))
        files, stamp = _walk(root, tree), lambda path: _stamp(root / path)
    elif root.is_file() and is_archive(root):
        members, notes = open_archive(root)
        tree = Tree(read=lambda path: members[path].read(), notes=notes)
        files = [path for path, member in members.items() if not member.is_folder]
        for path in members:
            parts = path.split("/")
            tree.folders |= {"/".join(parts[:i]) for i in range(1, len(parts))}
        tree.folders |= members.keys() - set(files)
        tree.folders = {folder for folder in tree.folders if not _hidden(folder)}
        stamp = lambda path: (members[path].size, members[path].checksum())  # noqa: E731 (a twin)
    else:
        raise GanVkdError(f"{root}: neither a folder nor a zip, .tar or .tar.gz of images")
    digest = hashlib.sha256()
    for path in sorted(files):
        kind = _kind(path, tree)
        if kind is None:
            continue
        try:
            digest.update(json.dumps([path, stamp(path)]).encode())
            kind.append(path)
        except OSError as error:
            reason = error.strerror or str(error)
            if kind is tree.label_files:
                raise GanVkdError(f"{root}: can't read {path} ({reason})") from None
            tree.bad[path] = reason
    tree.fingerprint = digest.hexdigest()
    if not tree.paths and not tree.bad:
        found = f"; {_counted(tree.others)}" if tree.others else ""
        raise GanVkdError(f"{root}: no images in it (looked for {', '.join(SUFFIXES)}{found})")
    if tree.others:
        tree.notes.append(f"files of other types are not used: {_counted(tree.others)}")
    return tree


def _kind(path: str, tree: Tree) -> list[str] | None:
    """The list of the tree that a file belongs to; other files are counted."""
    name = path.rpartition("/")[2]
    suffix = Path(name).suffix.lower()
    if _hidden(path):
        return None
    if suffix in SUFFIXES:
        return tree.paths
    if name in LABEL_FILES:
        return tree.label_files
    tree.others[suffix or "without a suffix"] += 1
    return None


def _counted(others: Counter[str]) -> str:
    """`15 .heic, 2 .txt`: the five most frequent types, and how many files have another."""
    shown = [f"{count:,} {suffix}" for suffix, count in others.most_common(5)]
    rest = others.total() - sum(count for _, count in others.most_common(5))
    return ", ".join(shown + ([f"{rest:,} more"] if rest else []))


def _walk(root: Path, tree: Tree) -> list[str]:
    """The files below `root`; folders and unreadable entries go into the tree.

    A link is followed wherever it leads, but not back to a folder that it lies in.
    """
    files: list[str] = []
    waiting = [("", frozenset({os.path.realpath(root)}))]
    while waiting:
        folder, above = waiting.pop()
        try:
            names = os.listdir(root / folder)
        except OSError as error:
            tree.bad[folder or "."] = error.strerror or str(error)
            continue
        for name in names:
            path = f"{folder}/{name}" if folder else name
            place = os.path.join(root, path)  # noqa: PTH118 (a Path each takes twice the time)
            if _hidden(name):
                continue
            if os.path.isdir(place):  # noqa: PTH112
                real = os.path.realpath(place)
                if real not in above:
                    tree.folders.add(path)
                    waiting.append((path, above | {real}))
            elif os.path.isfile(place):  # noqa: PTH113
                files.append(path)
            elif Path(name).suffix.lower() in ("", *SUFFIXES):
                dangling = os.path.islink(place)  # noqa: PTH114
                tree.bad[path] = "a link to nothing" if dangling else "not a file"
    return files


def _hidden(path: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def _stamp(path: Path) -> tuple[int, ...]:
    """Size, times, and a checksum of some bytes: programs that keep times may change the pixels."""
    with path.open("rb", buffering=0) as file:
        stat, checksum = os.fstat(file.fileno()), 0
        for place in (0, stat.st_size // 2, stat.st_size - SOME)[: -(-stat.st_size // SOME)]:
            file.seek(place)
            checksum = zlib.crc32(file.read(SOME), checksum)
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, checksum


def _read_file(path: Path) -> bytes:
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise OSError(f"it has {size:,} bytes; at most {LARGEST_FILE:,} are read")
    return path.read_bytes()
