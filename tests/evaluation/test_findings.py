"""Faults made on purpose from CIFAR-100 are named in words, and real images have none."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_vkd.data.images import ImageSet
from gan_vkd.evaluation import leaks, protocol
from gan_vkd.evaluation.classes import ClassFigures, asked_for
from gan_vkd.evaluation.features import Features
from gan_vkd.evaluation.findings import findings, sentences, untested
from gan_vkd.evaluation.metrics import Metric, inception_score

CLASSES = 20


@pytest.fixture(scope="module")
def photographs(cifar100, save_images, once) -> dict[str, list[list[Path]]]:
    """20 classes: 150 training and 100 test photographs of each."""
    names = list(cifar100("test"))[:CLASSES]

    def save(root: Path) -> None:
        for split in ("train", "test"):
            for name in names:
                save_images(root / split / name, cifar100(split)[name][:150])

    root = once("photographs for findings", save)
    return {
        split: [sorted((root / split / name).iterdir()) for name in names]
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
    """Judges images in class folders, or flat; the result as written, without KID (slow).

    Colours (slow too) are judged where asked for.
    """
    monkeypatch.setattr(protocol, "kid_metric", lambda *_: Metric(None))

    def run(classes: list[list[Path]], flat: bool = False, colours: bool = False) -> dict:
        monkeypatch.setattr(leaks, "FEWEST", 1_000 if colours else 10_000)
        folder = place(tmp_path / "images", classes, flat)
        flags = ["--reference", reference, "--json", "-", "--quiet", "--extractor", "bundled-1"]
        result = gan_vkd("eval", folder, *flags)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run


@pytest.mark.parametrize("flat", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_nothing_stands_out_in_real_images(judge, clean, flat):
    result = judge(clean, flat, colours=True)
    assert result["leaks"]["colours"]["judged"] > 0
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
    half += [files[100:150] for files in photographs["train"][:10]]
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


@pytest.mark.parametrize("mirrored", [pytest.param(0, marks=pytest.mark.slow), 3])
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


def test_holes_in_a_tenth_of_the_samples(judge, clean, tmp_path):
    for label, files in enumerate(clean):
        for i in range(5):
            pixels = np.array(Image.open(files[i]).convert("RGB"))
            pixels[8 + i : 24 + i, 4:20] = 127
            files[i] = tmp_path / "cut" / files[i].parent.name / f"{label}-{i}.png"
            files[i].parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(files[i])
    result = judge(clean)
    assert result["leaks"]["holes"]["judged"] >= 90
    assert any("cutout leaves it" in s for s in result["findings"])


@pytest.mark.slow
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


def result_of(classes: list[dict], unseen: int = 0, judged: int = 200) -> dict:
    """A result in which nothing stands out."""
    close = {"median": {}, "close": {"judged": 2, "held_out": 2}, "mirrored": {}, "closest": []}
    result = {
        "extractor": "bundled-1",
        "protocol": {
            "judged_count": judged,
            "unseen_count": unseen,
            "training": "y",
            "reference": "y",
            "nearest_k": 5,
        },
        "classes": classes,
        "copies": {
            "identical": {"judged": 0, "held_out": 0, "mirrored": {"judged": 0, "held_out": 0}},
            "features": close,
            "pixels": close,
        },
        "duplicates": {
            "count": {"judged": 200, "real": 200},
            "identical": {"judged": 0, "real": 0},
            "close": {"judged": 2, "real": 2},
            "p": {"identical": 1.0, "close": 1.0},
        },
    }
    return {**result, "findings": findings(result)}


def figures_of(name: str, judged: int, q: float | None = 1.0, asked: bool = True) -> dict:
    figures = ClassFigures(name, 20, judged, asked, coverage=0.9, coverage_q=q, variety=1.0)
    return asdict(figures)


def test_what_was_not_tested_is_said_to_be_untested():  # CASES 14
    said = " ".join(sentences(result_of([])))
    assert "classes (the reference has one)" in said
    assert "repeat reference images with small changes (there are no held-out images" in said
    assert "No class" not in said
    assert "among held-out" not in said
    few = result_of([figures_of("a", 20), figures_of("b", 2, None)], unseen=200)
    (nothing, rest) = sentences(few)
    assert "no class that was tested is missing" in nothing
    assert "no more images repeat reference images than among held-out images" in nothing
    assert rest == "Not tested: 1 of 2 classes, of too few images for k = 5: b."


def test_no_inception_score_of_a_few_images():  # CASES 20
    scores = torch.randn(99, 10, generator=torch.Generator().manual_seed(0))
    assert inception_score(Features(scores, scores)) == Metric(None)
    scores = torch.cat([scores, scores[:1]])
    assert inception_score(Features(scores, scores)).value > 1
    assert any("inception score" in part for part in untested(result_of([], judged=99)))


def test_no_finding_about_classes_that_were_not_asked_for():  # CASES 15
    asked, not_asked = (figures_of("a", 0, None, asked) for asked in (True, False))
    assert findings(result_of([asked])) == ["1 of 1 classes have no image: a."]
    assert findings(result_of([not_asked])) == []
    assert any(
        "1 of 1 classes, which were to have no image" in part
        for part in untested(result_of([not_asked]))
    )


def test_which_classes_are_asked_for():  # CASES 15
    names = tuple("abcd")
    reference = ImageSet(torch.zeros(40, 3, 1, 1), torch.arange(4).repeat_interleave(10), names)
    of_generator = ImageSet(torch.zeros(2, 3, 1, 1), torch.tensor([1, 3]), names)
    assert asked_for(of_generator, reference) == [False] * 4  # half an image each
    many = ImageSet(torch.zeros(90, 3, 1, 1), torch.arange(90) % 3, names)
    assert asked_for(many, reference) == [True, True, True, False]  # a generator's, not asked
    folder = ImageSet(torch.zeros(90, 3, 1, 1), torch.arange(90) % 3, names[:3])
    assert asked_for(folder, reference) == [True] * 4  # a folder that has none
