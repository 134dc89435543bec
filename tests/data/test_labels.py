import json
import shutil
from pathlib import Path

import pytest

from gan_vkd.data.folder import load_folder
from gan_vkd.errors import GanVkdError
from gan_vkd.progress import QUIET

SHARDS = {"00000": 3, "00001": 2}
FILES = ["00000/0.png", "00000/1.png", "00000/2.png", "00001/0.png", "00001/1.png"]
NUMBERS = [3, 10, 3, 10, 2]


def load(root: Path):
    return load_folder(root, 16, skip_bad=False, reporter=QUIET)


def state(root: Path, labels, **more) -> Path:
    (root / "dataset.json").write_text(json.dumps({"labels": labels, **more}))
    return root


def table(root: Path, *lines: str, name: str = "labels.csv") -> Path:
    (root / name).write_text("".join(f"{line}\n" for line in lines))
    return root


def refusal(root: Path) -> str:
    with pytest.raises(GanVkdError) as error:
        load(root)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("packed", [False, True])
def test_nvlabs_labels_are_used(make_folder, tmp_path, packed):  # CASES 7
    root = state(make_folder(SHARDS), list(zip(FILES, NUMBERS, strict=True)))
    if packed:
        root = Path(shutil.make_archive(str(tmp_path / "x"), "zip", root))
    dataset = load(root)
    assert dataset.train.class_names == ("2", "3", "10")
    assert dataset.train.labels.tolist() == [1, 2, 1, 2, 0]
    assert dataset.layout == "*, classes from dataset.json"
    assert not dataset.notes


def test_the_files_names_of_classes_are_used(make_folder):  # CASES 7
    names = ["zebra", "ape", "cat"]
    root = state(make_folder(SHARDS), dict.fromkeys(FILES, 2) | {FILES[0]: 0}, class_names=names)
    dataset = load(root)
    assert dataset.train.class_names == ("zebra", "cat")
    assert dataset.train.labels.tolist() == [0, 1, 1, 1, 1]
    assert dataset.notes == ("class 'ape' holds no image and is left out",)


def test_no_labels_are_one_class(make_folder):  # CASES 7
    assert load(state(make_folder(SHARDS), None)).train.class_names == ("images",)


@pytest.mark.parametrize("name", ["labels.csv", "metadata.csv"])
def test_a_table_of_labels(make_folder, name):  # CASES 7
    lines = [f'"{file}","{label}"' for file, label in zip(FILES, "babab", strict=True)]
    root = table(make_folder(SHARDS), "\ufefffile,label", *lines, name=name)
    dataset = load(root)
    assert dataset.train.class_names == ("a", "b")
    assert dataset.train.labels.tolist() == [1, 0, 1, 0, 1]


def test_a_table_in_each_split(make_folder):  # CASES 7
    """Hugging Face's layout."""
    root = make_folder({"train": 2, "test": 1})
    table(root / "train", "file_name,label", "0.png,cat", "1.png,dog", name="metadata.csv")
    table(root / "test", "file_name,label", "0.png,dog", name="metadata.csv")
    dataset = load(root)
    assert dataset.train.class_names == ("cat", "dog")
    assert dataset.test.labels.tolist() == [1]


def test_one_table_for_both_splits(make_folder):  # CASES 7
    root = make_folder({"train": 2, "test": 1})
    dataset = load(table(root, "file,label", "train/0.png,b", "train/1.png,a", "test/0.png,a"))
    assert (dataset.train.labels.tolist(), dataset.test.labels.tolist()) == ([1, 0], [0])


def test_other_labels_are_read_again(make_folder):  # CASES 7, 11
    root = state(make_folder(SHARDS), dict(zip(FILES, NUMBERS, strict=True)))
    load(root)
    state(root, dict(zip(FILES, NUMBERS[::-1], strict=True)))
    assert load(root).train.labels.tolist() == [0, 2, 1, 2, 1]


WHOLE = list(zip(FILES, NUMBERS, strict=True))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([*WHOLE, ("x.png", 1), ("y.png", 1)], "2 entries without an image, such as x.png"),
        (WHOLE[:3], "no entry for 2 images, such as 00001/0.png"),
        ([*WHOLE[:4], (FILES[4], None)], "00001/1.png has the invalid label None"),
        ([*WHOLE[:4], (FILES[4], True)], "has the invalid label True"),
        ([*WHOLE[:4], (FILES[4], [0.0, 1.0])], "has the invalid label [0.0, 1.0]"),
        ([*WHOLE[:4], (FILES[4], -1)], "has the invalid label -1"),
        ([*WHOLE, (FILES[4], 5)], "00001/1.png has two labels"),
        ([1, 2], "cannot be read"),
        ([["a"]], "cannot be read"),
        ([[1, 2]], "cannot be read"),
    ],
)
def test_labels_that_do_not_fit_are_refused(make_folder, labels, said):  # CASES 7
    line = refusal(state(make_folder(SHARDS), labels))
    assert "dataset.json" in line
    assert said in line


@pytest.mark.parametrize("names", [["a"] * 11, ["a", "b"], "abc", [1] * 11])
def test_names_that_do_not_fit_are_refused(make_folder, names):  # CASES 7
    assert "dataset.json" in refusal(state(make_folder(SHARDS), WHOLE, class_names=names))


@pytest.mark.parametrize("content", ["{", '{"labels": [', "[" * 10**5, "\0"])
def test_what_is_no_json_is_refused(make_folder, content):  # CASES 7
    root = make_folder(SHARDS)
    (root / "dataset.json").write_text(content)
    assert "dataset.json cannot be read" in refusal(root)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["0.png,a"], "no entry for 1 images, such as 1.png"),
        (["0.png,a", "1.png,"], "line 3 lacks a file or a label"),
        (["0.png,a", "1.png"], "line 3 lacks a file or a label"),
        (["0.png,a", "1.png,a", "2.png,a"], "1 entries without an image, such as 2.png"),
        (["0.png,a", "1.png,a", "0.png,b"], "0.png has two labels"),
        (["0.png,a", '"1.png,a'], "cannot be read"),
    ],
)
def test_tables_that_do_not_fit_are_refused(make_folder, lines, said):  # CASES 7
    line = refusal(table(make_folder({".": 2}), "file,label", *lines))
    assert "labels.csv" in line
    assert said in line


def test_two_label_files_are_refused(make_folder):  # CASES 7
    root = table(make_folder({".": 1}), "file,label", "0.png,a")
    assert "both state labels" in refusal(state(root, {"0.png": 0}))


def test_files_that_hold_no_labels_are_said_not_to_be_used(make_folder):  # CASES 7
    root = make_folder({"a": 1, "b": 1})
    table(root, "file,width", "a/0.png,16", name="metadata.csv")
    (root / "dataset.json").write_text("{}")
    dataset = load(root)
    assert dataset.train.class_names == ("a", "b")
    assert dataset.notes == (
        "dataset.json holds no labels and is not used",
        "metadata.csv holds no labels and is not used",
    )
