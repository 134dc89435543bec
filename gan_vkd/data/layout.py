"""Which image belongs to which split and class, read off the paths."""

from dataclasses import dataclass
from pathlib import Path

import torch

from gan_vkd.errors import GanVkdError

TEST_NAMES = ("test", "val", "valid")  # the first one there is the test split
SPLIT_NAMES = {"train", *TEST_NAMES}


@dataclass(frozen=True)
class Layout:
    """Which file belongs to which split and class.

    Attributes:
        class_names: one name a class, sorted.
        splits: `train`, and `test` where there is one → paths, and their labels, int64 [N].
        left_out: paths that belong to neither.
    """

    class_names: tuple[str, ...]
    splits: dict[str, tuple[list[str], torch.Tensor]]
    left_out: list[str]


def find_layout(root: Path, paths: list[str]) -> Layout:
    """Read splits and classes off the paths.

    `train/<class>/*` with `test/<class>/*` (or `val`), `<class>/*`, or flat: one class. Folders
    that only wrap the rest are looked through; below a class folder any depth is fine. A folder
    `train` that holds images alone, and stands among others, is a class of that name.

    Args:
        root: names the folder or zip in errors.
        paths: of one image or more, with `/` between their parts.

    Raises:
        GanVkdError: when images lie beside class folders, or a test class has no training image.
    """
    depth = 0
    while True:
        heads = {_folder(path, depth) for path in paths}
        wrapped = len(heads) == 1 and all(_folder(path, depth + 1) for path in paths)
        if not wrapped or heads <= SPLIT_NAMES:
            break
        depth += 1

    files, left_out = {"train": paths}, []
    train = [path for path in paths if _folder(path, depth) == "train"]
    if train and (heads <= SPLIT_NAMES or any(_folder(path, depth + 1) for path in train)):
        test = [name for name in TEST_NAMES if name in heads][:1]
        names = dict(zip(("train", "test"), ("train", *test), strict=False))
        files = {
            split: [path for path in paths if _folder(path, depth) == name]
            for split, name in names.items()
        }
        left_out = [path for path in paths if _folder(path, depth) not in names.values()]
        depth += 1

    class_names = _classes(root, files["train"], depth)
    number = {name: label for label, name in enumerate(class_names)}
    splits = {}
    for split, members in files.items():
        for name in sorted(set(_classes(root, members, depth)) - set(class_names)):
            raise GanVkdError(f"{root}: class {name!r} of the {split} split has no training image")
        labels = [number.get(_folder(path, depth), 0) for path in members]
        splits[split] = members, torch.tensor(labels, dtype=torch.int64)
    return Layout(class_names, splits, left_out)


def _folder(path: str, depth: int) -> str | None:
    """The name of the folder at `depth` of a path, or None where its file stands there or above."""
    parts = path.split("/", depth + 1)
    return parts[depth] if len(parts) > depth + 1 else None


def _classes(root: Path, paths: list[str], depth: int) -> tuple[str, ...]:
    names = {_folder(path, depth) for path in paths} - {None}
    flat = next((path for path in paths if _folder(path, depth) is None), None)
    if names and flat is not None:
        raise GanVkdError(
            f"{root}: {flat} lies beside class folders ({min(names)}, ...): move it into one"
        )
    return tuple(sorted(names)) or ("images",)
