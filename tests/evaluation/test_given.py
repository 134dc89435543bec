"""Images from array files: the same as in folders."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.given import Files, load_given
from gan_vkd.evaluation.named_reference import load_named
from gan_vkd.progress import QUIET

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
LABELS = np.array([0, 0, 1, 1, 2, 2])


def test_arrays_are_images(tmp_path):
    expected = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)
    np.save(tmp_path / "a.npy", PIXELS)
    np.save(tmp_path / "first.npy", PIXELS.transpose(0, 3, 1, 2))
    np.savez(
        tmp_path / "b.npz", images=PIXELS, labels=LABELS, class_names=np.array(["a", "b", "c"])
    )
    np.savez(tmp_path / "c.npz", PIXELS, labels=LABELS)
    for name in ("a.npy", "first.npy", "b.npz", "c.npz"):
        found = load_given(tmp_path / name, None, QUIET)
        assert torch.equal(found.images, expected), name
        assert found.labels.tolist() == (LABELS.tolist() if name[1:] == ".npz" else [0] * 6)
    assert load_given(tmp_path / "b.npz", None, QUIET).class_names == ("a", "b", "c")
    assert load_given(tmp_path / "c.npz", None, QUIET).class_names == ("0", "1", "2")
    assert load_given(tmp_path / "a.npy", 4, QUIET).images.shape == (6, 3, 4, 4)
    assert Files.of(str(tmp_path / "a.npy")) == Files(8, "none")
    dataset, split = load_named(f"{tmp_path / 'b.npz'}:train", 8, None, False, QUIET)
    assert torch.equal(dataset.train.images, expected)
    assert (dataset.test, split) == (None, "train")


@pytest.mark.parametrize("shape", [(6, 8, 8), (6, 8, 8, 1), (6, 1, 8, 8)])
def test_grey_arrays_are_images_on_either_side(gan_vkd, tmp_path, shape):
    grey = PIXELS[..., :1]
    np.save(tmp_path / "grey.npy", grey.reshape(shape))
    expected = torch.from_numpy(grey).permute(0, 3, 1, 2)
    found = load_given(tmp_path / "grey.npy", None, QUIET).images
    assert torch.equal(found, expected)
    reference, _ = load_named(str(tmp_path / "grey.npy"), 8, None, False, QUIET)
    assert torch.equal(reference.train.images, expected)
    smaller = load_given(tmp_path / "grey.npy", 4, QUIET).images
    with_colours = [np.asarray(Image.fromarray(g[..., 0]).resize((4, 4), 3)) for g in grey]
    assert torch.equal(smaller[:, 0], torch.from_numpy(np.stack(with_colours)))
    np.save(tmp_path / "three.npy", grey.repeat(3, axis=-1))  # as sample writes grey images
    flags = ["--reference", tmp_path / "three.npy", "--nearest-k", 1, "--json", "-", "--quiet"]
    result = gan_vkd("eval", tmp_path / "grey.npy", *flags)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["metrics"]["fid"]["value"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": PIXELS.astype(float)}, "holds no array"),
        ({"a": PIXELS, "b": PIXELS}, "holds no array, or several"),
        ({"images": PIXELS[:0]}, "holds no array"),
        ({"images": PIXELS[..., :2]}, "holds no array"),
        ({"images": PIXELS[0, 0]}, "holds no array"),
        ({"images": PIXELS, "labels": LABELS[:, None].repeat(2, 1)}, "labels are not integers"),
        ({"images": PIXELS, "labels": LABELS[:5]}, "labels are not integers"),
        ({"images": PIXELS, "labels": LABELS - 1}, "labels are not integers"),
        ({"images": PIXELS, "labels": LABELS, "class_names": np.array(["a"])}, "labels are not"),
        ({"images": PIXELS[:, :4]}, "pass --size"),
        ({"images": np.array([{}])}, "another kind of file, or Python objects"),
    ],
)
def test_arrays_that_are_none(tmp_path, arrays, words):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(GanVkdError, match=words):
        load_given(tmp_path / "x.npz", None, QUIET)
    (tmp_path / "x.npy").write_bytes(b"PK nonsense")
    with pytest.raises(GanVkdError, match="not a whole"):
        load_given(tmp_path / "x.npy", None, QUIET)


@pytest.mark.parametrize("broken", ["judged", "reference"])
def test_unreadable_images_are_refused_or_skipped_on_either_side(gan_vkd, make_folder, broken):
    folders = {name: make_folder({"a": 7, "b": 1}, name=name) for name in ("judged", "reference")}
    bad = folders[broken] / "a" / "3.png"
    bad.write_bytes(bad.read_bytes()[:30])
    flags = ["eval", folders["judged"], "--reference", folders["reference"], "--nearest-k", 1]
    result = gan_vkd(*flags)
    assert result.exit_code == 2
    assert "can't read a/3.png" in result.stderr
    assert "pass --skip-bad" in result.stderr
    result = gan_vkd(*flags, "--skip-bad", "--json", "-")
    assert result.exit_code == 0, result.output
    assert "1 unreadable files are skipped: a/3.png" in result.stderr
    protocol = json.loads(result.stdout)["protocol"]
    for name in folders:
        assert protocol[f"{name}_count"] == (7 if name == broken else 8)


def test_a_folder_of_unreadable_images_alone_is_refused(gan_vkd, make_folder):
    root = make_folder({"a": 3})
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    result = gan_vkd("eval", root, "--reference", root, "--skip-bad")
    assert result.exit_code == 2
    assert "none of the 3 images can be read" in result.stderr
