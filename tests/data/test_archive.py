import errno
import gzip
import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from gan_vkd.data import archive as archives
from gan_vkd.data.folder import load_folder
from gan_vkd.data.tree import open_tree
from gan_vkd.errors import GanVkdError
from gan_vkd.progress import QUIET


def load(root: Path):
    return load_folder(root, 16, skip_bad=False, reporter=QUIET)


@pytest.fixture
def image(make_folder) -> bytes:
    return (make_folder({"a": 1}, name="one") / "a" / "0.png").read_bytes()


def zipped(path: Path, names: list[bytes | str], content: bytes) -> Path:
    """A zip with these names: bytes as they are, without a flag that says they are UTF-8."""
    with zipfile.ZipFile(path, "w") as file:
        for i, name in enumerate(names):
            file.writestr(f"{i}".zfill(len(name)) if isinstance(name, bytes) else name, content)
    packed = path.read_bytes()
    for i, name in enumerate(names):
        if isinstance(name, bytes):
            packed = packed.replace((b"%d" % i).zfill(len(name)), name)
    path.write_bytes(packed)
    return path


def tarred(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:
        for info, content in members:
            file.addfile(info, io.BytesIO(content))
    return path


def member(name: str, size: int, **fields) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def test_backslashes_part_folders(image, tmp_path):  # CASES 6
    names = [rb"train\cat\x.png", rb"train\dog\x.png", rb"test\cat\x.png"]
    dataset = load(zipped(tmp_path / "x.zip", names, image))
    assert dataset.train.class_names == ("cat", "dog")
    assert (len(dataset.train), len(dataset.test)) == (2, 1)


@pytest.mark.parametrize(
    ("encoding", "name", "said"),
    [
        ("utf-8", "Kätzchen", False),
        ("utf-8", "猫", False),
        ("gbk", "熊猫", True),
        ("gbk", "狗", True),
        ("cp437", "Größe", True),
        ("cp437", "Kätzchen", True),
    ],
)
def test_names_that_state_no_encoding(encoding, name, said, image, tmp_path):  # CASES 12
    names = [f"{name}/1.png".encode(encoding), f"{name}/2.png".encode(encoding), "dog/1.png"]
    dataset = load(zipped(tmp_path / "x.zip", names, image))
    assert set(dataset.train.class_names) == {"dog", name}
    assert len(dataset.notes) == said
    if said:
        assert f"read as {encoding.upper()}, such as {name}/1.png" in dataset.notes[0]


def test_a_zip_that_states_its_names_are_utf_8(image, tmp_path):  # CASES 12
    dataset = load(zipped(tmp_path / "x.zip", ["猫/1.png", "dog/1.png"], image))
    assert dataset.train.class_names == ("dog", "猫")
    assert not dataset.notes


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_tar_equals_its_folder(make_folder, tmp_path, suffix):  # CASES 5
    root = make_folder({"train/a": 2, "train/b": 2, "test/a": 1})
    path = tmp_path / f"images.{suffix}"
    with tarfile.open(path, "w:gz" if suffix == "tar.gz" else "w") as file:
        file.add(root, arcname=".")
    ours, theirs = load(root), load(path)
    assert torch.equal(ours.train.images, theirs.train.images)
    assert torch.equal(ours.test.images, theirs.test.images)
    assert ours.train.class_names == theirs.train.class_names
    plain = shutil.copy(path, tmp_path / "without a suffix")
    assert torch.equal(load(Path(plain)).train.images, ours.train.images)


def test_a_tar_of_other_pixels_with_the_same_times_is_read(make_folder, tmp_path):  # CASES 11
    path, found = tmp_path / "x.tar", []
    for name in ("a/0.png", "a/1.png"):
        content = (make_folder({"a": 2}) / name).read_bytes()
        content = content[:30] + content[30:].ljust(2000, b"\0")  # of one size
        tarred(path, (member("a/x.png", len(content), mtime=5), content))
        found.append(load(path).train.images.clone())
    assert not torch.equal(*found)


@pytest.mark.parametrize(
    ("info", "fault"),
    [
        (member("/etc/bad.png", 3), "is an absolute path"),
        (member("../bad.png", 3), "leads out of the tar"),
        (member("C:/bad.png", 3), "is an absolute path"),
        (member("a/bad.png", 0, type=tarfile.SYMTYPE, linkname="/etc/passwd"), "is a link"),
        (member("a/bad.png", 0, type=tarfile.LNKTYPE, linkname="a/good.png"), "is a link"),
        (member("a/bad.png", 0, type=tarfile.FIFOTYPE), "is a link or a device"),
        (member("a/good.png", 3), "is there twice"),
    ],
)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tars_member_that_is_not_to_be_trusted(info, fault, mode, image, tmp_path):
    good = member("a/good.png", len(image))
    path = tarred(tmp_path / "x.tar", (good, image), (info, b"bad"), mode=mode)
    with pytest.raises(GanVkdError, match=rf"x\.tar: {info.name} {fault}"):
        load(path)


def test_a_tar_in_part_is_refused(image, tmp_path):
    members = [(member(f"a/{i}.png", len(image)), image) for i in range(3)]
    whole = tarred(tmp_path / "x.tar", *members).read_bytes()
    cut = tmp_path / "cut.tar"
    for content in (
        whole[: len(image)],
        whole[:2600],
        whole[:1536] + b"\xff" * 512 + whole[2048:],
        gzip.compress(whole)[:-20],
        gzip.compress(b"no tar"),
        b"",
    ):
        cut.write_bytes(content)
        with pytest.raises(GanVkdError, match=r"cut\.tar: not a whole tar \("):
            load(cut)


def test_sizes_are_bounded(image, tmp_path, monkeypatch):
    path = tarred(tmp_path / "x.tar.gz", (member("a/x.png", len(image)), image), mode="w:gz")
    monkeypatch.setattr(archives, "LARGEST_FILE", len(image) - 1)
    with pytest.raises(GanVkdError, match=r"a/x\.png says it has [\d,]+ bytes"):
        open_tree(path)
    blank = bytes(10**6)
    path = tarred(tmp_path / "y.tar.gz", (member("a/x.png", len(blank)), blank), mode="w:gz")
    monkeypatch.setattr(archives, "LARGEST_UNPACKED", 10**5)
    with pytest.raises(GanVkdError, match="it unpacks to more than"):
        open_tree(path)


def test_a_header_of_any_size_takes_no_memory(image, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_FILE", 10_000)
    info = member("a/x.png", len(image), pax_headers={"comment": "x" * 20_000})
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as file:
        file.addfile(info, io.BytesIO(image))
    with pytest.raises(GanVkdError, match="a header that says it has"):
        open_tree(tmp_path / "x.tar")


def test_a_full_disk_is_said(image, tmp_path, monkeypatch):
    path = tarred(tmp_path / "x.tar.gz", (member("a/x.png", len(image)), image), mode="w:gz")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archives, "_unpack", full)
    with pytest.raises(GanVkdError, match=r"x\.tar\.gz: no space to unpack it in"):
        open_tree(path)
