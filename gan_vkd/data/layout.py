"""Which image belongs to which split and class. The rules in plain words: docs/layouts.md."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from gan_vkd.data.labels import Labels
from gan_vkd.errors import GanVkdError

SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "evaluation", "eval"),
}
SPLIT_OF = {word: split for split, words in SPLITS.items() for word in words}
_WORD = re.compile("|".join(sorted(SPLIT_OF, key=len, reverse=True)))
ONE_CLASS = "images"


@dataclass(frozen=True)
class Layout:
    """Which file belongs to which split and class.

    Attributes:
        class_names: one name a class, in natural order, or in the order that a label file states.
        splits: `train`, and `test` where there is one → paths, and their labels, int64 [N].
        rule: how splits and classes were told, for people.
        notes: what is not used, and what else is to be said, in lines.
    """

    class_names: tuple[str, ...]
    splits: dict[str, tuple[list[str], torch.Tensor]]
    rule: str
    notes: list[str]


def natural(name: str) -> tuple[list, str]:
    """The key of natural order, in which 2 comes before 10."""
    parts: list = re.split(r"([0-9]+)", name)  # every second part is a number
    parts[1::2] = [(len(digits := part.lstrip("0")), digits) for part in parts[1::2]]
    return parts, name


def find_layout(
    root: Path, paths: list[str], folders: Iterable[str] = (), labels: Labels | None = None
) -> Layout:
    """Read splits off the paths, and classes too where no label file states them.

    Args:
        root: names the folder or archive in errors.
        paths: of one image or more, with `/` between their parts.
        folders: all there are, also those that hold no image.
        labels: what label files state.

    Raises:
        GanVkdError: it can't be told what is a split and what is a class; images lie beside class
            folders; or a test class has no training image.
    """
    notes: list[str] = []
    depth = _wrappers(paths)
    chosen = _splits(root, paths, depth, labels is not None, notes)
    files = {
        split: [path for path in paths if _folder(path, depth) == name]
        for split, name in chosen.items()
    } or {"train": paths}
    start = depth + bool(chosen)
    if labels is None:
        depths = {"train": start + bool(chosen and _wraps(files["train"], start, chosen["train"]))}
        class_names, empty = _classes(root, files["train"], folders, depths["train"])
        if "test" in files:
            depths["test"] = start + _hides(files["test"], start, class_names)
            if not _has_classes(root, files["test"], depths["test"]) and class_names != (
                ONE_CLASS,
            ):
                count = len(files.pop("test"))
                notes.append(
                    f"{count:,} images in {chosen.pop('test')}/ are not used: they are in no class"
                )

        def class_of(split: str, path: str) -> str:
            return _folder(path, depths[split]) or ONE_CLASS

        inside = "<class>/*" if _folder(files["train"][0], depths["train"]) else "*"
    else:
        order = labels.order or sorted(set(labels.of.values()), key=natural)
        found = {labels.of[path] for path in files["train"]}
        class_names = tuple(name for name in order if name in found)
        empty = [name for name in order if name not in found]

        def class_of(split: str, path: str) -> str:
            return labels.of[path]

        inside = f"*, classes from {labels.origin}"
    notes += [f"class {name!r} holds no image and is left out" for name in empty]

    number = {name: label for label, name in enumerate(class_names)}
    splits = {}
    for split, members in files.items():
        names = [class_of(split, path) for path in members]
        for name in sorted(set(names) - number.keys(), key=natural):
            raise GanVkdError(
                f"{root}: class {name!r} of the {split} split has no training image: add some, or "
                f"use {chosen['train']}/ alone as the data set"
            )
        splits[split] = members, torch.tensor([number[name] for name in names])
    tops = chosen.values() or ("",)
    rule = " and ".join(f"{name}/{inside}" if name else inside for name in tops)
    return Layout(class_names, splits, rule, notes)


# Splits -----------------------------------------------------------------------------------------


def _splits(
    root: Path, paths: list[str], depth: int, labelled: bool, notes: list[str]
) -> dict[str, str]:
    """`train`, and `test` where there is one → the folder's name; empty where none is a split."""
    inside: dict[str | None, set[str | None]] = defaultdict(set)  # a folder's own folders
    for path in paths:
        inside[_folder(path, depth)].add(_folder(path, depth + 1))
    inside.pop(None, None)  # images that lie at the top
    known = _split_names(inside)
    others = [name for name in inside if name not in known]
    if labelled and (others or "train" not in known.values()):  # folders are but shards
        return {}
    if not known:
        _refuse_unknown_splits(root, inside)
        return {}
    names = " and ".join(f"{name}/" for name in sorted(known))
    train = [name for name, split in known.items() if split == "train"]
    flat = all(inside[name] == {None} for name in known)
    if others and flat and len(known) == 1:
        notes.append(f"{names} stands beside others and holds images alone: taken as a class")
        return {}
    if not train:
        raise GanVkdError(
            f"{root}: {names} but no train/ in it: name the folder of the training images train, "
            f"or use the folder of the training images alone as the data set"
        )
    nested = inside[train[0]] - {None}
    partner = any(nested & inside[name] for name in inside if name != train[0])
    if others and not (nested and (partner or len(known) > 1)):
        raise GanVkdError(
            f"{root}: {names} beside {min(others)}/ is a split or a class: if it is a "
            f"split, use {train[0]}/ alone as the data set; if it is a class, put all classes into "
            "one folder train/"
        )
    chosen = {"train": train}
    for split in ("test", "validation"):  # a validation split serves as test split where none is
        chosen.setdefault("test", []).extend(
            name for name, s in known.items() if s == split and not chosen.get("test")
        )
    for split, found in chosen.items():
        if len(found) > 1:
            raise GanVkdError(
                f"{root}: {' and '.join(sorted(found))} both name the {split} split: merge them"
            )
    result = {split: found[0] for split, found in chosen.items() if found}
    unused = Counter(_folder(path, depth) for path in paths)
    for name in result.values():
        del unused[name]
    notes += [
        f"{count:,} images {f'in {name}/' if name else 'beside the splits'} are not used"
        for name, count in unused.items()
    ]
    return result


