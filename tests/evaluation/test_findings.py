"""Faults made on purpose from CIFAR-100 are named in words, and real images have none."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_vkd.evaluation import protocol
from gan_vkd.evaluation.findings import findings
from gan_vkd.evaluation.metrics import Metric

CLASSES = 20


@pytest.fixture(scope="module")
def photographs(shared_data) -> dict[str, list[list[Path]]]:
    """20 classes: their 500 training and 100 test photographs."""
    root = shared_data("cifar100")
    folders = sorted((root / "test").iterdir())[:CLASSES]
    return {
        split: [sorted((root / split / folder.name).iterdir()) for folder in folders]
        for split in ("train", "test")
    }


@pytest.fixture(scope="module")
def reference(photographs, tmp_path_factory) -> Path:
    """2,000 training photographs and, of another split, 1,000 held-out ones."""
    root = tmp_path_factory.mktemp("reference")
    place(root / "train", [files[:100] for files in photographs["train"]])
    place(root / "test", [files[:50] for files in photographs["test"]])
    return root


@pytest.fixture
def clean(photographs) -> list[list[Path]]:
    """1,000 more real photographs, 50 a class."""
    return [files[50:] for files in photographs["test"]]


def place(folder: Path, classes: list[list[Path]], flat: bool = False) -> Path:
    for files in classes:
        for number, file in enumerate(files):
            copy = folder / ("." if flat else file.parent.name) / f"{file.parent.name}-{number}.png"
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
    return folder


@pytest.fixture
def judge(gan_vkd, reference, tmp_path, monkeypatch):
    """Judges images in class folders, or flat; the result as written, without KID (slow)."""
    monkeypatch.setattr(protocol, "kid_metric", lambda *_: Metric(None))

    def run(classes: list[list[Path]], flat: bool = False) -> dict:
        folder = place(tmp_path / "images", classes, flat)
        flags = ["--reference", reference, "--json", "-", "--quiet", "--extractor", "bundled-1"]
        result = gan_vkd("eval", folder, *flags)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run


@pytest.mark.parametrize("flat", [False, True])
def test_nothing_stands_out_in_real_images(judge, clean, flat):
    result = judge(clean, flat)
    assert result["findings"] == []
    assert result["protocol"]["unseen_count"] == 1000
    of_class = result["classes"][0]
    assert (of_class["judged"] is None) == flat
    assert result["metrics"]["clipped_coverage"]["value"] > 0.9


def test_missing_classes_are_counted_and_named(judge, clean, photographs):
    (missing, *_) = judge([*clean[:10], *[files[:50] for files in photographs["test"][:10]]])[
        "findings"
    ]
    assert missing.startswith("10 of 20 classes have no image: ")
    assert all(f"{clean[i][0].parent.name}" in missing for i in range(10, 15))


def test_missing_classes_show_without_class_folders(judge, photographs):
    half = [files[50:100] for files in photographs["test"][:10]]
    half += [files[200:250] for files in photographs["train"][:10]]
    (low,) = judge(half, flat=True)["findings"]
    assert "classes are covered less than chance allows" in low
    missing = [files[0].parent.name for files in photographs["test"][10:]]
    lowest = low.split("lowest: ")[1].split(" and ")[0].rstrip(".")
    assert all(name.split(" (")[0] in missing for name in lowest.split(", "))


def test_a_collapsed_class_is_named(judge, clean, photographs):
    """All its images stand in one corner of the class: one photograph, shifted a little."""
    name = clean[3][0].parent.name
    pixels = np.asarray(Image.open(clean[3][0]).convert("RGB"))
    folder = clean[3][0].parent.parent.parent / "shifted" / name
    folder.mkdir(parents=True, exist_ok=True)
    shifted = []
    for i in range(50):
        shifted.append(folder / f"{i}.png")
        Image.fromarray(np.roll(pixels, (i % 3, i % 5), axis=(0, 1))).save(shifted[-1])
    clean[3] = shifted
    said = judge(clean)["findings"]
    assert any("covered less than chance allows, 1 of them" in s and name in s for s in said)
    assert any("vary less than half as much" in s and name in s for s in said)
    assert any("too alike" in s for s in said)


def test_ten_images_repeated(judge, clean):
    for files in clean[:10]:
        files[:20] = [files[20]] * 20
    said = judge(clean)["findings"]
    assert any(s.startswith("200 of 1,000 images repeat another one pixel by pixel") for s in said)
    assert any(s.startswith("Images are too alike") for s in said)
    assert not any("are repeated" in s for s in said)


def mirrored_copy(file: Path, to: Path) -> Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    Image.open(file).convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(to)
    return to


@pytest.mark.parametrize("mirrored", [0, 3])
def test_training_images_among_the_samples(judge, clean, photographs, tmp_path, mirrored):
    """Five of each class, of which the first `mirrored` are mirror images."""
    for files, training in zip(clean, photographs["train"], strict=True):
        files[:5] = training[:5]
        for i in range(mirrored):
            copy = tmp_path / "mirrored" / training[i].parent.name / f"{i}.png"
            files[i] = mirrored_copy(training[i], copy)
    result = judge(clean)
    said = result["findings"]
    kind = " or its mirror image pixel by pixel, 60 of them mirrored" if mirrored else " pixel by"
    assert any(f"100 of 1,000 images equal a reference image{kind}" in s for s in said)
    (repeated,) = [s for s in said if s.startswith("Reference images are repeated")]
    assert "bundled-1's features" in repeated
    assert "pixels" in repeated
    for space in ("features", "pixels"):
        found = result["copies"][space]
        assert found["mirrored"]["judged"] == pytest.approx(20 * mirrored, abs=10)
        assert found["closest"][0]["distance"] == pytest.approx(0, abs=1e-4)
    assert any(pair["mirrored"] for pair in found["closest"]) == bool(mirrored)
    assert not any("too alike" in s for s in said)


@pytest.mark.parametrize("mirrored", [False, True])
def test_training_images_a_little_changed(judge, clean, photographs, tmp_path, mirrored):
    """No pixel is the same, but they are copies."""
    draws = np.random.default_rng(0)
    for label, (files, training) in enumerate(zip(clean, photographs["train"], strict=True)):
        for i in range(5):
            pixels = np.asarray(Image.open(training[i]).convert("RGB")).astype(int)
            changed = tmp_path / "changed" / files[i].parent.name / f"{label}-{i}.png"
            changed.parent.mkdir(parents=True, exist_ok=True)
            noise = draws.integers(-6, 7, pixels.shape)
            pixels = pixels[:, :: -1 if mirrored else 1]
            Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(changed)
            files[i] = changed
    said = judge(clean)["findings"]
    (repeated,) = [s for s in said if s.startswith("Reference images are repeated")]
    assert ("(by pixels, 0.0% mirrored)" in repeated) != mirrored
    assert not any("equal a reference image" in s for s in said)


def test_without_held_out_images_only_equal_ones_are_told():
    """No yardstick, no claim about nearness."""
    unknown = {"judged": None, "held_out": None}
    close = {"median": {}, "close": unknown, "mirrored": unknown, "closest": []}
    identical = {"judged": 0, "held_out": None, "mirrored": {"judged": 0, "held_out": None}}
    result = {
        "extractor": "bundled-1",
        "protocol": {"judged_count": 100, "unseen_count": 0, "training": "x", "reference": "y"},
        "classes": [],
        "copies": {"identical": identical, "features": close, "pixels": close},
        "duplicates": {
            "count": {"judged": 100, "real": 100},
            "identical": {"judged": 0, "real": 0},
            "close": {"judged": 1, "real": 1},
            "p": {"identical": 1.0, "close": 1.0},
        },
    }
    assert findings(result) == []
    identical["judged"] = 60
    assert findings(result) == ["60 of 100 images equal a training image pixel by pixel."]
