import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gan_vkd.classification.fit import FitSettings, augment, fit_classifier, top1
from gan_vkd.data.images import ImageSet
from gan_vkd.distill.small_resnet import SmallResNet, load_classifier, save_classifier
from gan_vkd.progress import QUIET
from gan_vkd.tensors import read_tensors, write_tensors

CPU = torch.device("cpu")
SMALL = FitSettings(epochs=2, widths=(4, 6, 8), blocks=(1, 2), batch_size=16)
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "train_evaluator.py"


def two_classes(count: int) -> ImageSet:
    """Dark and bright noise, 16 pixels a side."""
    labels = torch.arange(count) % 2
    draws = torch.randint(0, 128, (count, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    images = (draws + 128 * labels[:, None, None, None]).to(torch.uint8)
    return ImageSet(images, labels, ("dark", "bright"))


def fit(settings: FitSettings) -> tuple[SmallResNet, float]:
    images = two_classes(64)
    return fit_classifier(images, images, settings, flip=True, device=CPU, reporter=QUIET)


def weights(settings: FitSettings) -> torch.Tensor:
    return torch.cat([parameter.flatten() for parameter in fit(settings)[0].parameters()])


def test_bright_and_dark_are_told_apart_in_either_precision():
    for precision in ("fp32", "bf16"):
        model, accuracy = fit(replace(SMALL, epochs=6, precision=precision))
        assert accuracy == top1(model, two_classes(64)) == 1
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_every_setting_matters_and_the_same_ones_give_the_same_bits():
    reference = weights(SMALL)
    assert torch.equal(weights(SMALL), reference)
    for change in (
        *({"seed": 1}, {"epochs": 3}, {"batch_size": 8}, {"peak_lr": 0.1}, {"weight_decay": 0.0}),
        *({"colour": True}, {"precision": "bf16"}),
    ):
        assert not torch.equal(weights(replace(SMALL, **change)), reference), change
    assert len(weights(replace(SMALL, blocks=(2, 2)))) > len(reference)


def test_augmentation_flips_and_recolours_only_where_asked():
    images = two_classes(64).images[1::2] / 127.5 - 1
    plain, flipped = (augment(images, 0, SMALL, flip) for flip in (False, True))
    assert not torch.equal(plain, flipped)
    assert plain.shape == images.shape
    coloured = augment(images, 0, replace(SMALL, colour=True), flip=False)
    grey = (coloured[:, 0] == coloured[:, 1]).flatten(1).all(dim=1)
    assert 0 < grey.sum() < len(images)
    assert not (plain[:, 0] == plain[:, 1]).flatten(1).all(dim=1).any()
    assert not torch.equal(augment(images, 1, SMALL, flip=False), plain)


def test_blocks_survive_a_file_and_a_file_without_them_has_one_a_stage(tmp_path):
    path = tmp_path / "c.safetensors"
    model = SmallResNet(("a", "b"), 16, (4, 6, 8), (0, 3))
    save_classifier(model, path, {})
    found = load_classifier(path)
    assert (found.widths, found.blocks) == ((4, 6, 8), (0, 3))
    assert len(found.stages[1]) == 1
    assert len(found.stages[2]) == 4
    save_classifier(SmallResNet(("a", "b"), 16, (4, 6, 8)), path, {})
    state, header = read_tensors(path)
    state = {name: tensor.clone() for name, tensor in state.items()}
    write_tensors(path, state, {name: header[name] for name in header if name != "blocks"})
    assert load_classifier(path).blocks == (1, 1)
    with pytest.raises(ValueError, match="zip"):
        SmallResNet(("a", "b"), 16, (4, 6, 8), (1,))


def test_the_script_writes_a_card(photographs, tmp_path):
    out = tmp_path / "judge.safetensors"
    options = "--widths 4 8 8 --blocks 1 2 --epochs 1 --batch-size 200 --seed 3 --device cpu"
    command = [sys.executable, SCRIPT, photographs, out, *options.split()]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "epoch 1: loss" in done.stderr
    assert "held-out top-1" in done.stdout
    _, header = read_tensors(out)
    assert json.loads(header["widths"]) == [4, 8, 8]
    assert json.loads(header["blocks"]) == [1, 2]
    assert header["data"] == f"{photographs.name}, 600 images"
    assert header["held_out_top1"].endswith("of 400 images")
    shown = ("seed", "epochs", "batch_size", "colour", "flips", "device")
    assert [header[name] for name in shown] == ["3", "1", "200", "True", "True", "cpu"]
    assert float(header["seconds"]) >= 0
    assert load_classifier(out).feature_dim == 8
