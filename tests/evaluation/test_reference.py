"""Statistics in place of images: the same metrics, and no others than they can give."""

import json

import numpy as np
import pytest
import torch

from gan_vkd.data.images import ImageSet, rgb
from gan_vkd.data.sources import load_dataset
from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.features import load_extractor
from gan_vkd.evaluation.reference import (
    Reference,
    holds_statistics,
    read_statistics,
    save_statistics,
)
from gan_vkd.progress import QUIET


@pytest.fixture(scope="module")
def extractor():
    return load_extractor("bundled-2", None, torch.device("cpu"))


@pytest.fixture(scope="module")
def reference(extractor):
    images = load_dataset("digits", image_size=16).train.select(torch.arange(300))
    images = ImageSet(rgb(images.images), images.labels, images.class_names)
    return Reference.of(images, "digits:train", extractor, QUIET)


@pytest.fixture
def evaluated(gan_vkd, digits_run):
    def run(*flags):
        result = gan_vkd("eval", digits_run, "--num", 120, "--json", "-", "--quiet", *flags)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run


def test_statistics_give_the_metrics_of_their_images(evaluated, gan_vkd, digits_run, tmp_path):
    file = tmp_path / "s.npz"
    of_images = evaluated("--save-stats", file)
    of_file = evaluated("--reference", file)
    assert of_file["metrics"] == of_images["metrics"]
    assert of_file["classes"] == of_images["classes"]
    assert of_file["duplicates"] == of_images["duplicates"]
    assert of_file["copies"] == of_images["copies"]  # of the run's own training images
    same = ("reference_sha256", "reference_count", "prdc_count", "extractor_sha256")
    assert all(of_file["protocol"][key] == of_images["protocol"][key] for key in same)
    assert of_file["protocol"]["reference"] == "statistics of digits:train"
    assert of_file["held_out"] is None
    gan_vkd("sample", digits_run, "--out", tmp_path / "x.npz", "--num", 120, "--quiet")
    flags = ["--reference", file, "--num", 120, "--quiet"]
    said = " ".join(gan_vkd("eval", tmp_path / "x.npz", *flags).stdout.split())
    assert "statistics hold no images" in said  # whose copies are not known


def test_moments_alone_give_fid_and_is_alone(evaluated, gan_vkd, digits_run, tmp_path):
    file = tmp_path / "s.npz"
    of_images = evaluated("--save-stats", file, "--moments-only")
    assert "features" not in np.load(file)
    of_file = evaluated("--reference", file)
    assert of_file["metrics"] == {
        name: of_images["metrics"][name] for name in ("fid", "inception_score")
    }
    assert (of_file["classes"], of_file["duplicates"]) == ([], None)
    assert of_file["protocol"]["reference"] == "mean and covariance of digits:train"
    flags = ["--num", 120, "--reference", file, "--quiet"]
    said = " ".join(gan_vkd("eval", digits_run, *flags).stdout.split())
    assert "Not tested: KID, precision, recall, density, coverage, classes" in said
    assert "neighbours" not in said


def test_moments_are_those_of_the_features(reference, tmp_path):
    save_statistics(reference, tmp_path / "s.npz", with_features=True)
    found = np.load(tmp_path / "s.npz")
    features = reference.features.double().numpy()
    assert found["mu"] == pytest.approx(features.mean(axis=0), abs=1e-6)
    assert found["sigma"] == pytest.approx(np.cov(features, rowvar=False), abs=1e-6)
    assert (int(found["count"]), str(found["extractor"])) == (300, "bundled-2")
    assert len(str(found["extractor_sha256"])) == 64


def test_another_extractor_is_refused(refused, reference, digits_run, extractor, tmp_path):
    file = tmp_path / "s.npz"
    save_statistics(reference, file, with_features=True)
    line = refused("eval", digits_run, "--reference", file, "--extractor", "bundled-1", "--quiet")
    assert "statistics of bundled-2, not of bundled-1: pass --extractor bundled-2" in line
    arrays = dict(np.load(file))
    np.savez(file, **{**arrays, "extractor_sha256": "0" * 64})
    with pytest.raises(GanVkdError, match="bundled-2 with other weights"):
        read_statistics(file, extractor)
    np.savez(file, **{**arrays, "image_size": 32})
    line = refused("eval", digits_run, "--reference", file, "--quiet")
    assert "of images of 32x32 pixels, and the images have 16x16" in line


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.zeros(299, int)},
        {"labels": np.full(300, 10)},
        {"features": np.zeros((300, 3))},
        {"sigma": np.zeros((3, 3))},
        {"mu": np.full(224, np.nan)},
        {"format": "another"},
    ],
)
def test_damaged_statistics_are_refused(reference, extractor, tmp_path, change):
    file = tmp_path / "s.npz"
    save_statistics(reference, file, with_features=True)
    np.savez(file, **{**dict(np.load(file)), **change})
    assert holds_statistics(file)
    with pytest.raises(GanVkdError, match="damaged statistics"):
        read_statistics(file, extractor)


def test_images_and_statistics_are_told_apart_by_their_keys(refused, digits_run, tmp_path):
    images, file = np.zeros((20, 16, 16, 3), np.uint8), tmp_path / "x.npz"
    np.savez(file, arr_0=images, mu=np.zeros(3), sigma=np.eye(3))  # as guided-diffusion's files
    assert not holds_statistics(file)
    assert len(load_dataset(str(file), image_size=16).train) == 20
    np.savez(file, mu=np.zeros(3), sigma=np.eye(3))  # as pytorch-fid's files
    line = refused("eval", digits_run, "--reference", file, "--quiet")
    assert "holds statistics, not images; gan-vkd eval --reference takes those" in line
    np.savez(file, something=np.eye(3))
    line = refused("eval", digits_run, "--reference", file, "--quiet")
    assert "holds no array, or several, of uint8" in line


def test_flags_of_statistics(refused, digits_run, tmp_path):
    assert "needs --save-stats" in refused("eval", digits_run, "--moments-only")
    line = refused("eval", digits_run, "--save-stats", tmp_path / "x.pkl")
    assert "the name must end in .npz" in line
