"""Array files as data sets: MedMNIST's and Keras's names, grey images, labels."""

import numpy as np
import pytest
import torch

from gan_vkd.data import arrays as arrays_module
from gan_vkd.data.arrays import load_arrays
from gan_vkd.data.sources import load_dataset
from gan_vkd.errors import GanVkdError

DRAWS = np.random.default_rng(0)
COLOURS = DRAWS.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
GREY = DRAWS.integers(0, 256, (12, 16, 16), dtype=np.uint8)
LABELS = np.arange(12) % 3


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_splits_and_labels_as_medmnist_and_keras_name_them(tmp_path):
    medmnist = saved(
        tmp_path / "m.npz",
        **{"train_images": GREY, "train_labels": LABELS[:, None] + 4},
        **{"val_images": GREY[:2], "val_labels": LABELS[:2, None] + 4},
        **{"test_images": GREY[:3], "test_labels": LABELS[:3, None] + 4},
    )
    keras = saved(
        tmp_path / "k.npz", x_train=COLOURS, y_train=LABELS, x_test=COLOURS, y_test=LABELS
    )
    dataset = load_arrays(medmnist, 16)
    assert torch.equal(dataset.train.images, torch.from_numpy(GREY)[:, None])
    assert dataset.train.labels.tolist() == LABELS.tolist()
    assert dataset.train.class_names == ("4", "5", "6")
    assert torch.equal(dataset.test.images, torch.from_numpy(GREY[:3])[:, None])
    assert dataset.notes == ("2 validation images are not used",)
    dataset = load_arrays(keras, 16)
    assert torch.equal(dataset.test.images, torch.from_numpy(COLOURS).permute(0, 3, 1, 2))
    assert dataset.test.labels.tolist() == LABELS.tolist()
    unnamed = tmp_path / "u.npz"
    np.savez(unnamed, COLOURS, LABELS)  # as guided-diffusion writes samples
    assert load_arrays(unnamed, None).train.labels.tolist() == LABELS.tolist()


def test_one_coloured_image_gives_all_three_channels(tmp_path):
    three = np.stack([GREY] * 3, axis=-1)
    assert load_arrays(saved(tmp_path / "g.npz", images=three), 16).train.channels == 1
    mixed = load_arrays(saved(tmp_path / "x.npz", train_images=GREY, test_images=COLOURS), 16)
    assert torch.equal(mixed.train.images, torch.from_numpy(three).permute(0, 3, 1, 2))
    assert mixed.test.channels == 3


def test_classes_without_an_image_are_left_out_and_said(tmp_path):
    names = np.array(["a", "b", "c", "d"])
    path = saved(tmp_path / "x.npz", images=COLOURS, labels=LABELS * 2 % 3 + 1, class_names=names)
    dataset = load_arrays(path, 16)
    assert dataset.train.class_names == ("b", "c", "d")
    assert dataset.train.labels.tolist() == (LABELS * 2 % 3).tolist()
    assert dataset.notes == ("classes without a training image are left out: 1",)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"test_images": COLOURS}, "no training images"),
        ({"x": COLOURS.repeat(2, axis=-1)[..., :4]}, r"it holds x uint8 \[12, 16, 16, 4\]"),
        ({f"a{n}": LABELS for n in range(9)}, r"a4 int64 \[12\], 4 more$"),
        ({"train_images": COLOURS, "test_images": COLOURS.astype(float)}, "holds no array"),
        (
            {"train_images": GREY, "train_labels": LABELS, "test_images": GREY},
            "only some of its splits have labels",
        ),
        (
            {"x_train": GREY, "y_train": LABELS, "x_test": GREY, "y_test": LABELS + 1},
            "class 3 of the test split has no training image",
        ),
    ],
)
def test_array_files_that_are_no_data_set(tmp_path, arrays, words):
    with pytest.raises(GanVkdError, match=words):
        load_arrays(saved(tmp_path / "x.npz", **arrays), 16)


def test_arrays_far_larger_than_their_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays_module, "LARGEST_UNPACKED", 2**20)
    zeros = np.zeros((2_000, 32, 32, 3), np.uint8)
    np.savez_compressed(tmp_path / "x.npz", images=zeros)
    with pytest.raises(GanVkdError, match="over 100 times its size"):
        load_arrays(tmp_path / "x.npz", 32)
    np.savez(tmp_path / "x.npz", images=zeros)
    assert len(load_arrays(tmp_path / "x.npz", 32).train) == 2_000


def test_a_run_on_an_array_file(gan_vkd, tmp_path):
    images, labels = GREY.repeat(4, axis=0), LABELS.repeat(4)
    path = saved(tmp_path / "x.npz", images=images, labels=labels)
    assert load_dataset(str(path), image_size=16).train.channels == 1
    assert "48 images, 16 to 16 a class" in gan_vkd("data", "describe", path).stdout
    flags = ["--preset", "tiny", "--teacher", "none", "--iterations", 2, "--quiet"]
    flags += ["--set", "training.batch_size=8", "--run-dir", tmp_path / "run"]
    assert gan_vkd("train", "--dataset", path, *flags).exit_code == 0
    result = gan_vkd("sample", tmp_path / "run", "--out", tmp_path / "s.npy", "--num", 9)
    assert result.exit_code == 0
    result = gan_vkd("eval", tmp_path / "s.npy", "--reference", path, "--nearest-k", 2, "--quiet")
    assert result.exit_code == 0, result.output
