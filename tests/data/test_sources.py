import pickle
import tarfile

import numpy as np
import pytest
import torch

from gan_vkd.data.sources import load_dataset
from gan_vkd.errors import GanVkdError


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    dataset = load_dataset("digits", image_size=16)
    assert dataset.train.images.shape == (1797, 1, 16, 16)
    assert dataset.train.counts.sum() == 1797
    assert not dataset.flippable
    assert dataset.test is None
    small = torch.nn.functional.avg_pool2d(dataset.train.images[:, 0].float(), 2).numpy()
    truth = load_digits().images * 255 / 16
    assert np.corrcoef(small.ravel(), truth.ravel())[0, 1] > 0.99


def test_unknown_names_suggest_the_nearest(tmp_path):
    with pytest.raises(GanVkdError, match="did you mean 'cifar100'"):
        load_dataset("cifar_100", image_size=32)
    with pytest.raises(GanVkdError, match="known names"):
        load_dataset(str(tmp_path / "nothing"), image_size=32)


def test_cifar_without_files_and_network_is_one_clear_line(tmp_path, monkeypatch):
    def no_network(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    root = tmp_path / "data"
    with pytest.raises(GanVkdError) as error:
        load_dataset("cifar100", image_size=32, data_root=root)
    message = str(error.value)
    for part in ("cifar-100-python.tar.gz", str(root), "--data-root", "--dataset digits"):
        assert part in message
    assert not root.exists()


def test_cifar_from_a_folder_under_the_data_root(make_folder, tmp_path):
    make_folder({"train/a": 2, "train/b": 2, "test/a": 1}, size=32, name="cifar10")
    dataset = load_dataset("cifar10", image_size=32, data_root=tmp_path)
    assert dataset.name == "cifar10"
    assert len(dataset.train) == 4


def test_torchvisions_own_files_with_their_checksums(tmp_path, monkeypatch):
    """A small file in CIFAR-100's own form, its md5 written into torchvision's list."""
    import hashlib

    from torchvision.datasets import CIFAR100

    folder = tmp_path / CIFAR100.base_folder
    folder.mkdir()
    names = [f"class {i}" for i in range(100)]
    draws = np.random.default_rng(0)
    files = {
        split: {
            "data": draws.integers(0, 256, (100 * count, 3072), np.uint8),
            "fine_labels": [*range(100)] * count,
        }
        for split, count in (("train", 2), ("test", 1))
    }
    files["meta"] = {"fine_label_names": names}
    sums = {}
    for name, content in files.items():
        (folder / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR100, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(
        CIFAR100, "meta", {"filename": "meta", "key": "fine_label_names", "md5": sums["meta"]}
    )
    dataset = load_dataset("cifar100", image_size=32, data_root=tmp_path)
    assert (len(dataset.train), len(dataset.test)) == (200, 100)
    assert dataset.train.class_names == tuple(names)
    expected = files["train"]["data"][7].reshape(3, 32, 32)
    assert np.array_equal(dataset.train.images[7].numpy(), expected)

    (folder / "train").write_bytes(b"not what the checksum says")  # never unpickled
    monkeypatch.setattr(CIFAR100, "download", lambda _: (_ for _ in ()).throw(RuntimeError("md5")))
    with pytest.raises(GanVkdError, match="cifar-100-python"):
        load_dataset("cifar100", image_size=32, data_root=tmp_path)


def test_a_broken_archive_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "urllib.request.urlopen", lambda *_, **__: (_ for _ in ()).throw(OSError("no network"))
    )
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz"):
        pass
    with pytest.raises(GanVkdError, match="cifar10"):
        load_dataset("cifar10", image_size=32, data_root=tmp_path)
    assert (tmp_path / "cifar-10-python.tar.gz").exists()  # the user's file stays


def test_cifar_as_a_folder_beside_torchvisions_files(photographs, tmp_path):
    (tmp_path / "cifar100").symlink_to(photographs)
    dataset = load_dataset("cifar100", image_size=32, data_root=tmp_path)
    assert (len(dataset.train), len(dataset.test)) == (600, 400)
    assert (dataset.train.counts == 30).all()


@pytest.mark.slow
def test_cifar100_itself(shared_data):
    dataset = load_dataset("cifar100", image_size=32, data_root=shared_data("cifar100").parent)
    assert (len(dataset.train), len(dataset.test)) == (50_000, 10_000)
    assert (dataset.train.counts == 500).all()
    means = dataset.train.images.double().mean(dim=(0, 2, 3)) / 255
    expected = torch.tensor([0.50707516, 0.48654887, 0.44091784], dtype=torch.float64)
    assert torch.allclose(means, expected, atol=1e-7)
