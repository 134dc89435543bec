"""Labels that a file beside the images states: NVlabs' dataset.json, or a table."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

from gan_vkd.data.tree import Tree
from gan_vkd.errors import GanVkdError

FILE_COLUMNS = ("file", "file_name", "filename")  # the second is Hugging Face's


@dataclass(frozen=True)
class Labels:
    """The contents of label files.

    Attributes:
        of: path of an image → the name of its class, for every image.
        order: the classes' names in the order that the file states, or None where it states none.
        origin: the files, for people.
    """

    of: dict[str, str]
    order: tuple[str, ...] | None
    origin: str


def read_labels(root: Path, tree: Tree) -> Labels | None:
    """Read `dataset.json`, `labels.csv` or `metadata.csv`: one at the top, or one in each split.

    A file's entries are paths below its own folder, and it labels all the images there.
    `dataset.json` is NVlabs': `{"labels": [["00000/img00000000.png", 3], ...]}`, or null in place
    of the list for no classes; names of the classes may stand beside it, `"class_names": [...]`. A
    table has columns `file` and `label`, whose texts are the classes' names.

    Returns:
        None where no such file holds labels; what is no label file is noted in the tree.

    Raises:
        GanVkdError: an entry without an image, an image without an entry, or with two of them, a
            label that is none, or a file that can't be understood.
    """
    of: dict[str, str] = {}
    order: tuple[str, ...] | None = None
    read: list[str] = []
    known = {*tree.paths, *tree.bad}
    for place in tree.label_files:
        where = f"{root}: {place}"
        folder = place.rpartition("/")[0]
        parse = _of_json if place.endswith(".json") else _of_table
        try:
            parsed = parse(tree.read(place), where)
        except GanVkdError:
            raise
        except Exception as error:  # the readers of JSON and tables raise whatever they trip over
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise GanVkdError(f"{where} cannot be read ({reason})") from None
        if parsed is None:
            tree.notes.append(f"{place} holds no labels and is not used")
            continue
        entries, names = parsed
        prefix = f"{folder}/" if folder else ""
        own = [path for path in tree.paths if path.startswith(prefix)]
        if entries is None:
            labels = dict.fromkeys(own, "images")
        else:
            labels = {prefix + _plain(file): label for file, label in entries.items()}
            _check(where, labels, own, known)
        if read and (order != names or of.keys() & labels.keys()):
            raise GanVkdError(f"{where} and {read[0]} both state labels: remove one of them")
        of, order = of | labels, names
        read.append(place)
    if not read:
        return None
    _check(f"{root}: {read[0]}", {}, [path for path in tree.paths if path not in of], known)
    return Labels(of, order, ", ".join(read))


def _check(where: str, labels: dict[str, str], images: list[str], known: set[str]) -> None:
    lost = [path for path in labels if path not in known]
    if lost:
        raise GanVkdError(
            f"{where} has {len(lost):,} entries without an image, such as {lost[0]}: remove them, "
            "or put the images there"
        )
    bare = [path for path in images if path not in labels]
    if bare:
        raise GanVkdError(
            f"{where} has no entry for {len(bare):,} images, such as {bare[0]}: add them, or move "
            "the images elsewhere"
        )


def _plain(file: str) -> str:
    parts = file.replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", "."))


def _of_json(content: bytes, where: str) -> tuple[dict | None, tuple[str, ...] | None] | None:
    """File → name of its class; and the names in order. See `read_labels`."""
    try:
        stated = json.loads(content)
    except RecursionError:
        raise GanVkdError(f"{where} cannot be read (too many levels)") from None
    if not isinstance(stated, dict) or "labels" not in stated:
        return None
    labels, names = stated["labels"], stated.get("class_names")
    if labels is None:
        return None, None
    pairs = list(labels.items()) if isinstance(labels, dict) else [tuple(pair) for pair in labels]
    if names is not None and not (
        isinstance(names, list)
        and all(isinstance(name, str) and name for name in names)
        and len(set(names)) == len(names)
    ):
        raise GanVkdError(f"{where}: class_names is not a list of distinct names")
    numbers: dict[str, int] = {}
    for file, label in pairs:
        whole = isinstance(label, int) and not isinstance(label, bool)
        if not whole or not 0 <= label < (2**31 if names is None else len(names)):
            most = "0, 1, ..." if names is None else f"0 to {len(names) - 1}"
            raise GanVkdError(f"{where}: {file} has the invalid label {label!r} (valid: {most})")
        if numbers.setdefault(_plain(file), label) != label:
            raise GanVkdError(f"{where}: {file} has two labels")
    order = tuple(names or map(str, sorted(set(numbers.values()))))
    name_of = (lambda number: names[number]) if names else str
    return {file: name_of(number) for file, number in numbers.items()}, order


def _of_table(content: bytes, where: str) -> tuple[dict, None] | None:
    """File → its label. See `read_labels`."""
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    column = next((name for name in FILE_COLUMNS if name in (rows.fieldnames or ())), None)
    if column is None or "label" not in rows.fieldnames:
        return None
    labels: dict[str, str] = {}
    for row in rows:
        file, label = row[column], (row["label"] or "").strip()
        if not file or not label:
            raise GanVkdError(f"{where}: line {rows.line_num} lacks a file or a label")
        if labels.setdefault(_plain(file), label) != label:
            raise GanVkdError(f"{where}: {file} has two labels")
    return labels, None