def _split_names(names: Iterable[str]) -> dict[str, str]:
    """The folders named like splits: plainly, or with the same letters around, as seg_train is."""
    alike: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for name in names:
        if match := _WORD.search(name.lower()):
            around = name.lower()[: match.start()], name.lower()[match.end() :]
            alike[around][name] = SPLIT_OF[match[0]]
    plain = alike.pop(("", ""), {})
    sets = [found for found in alike.values() if {"train"} < set(found.values())]
    return plain or (sets[0] if sets else {})


def _refuse_unknown_splits(root: Path, inside: dict[str, set[str | None]]) -> None:
    seen: dict[frozenset, str] = {}
    for name, nested in sorted(inside.items()):
        if None in nested or len(nested) < 2:
            continue
        if other := seen.get(frozenset(nested)):
            raise GanVkdError(
                f"{root}: {other}/ and {name}/ hold folders of the same names "
                f"({', '.join(sorted(nested)[:3])}): if they are splits, name them train and test; "
                "if they are classes, move their images together"
            )
        seen[frozenset(nested)] = name


# Folders ----------------------------------------------------------------------------------------


def _folder(path: str, depth: int) -> str | None:
    """The name of the folder at `depth` of a path, or None where its file stands there or above."""
    parts = path.split("/", depth + 1)
    return parts[depth] if len(parts) > depth + 1 else None


def _wrappers(paths: list[str]) -> int:
    """How many folders at the top only wrap the rest."""
    depth = 0
    while True:
        heads = {_folder(path, depth) for path in paths}
        if len(heads) > 1 or _split_names(heads - {None}):
            return depth
        if not all(_folder(path, depth + 1) for path in paths):
            return depth
        depth += 1


def _wraps(paths: list[str], depth: int, split: str) -> bool:
    """Whether a split's only folder is no class: named like the split, or full of folders."""
    heads = {_folder(path, depth) for path in paths}
    nested = {_folder(path, depth + 1) for path in paths}
    return len(heads) == 1 and (heads == {split} or (len(nested) > 1 and None not in nested))


def _hides(paths: list[str], depth: int, class_names: tuple[str, ...]) -> bool:
    """Whether a test split's only folder is none of the training classes and wraps some."""
    heads = {_folder(path, depth) for path in paths}
    nested = {_folder(path, depth + 1) for path in paths}
    return len(heads) == 1 and not heads <= {*class_names} and nested <= {*class_names}


def _classes(
    root: Path, paths: list[str], folders: Iterable[str], depth: int
) -> tuple[tuple[str, ...], list[str]]:
    """The classes' names, and those of their empty neighbours."""
    if not _has_classes(root, paths, depth):
        return (ONE_CLASS,), []
    names = {_folder(path, depth) for path in paths}
    base = paths[0].split("/")[:depth]
    beside = {parts[-1] for f in folders if (parts := f.split("/"))[:-1] == base}
    return tuple(sorted(names, key=natural)), sorted(beside - names, key=natural)


def _has_classes(root: Path, paths: list[str], depth: int) -> bool:
    """Whether the images lie in class folders: all of them or none."""
    names = {_folder(path, depth) for path in paths}
    if len(names) > 1 and None in names:
        flat = next(path for path in paths if _folder(path, depth) is None)
        raise GanVkdError(
            f"{root}: {flat} lies beside class folders ({min(names - {None})}, ...): move it into "
            "one"
        )
    return names != {None}
