import os
import shutil
import threading
import time
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from gan_vkd.data import folder
from gan_vkd.data.folder import load_folder
from gan_vkd.data.sources import load_dataset
from gan_vkd.errors import GanVkdError
from gan_vkd.progress import QUIET, Reporter
from gan_vkd.tensors import read_tensors, write_tensors

MAPS = Path("/proc/self/maps")


def load(root: Path, reporter: Reporter = QUIET, skip_bad: bool = False):
    return load_folder(root, 16, skip_bad=skip_bad, reporter=reporter)


def test_train_and_test_splits(make_folder):
    dataset = load(make_folder({"train/b": 3, "train/a": 2, "test/a": 1}))
    assert dataset.train.class_names == ("a", "b")
    assert dataset.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert dataset.test.labels.tolist() == [0]


def test_class_folders_flat_and_nested(make_folder):
    assert load(make_folder({"x": 2, "y/deep": 2}, name="1")).train.labels.tolist() == [0, 0, 1, 1]
    flat = load(make_folder({".": 3}, name="2"))
    assert flat.train.class_names == ("images",)
    assert flat.test is None


def test_hidden_files_and_other_files_do_not_count(make_folder):
    root = make_folder({"a": 2, ".hidden": 1})
    (root / "a" / "notes.txt").write_text("hello")
    (root / "a" / "._0.png").write_bytes(b"resource fork")
    assert len(load(root).train) == 2


def test_a_zip_equals_its_folder(make_folder, tmp_path):
    root = make_folder({"train/a": 2, "train/b": 2, "test/a": 1})
    archive = shutil.make_archive(str(tmp_path / "images"), "zip", root)
    ours, theirs = load(root), load(Path(archive))
    assert torch.equal(ours.train.images, theirs.train.images)
    assert ours.train.class_names == theirs.train.class_names


def test_images_beside_class_folders_are_refused(make_folder):
    with pytest.raises(GanVkdError, match="lies beside class folders"):
        load(make_folder({"a": 1, ".": 1}))


def test_a_test_class_without_training_images_is_refused(make_folder):
    with pytest.raises(GanVkdError, match="'b'"):
        load(make_folder({"train/a": 2, "test/b": 1}))


def test_empty_folder_and_no_folder(tmp_path):
    with pytest.raises(GanVkdError, match="no images"):
        load(tmp_path)
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(GanVkdError, match="neither a folder nor a zip"):
        load(tmp_path / "file.txt")


def test_unreadable_image_is_named_or_skipped_and_counted(make_folder):
    root = make_folder({"a": 3, "b": 2})
    whole = load(root).train.images
    content = (root / "a" / "0.png").read_bytes()
    (root / "a" / "1 bad.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(GanVkdError, match=r"a/1 bad\.png"):
        load(root)
    for _ in range(2):  # from the cache too
        dataset = load(root, skip_bad=True)
        assert torch.equal(dataset.train.images, whole)
        assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1]
        assert [name[:11] for name in dataset.skipped] == ["a/1 bad.png"]


def test_what_is_no_image_is_called_so(make_folder):
    root = make_folder({"a": 3})
    (root / "a" / "1.png").write_bytes(b"hello")
    with pytest.raises(GanVkdError, match=r"can't read a/1\.png \(not an image, or of a format"):
        load(root)


