"""Every indicator of memorisation on real photographs: known to be copied, and known not to be."""

import numpy as np
import pytest
import torch

from gan_vkd.data.images import ImageSet
from gan_vkd.evaluation.features import load_extractor
from gan_vkd.evaluation.protocol import RealImages, evaluate
from gan_vkd.progress import QUIET

CLASSES, EACH = 20, 15
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sets(cifar100) -> dict[str, ImageSet]:
    """300 photographs each, of 20 classes: trained on, held out, and fresh ones."""
    names = tuple(cifar100("test"))[:CLASSES]
    labels = torch.arange(CLASSES).repeat_interleave(EACH)
    found = {}
    for place, kind in enumerate(("training", "held_out", "fresh")):
        rows = slice(place * EACH, (place + 1) * EACH)
        pixels = np.concatenate([cifar100("test")[name][rows] for name in names])
        found[kind] = ImageSet(torch.from_numpy(pixels).permute(0, 3, 1, 2), labels, names)
    return found


def judged(images: torch.Tensor, sets: dict[str, ImageSet]) -> dict:
    training, held_out = sets["training"], sets["held_out"]
    return evaluate(
        ImageSet(images, training.labels, training.class_names),
        RealImages(
            reference=training,
            reference_origin="the data set",
            held_out=held_out,
            held_out_origin="its other split",
            training=training,
            training_origin="the run's training images",
            unseen=held_out,
            unseen_origin="its other split",
        ),
        origin={},
        extractor=load_extractor("bundled-2", None, CPU),
        nearest_k=5,
        reporter=QUIET,
    )


def noisy(images: torch.Tensor) -> torch.Tensor:
    """With noise of four levels of grey."""
    noise = 4 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + noise).round().clamp(0, 255).to(torch.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["noise", "mirrored and shifted"])
def test_copies_are_told_by_every_indicator(sets, change):
    images = sets["training"].images
    copies = noisy(images) if change == "noise" else images.flip(-1).roll(1, dims=-1)
    result = judged(copies, sets)
    found = result["memorisation"]
    for space in ("features", "pixels"):
        assert found["preference"][space]["value"] > 0.98
        assert result["copies"][space]["close"]["judged"] > 0.9 * len(copies)
    assert found["authenticity"]["judged"]["value"] < 0.05
    assert found["copying_statistic"]["high"] < -10
    assert any("nearer to training images" in sentence for sentence in result["findings"])
    assert result["metrics"]["fid"]["value"] < result["held_out"]["metrics"]["fid"]["value"]


@pytest.mark.slow
def test_fresh_photographs_are_not_taken_for_copies(sets):
    result = judged(sets["fresh"].images, sets)
    found = result["memorisation"]
    for space in ("features", "pixels"):
        assert found["preference"][space]["low"] < 0.5 < found["preference"][space]["high"]
        assert result["copies"][space]["close"]["judged"] < 0.05 * 300
    ours, theirs = (found["authenticity"][side]["value"] for side in ("judged", "held_out"))
    assert ours == pytest.approx(theirs, abs=0.12)
    statistic = found["copying_statistic"]
    assert statistic["low"] < 0 < statistic["high"]
    assert not any("training images" in sentence for sentence in result["findings"])
