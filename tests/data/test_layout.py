from pathlib import Path

import pytest

from gan_vkd.data.labels import FILE_COLUMNS
from gan_vkd.data.layout import SPLITS, Layout, find_layout, natural
from gan_vkd.data.tree import LABEL_FILES, SUFFIXES
from gan_vkd.errors import GanVkdError


def layout(*paths: str) -> Layout:
    return find_layout(Path("x"), sorted(paths))


def test_wrapping_folders_are_looked_through():
    found = layout("set/train/a/1.png", "set/test/a/2.png")
    assert set(found.splits) == {"train", "test"}
    assert layout("set/more/a/1.png", "set/more/b/2.png").class_names == ("a", "b")
    assert layout("set/a/1.png").class_names == ("a",)
    assert layout("set/train/a/deep/1.png").class_names == ("a",)


def test_labels_follow_the_paths():
    found = layout("train/b/1.png", "train/a/1.png", "train/a/deep/2.png", "val/b/1.png")
    assert found.class_names == ("a", "b")
    paths, labels = found.splits["train"]
    assert paths == ["train/a/1.png", "train/a/deep/2.png", "train/b/1.png"]
    assert labels.tolist() == [0, 0, 1]
    assert found.splits["test"][1].tolist() == [1]
    assert not found.notes


def test_a_class_may_be_called_train():
    """As in CIFAR-100, whose training folder has one of that name."""
    found = layout("bear/1.png", "train/1.png", "tulip/1.png")
    assert found.class_names == ("bear", "train", "tulip")
    assert len(found.splits["train"][0]) == 3


def test_flat_splits_have_one_class():
    found = layout("train/1.png", "train/2.png", "test/1.png")
    assert found.class_names == ("images",)
    assert [len(paths) for paths, _ in found.splits.values()] == [2, 1]


def test_unused_splits_and_strays_are_said():  # CASES 3
    found = layout("train/a/1.png", "val/a/1.png", "test/a/1.png", "valid/a/1.png", "stray.png")
    assert found.splits["test"][0] == ["test/a/1.png"]
    assert sorted(found.notes) == [
        "1 images beside the splits are not used",
        "1 images in val/ are not used",
        "1 images in valid/ are not used",
    ]
    assert layout("train/a/1.png", "extra/a/1.png").notes == ["1 images in extra/ are not used"]


def test_images_beside_class_folders_are_refused():
    with pytest.raises(GanVkdError, match=r"train/1\.png lies beside class folders \(a, "):
        layout("train/a/1.png", "train/1.png", "test/a/1.png")


def refusal(*paths: str) -> str:
    with pytest.raises(GanVkdError) as error:
        layout(*paths)
    return str(error.value)


def test_train_beside_classes_is_a_class_where_it_holds_images_alone():  # CASES 1
    found = layout("bicycle/1.png", "bus/1.png", "train/1.png")
    assert found.class_names == ("bicycle", "bus", "train")
    assert set(found.splits) == {"train"}
    assert "train/ stands beside others" in found.notes[0]
    assert layout("train/bus/1.png", "train/train/1.png").class_names == ("bus", "train")


@pytest.mark.parametrize(
    "paths",
    [
        ("cat/1.png", "train/a/1.png", "train/b/1.png"),
        ("cat/1.png", "train/1.png", "test/1.png"),
        ("cat/1.png", "dog/1.png", "test/cat/1.png", "test/dog/1.png"),
    ],
)
def test_what_can_be_a_split_or_a_class_is_refused(paths):  # CASES 1
    assert "alone as the data set" in refusal(*paths)


@pytest.mark.parametrize("paths", [("test/a/1.png", "test/b/1.png"), ("x/val/1.png",)])
def test_a_test_split_alone_is_no_class(paths):  # CASES 1, 2
    assert "but no train/ in it" in refusal(*paths)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("Training", "Testing"),
        ("TRAIN", "VAL"),
        ("train", "validation"),
        ("train", "dev"),
        ("training", "evaluation"),
        ("seg_train", "seg_test"),
        ("train-images", "val-images"),
        ("trainset", "testset"),
        ("train2017", "val2017"),
    ],
)
def test_splits_in_any_case_and_spelling(train, test):  # CASES 2, 3
    found = layout(f"{train}/a/1.png", f"{train}/b/1.png", f"{test}/a/1.png", f"{test}/b/1.png")
    assert found.class_names == ("a", "b")
    assert found.splits["train"][0] == [f"{train}/a/1.png", f"{train}/b/1.png"]
    assert found.splits["test"][1].tolist() == [0, 1]
    assert found.rule == f"{train}/<class>/* and {test}/<class>/*"
    assert not found.notes


def test_names_that_only_contain_a_splits_word_are_classes():  # CASES 2
    found = layout("train_station/1.png", "test_tube/1.png", "contest/1.png", "invalid/1.png")
    assert found.class_names == ("contest", "invalid", "test_tube", "train_station")
    assert not found.notes


def test_folders_of_the_same_names_that_are_no_known_splits_are_refused():  # CASES 2
    line = refusal("first/a/1.png", "first/b/1.png", "second/a/1.png", "second/b/1.png")
    assert "first/ and second/ hold folders of the same names (a, b)" in line
    assert layout("cat/images/1.png", "dog/images/1.png").class_names == ("cat", "dog")


def test_two_folders_of_one_split_are_refused():  # CASES 2
    assert "Training and train both name the train split" in refusal("train/a/1", "Training/a/1")


def test_a_split_in_a_folder_of_its_own_name_or_wrapped():  # CASES 2
    folders = ("seg_train/seg_train", "seg_test/seg_test")
    found = layout(*(f"{folder}/{name}/1.png" for folder in folders for name in "ab"))
    assert found.class_names == ("a", "b")
    wrapped = layout("train/all/a/1.png", "train/all/b/1.png", "test/all/b/1.png")
    assert wrapped.splits["test"][1].tolist() == [1]


def test_test_images_in_no_class_are_said_not_to_be_used():  # CASES 3
    found = layout("train/a/1.png", "train/b/1.png", "test/1.png", "test/2.png")
    assert set(found.splits) == {"train"}
    assert found.notes == ["2 images in test/ are not used: they are in no class"]
    assert found.rule == "train/<class>/*"


def test_classes_in_natural_order():  # CASES 13
    names = ["0", "1", "2", "10", "11", "a", "a1", "a2", "a10"]
    assert layout(*(f"{name}/1.png" for name in names)).class_names == tuple(names)
    assert natural("9" * 5000) < natural("1" + "0" * 5000)  # more digits than int() takes


def test_empty_class_folders_are_said():  # CASES 5
    paths = ["train/a/1.png", "train/b/1.png"]
    folders = ["train", "train/a", "train/b", "train/c", "train/a/deep", "docs"]
    assert find_layout(Path("x"), paths, folders).notes == [
        "class 'c' holds no image and is left out"
    ]


def test_the_rules_are_written_down():
    text = (Path(__file__).parents[2] / "docs" / "layouts.md").read_text(encoding="utf-8")
    names = [*SUFFIXES, *LABEL_FILES, *FILE_COLUMNS, *(word for w in SPLITS.values() for word in w)]
    assert [name for name in names if f"`{name}`" not in text] == []
