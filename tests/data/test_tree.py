import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_vkd.data import folder
from gan_vkd.data.folder import common_size, load_folder
from gan_vkd.data.sources import load_dataset, unused
from gan_vkd.data.tree import open_tree
from gan_vkd.errors import GanVkdError
from gan_vkd.progress import QUIET, Reporter


def load(root: Path, skip_bad: bool = False):
    return load_folder(root, 16, skip_bad=skip_bad, reporter=QUIET)


def test_two_links_to_one_folder_are_two_folders(make_folder, tmp_path):  # CASES 4
    real = make_folder({"a": 2, "b": 1}, name="real")
    root = tmp_path / "root"
    root.mkdir()
    for name in ("train", "test"):
        (root / name).symlink_to(real)
    dataset = load(root)
    assert dataset.train.class_names == ("a", "b")
    assert torch.equal(dataset.train.images, dataset.test.images)


def test_only_a_real_circle_is_cut(make_folder):  # CASES 4
    root = make_folder({"a": 1, "b": 1})
    (root / "b" / "up").symlink_to(root)
    (root / "a" / "here").symlink_to(".")
    (root / "c").symlink_to("a")
    assert open_tree(root).paths == ["a/0.png", "b/0.png", "c/0.png"]


def test_links_to_nothing_are_refused_and_counted_or_left_out(make_folder):  # CASES 5
    root = make_folder({"a": 5, "b": 2})
    for i in range(15):
        (root / "a" / f"x{i}.png").symlink_to("/nowhere")
    with pytest.raises(GanVkdError, match=r"a/x0\.png \(a link to nothing\) and 14 more"):
        load(root)
    with pytest.raises(GanVkdError, match=r"a/x0\.png \(a link to nothing\) and 14 more"):
        common_size(root, skip_bad=False)
    assert common_size(root, skip_bad=True) == 16
    dataset = load(root, skip_bad=True)
    assert dataset.train.counts.tolist() == [5, 2]
    assert len(dataset.skipped) == 15
    assert "a/x14.png (a link to nothing)" in dataset.skipped


def test_a_class_that_is_a_link_to_nothing_is_refused(make_folder):  # CASES 5
    root = make_folder({"a": 2})
    (root / "b").symlink_to("/nowhere")
    with pytest.raises(GanVkdError, match=r"can't read b \(a link to nothing\)"):
        load(root)


def test_folders_and_files_without_permission_are_refused(make_folder, monkeypatch):  # CASES 5
    root = make_folder({"a": 2, "b": 2})
    listdir = os.listdir

    def denied(place):
        if Path(place).name == "b":
            raise PermissionError(13, "Permission denied", str(place))
        return listdir(place)

    monkeypatch.setattr(os, "listdir", denied)  # the tests' user may be root, who may all
    with pytest.raises(GanVkdError, match=r"can't read b \(Permission denied\)"):
        load(root)
    dataset = load(root, skip_bad=True)
    assert dataset.skipped == ("b (Permission denied)",)
    assert dataset.notes == ("class 'b' holds no image and is left out",)


def test_gif_and_jfif_are_images_and_other_types_are_said(make_folder):  # CASES 5
    root = make_folder({"a": 2})
    image = Image.open(root / "a" / "0.png")
    (root / "b").mkdir()
    image.save(root / "b" / "0.gif")
    image.save(root / "b" / "1.jfif", "JPEG")
    (root / "c").mkdir()
    for name in ("0.heic", "1.HEIC", "notes.txt"):
        (root / "c" / name).write_bytes(b"")
    (root / "d").mkdir()
    dataset = load(root)
    assert dataset.train.counts.tolist() == [2, 2]
    assert dataset.notes == (
        "files of other types are not used: 2 .heic, 1 .txt",
        "class 'c' holds no image and is left out",
        "class 'd' holds no image and is left out",
    )


def test_what_is_not_used_is_said_by_every_command(gan_vkd, make_folder, capsys):  # CASES 5
    root = make_folder({"train/a": 3, "val/a": 1, "test/a": 1, "train/b": 2})
    (root / "train" / "b" / "0.png").write_bytes(b"")
    load_dataset(str(root), image_size=16, skip_bad=True, reporter=Reporter())
    said = capsys.readouterr().err
    result = gan_vkd("data", "describe", root, "--skip-bad", "--quiet")
    for text in (said, result.stdout):
        assert "1 images in val/ are not used" in text
        assert "1 unreadable files are skipped: train/b/0.png (not an image" in text
    assert "as train/<class>/* and test/<class>/*" in result.stdout


def test_twenty_files_that_were_left_out_are_named(make_folder):  # CASES 5
    root = make_folder({"a": 2})
    for i in range(25):
        (root / "a" / f"x{i:02d}.png").symlink_to("/nowhere")
    (line,) = unused(load(root, skip_bad=True))
    assert line.startswith(
        "25 unreadable files are skipped: a/x00.png (a link to nothing), a/x01.png"
    )
    assert line.endswith("a/x19.png (a link to nothing) and 5 more")


@pytest.mark.parametrize("kind", ["mtime", "middle", "small"])
def test_other_pixels_of_the_same_size_and_time_are_read(make_folder, kind):  # CASES 11
    root = make_folder({"a": 2})
    path = root / "a" / "0.bmp"
    size = 16 if kind == "small" else 200

    def write(value: int) -> None:
        pixels = np.zeros((size, size, 3), np.uint8)
        pixels[size // 2 - 2 : size // 2 + 2] = value
        Image.fromarray(pixels).save(path)
        if kind != "middle":
            os.utime(path, ns=(10**18, 10**18))

    write(10)
    first = load(root).train.images.clone()
    write(200)
    assert not torch.equal(load(root).train.images, first)


def test_the_same_files_come_from_the_cache(make_folder, monkeypatch):  # CASES 11
    root = make_folder({"a": 2})
    load(root)
    monkeypatch.setattr(folder, "decode", lambda *_: pytest.fail("decoded again"))
    load(root)
    shutil.copy(root / "a" / "0.png", root / "notes.txt")
    load(root)