def test_second_load_comes_from_the_cache_until_a_file_changes(make_folder, monkeypatch):
    root = make_folder({"a": 3})
    first = load(root)
    real_decode = folder.decode
    monkeypatch.setattr(folder, "decode", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(load(root).train.images, first.train.images)
    monkeypatch.setattr(folder, "decode", real_decode)
    shutil.copy(root / "a" / "0.png", root / "a" / "1.png")
    second = load(root)
    assert torch.equal(second.train.images[1], first.train.images[0])


def test_a_damaged_cache_is_rebuilt(make_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    root = make_folder({"a": 3})
    images = load(root).train.images.clone()  # what is loaded is the entry itself, mapped
    (entry,) = (tmp_path / "own").rglob("*.safetensors")
    entry.write_bytes(entry.read_bytes()[:100])
    assert torch.equal(load(root).train.images, images)
    assert entry.stat().st_size > 100


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: {"train_images": tensors["train_images"][:, :, :8, :8].contiguous()},
        lambda tensors: {name: tensor[:2].clone() for name, tensor in tensors.items()},
        lambda tensors: {"train_images": tensors["train_images"].float()},
        lambda tensors: {"train_labels": tensors["train_labels"] + 1},
    ],
    ids=["another size", "fewer images", "no bytes", "another class"],
)
def test_a_cache_that_holds_something_else_is_rebuilt(change, make_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    root = make_folder({"a": 3})
    images = load(root).train.images
    (entry,) = (tmp_path / "own").rglob("*.safetensors")
    tensors, header = read_tensors(entry)
    write_tensors(entry, tensors | change(tensors), header)
    again = load(root)
    assert again.train.images.dtype == torch.uint8
    assert torch.equal(again.train.images, images)
    assert again.train.labels.tolist() == [0, 0, 0]
    assert again.test is None


@pytest.mark.skipif(not MAPS.exists(), reason="the system does not list what is mapped")
def test_what_is_loaded_is_the_cache_mapped(make_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    root = make_folder({"a": 3})
    for _ in range(2):  # made, and found there
        dataset = load(root)
        (entry,) = (tmp_path / "own").rglob("*.safetensors")
        assert str(entry) in MAPS.read_text()
        del dataset
        assert str(entry) not in MAPS.read_text()


def test_writing_into_images_leaves_the_cache_as_it_is(make_folder):
    root = make_folder({"a": 3})
    first = load(root).train.images
    whole = first.clone()
    first.zero_()
    assert torch.equal(load(root).train.images, whole)


def test_files_are_decoded_only_a_little_ahead(make_folder, monkeypatch):
    """What is decoded and not yet in its place takes memory beside the images."""
    root = make_folder({"a": 200})
    decoded, real_decode = [], folder.decode
    monkeypatch.setattr(folder, "decode", lambda *args: decoded.append(1) or real_decode(*args))
    monkeypatch.setattr(folder, "AHEAD", 1)

    class Slow(Reporter):
        def track(self, items, description, total):
            yield next(items)
            time.sleep(0.5)
            assert len(decoded) <= 1 + os.cpu_count()
            yield from items

    assert len(load(root, Slow(quiet=True)).train) == 200


def test_more_images_than_there_is_memory_are_one_clear_line(make_folder):
    with pytest.raises(GanVkdError, match="3 images of 16777216x16777216 pixels need") as error:
        load_folder(make_folder({"a": 3}), 2**24, skip_bad=False, reporter=QUIET)
    assert "GiB" in str(error.value)


def test_what_is_in_neither_split_is_said(make_folder, capsys):  # CASES 3
    root = make_folder({"train/a": 2, "test/a": 1, "val/a": 3, "notes": 1})
    dataset = load_dataset(str(root), image_size=16, reporter=Reporter())
    assert (len(dataset.train), len(dataset.test)) == (2, 1)
    said = capsys.readouterr().err
    assert "3 images in val/ are not used" in said
    assert "1 images in notes/ are not used" in said


def test_interrupted_reading_leaves_no_cache_entry(make_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(folder, "write_tensors", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load(make_folder({"a": 3}))
    assert not list((tmp_path / "own").rglob("*.safetensors"))
    assert not list((tmp_path / "own").rglob("*.tmp"))


def test_two_loads_at_once_decode_once(make_folder, monkeypatch):
    root = make_folder({"a": 20})
    decoded, real_decode = [], folder.decode

    def counted(*args):
        decoded.append(1)
        return real_decode(*args)

    monkeypatch.setattr(folder, "decode", counted)
    threads = [threading.Thread(target=load, args=(root,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decoded) == 20


def test_unwritable_cache_goes_without(make_folder, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(load(make_folder({"a": 3})).train) == 3


def test_zip_members_are_never_written(tmp_path, make_folder):
    content = (make_folder({"a": 1}) / "a" / "0.png").read_bytes()
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a/1.png", content)
        file.writestr("../../escaped.png", content)
    with pytest.raises(GanVkdError, match=r"\.\./\.\./escaped\.png leads out"):
        load(archive)
    assert not list(tmp_path.parents[1].rglob("escaped.png"))


def test_images_that_are_not_square_are_cropped_and_counted(make_folder, capsys):
    root = make_folder({"a": 3})
    Image.new("RGB", (40, 20), "white").save(root / "a" / "wide.png")
    for _ in range(2):  # decoded, then from the cache
        dataset = load_dataset(str(root), image_size=16, reporter=Reporter())
        said = capsys.readouterr().err
        assert said.count("1 images are not square: the middle of each is used") == 1
        assert len(dataset.train) == 4
