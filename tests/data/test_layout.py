from pathlib import Path

import pytest

from gan_vkd.data.layout import Layout, find_layout
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
    assert not found.left_out


def test_a_class_may_be_called_train():
    """As in CIFAR-100, whose training folder has one of that name."""
    found = layout("bear/1.png", "train/1.png", "tulip/1.png")
    assert found.class_names == ("bear", "train", "tulip")
    assert len(found.splits["train"][0]) == 3


def test_flat_splits_have_one_class():
    found = layout("train/1.png", "train/2.png", "test/1.png")
    assert found.class_names == ("images",)
    assert [len(paths) for paths, _ in found.splits.values()] == [2, 1]


def test_the_first_test_name_counts_and_the_rest_is_listed():
    found = layout("train/a/1.png", "val/a/1.png", "test/a/1.png", "valid/a/1.png", "stray.png")
    assert found.splits["test"][0] == ["test/a/1.png"]
    assert found.left_out == ["stray.png", "val/a/1.png", "valid/a/1.png"]
    assert layout("train/a/1.png", "stray.png").left_out == ["stray.png"]


def test_images_beside_class_folders_are_refused():
    with pytest.raises(GanVkdError, match=r"train/1\.png lies beside class folders \(a, "):
        layout("train/a/1.png", "train/1.png", "test/a/1.png")
