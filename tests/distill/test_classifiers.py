"""Classifiers by name, and the files that they are kept in."""

import json
from itertools import pairwise

import pytest
import timm
import torch

from gan_vkd.distill.classifiers import (
    FORMAT,
    Shape,
    build_classifier,
    read_classifier,
    write_classifier,
)
from gan_vkd.distill.small_resnet import SmallResNet, save_classifier
from gan_vkd.distill.teachers import load_teacher
from gan_vkd.errors import GanVkdError
from gan_vkd.tensors import read_tensors, write_tensors

NAMES = ("cat", "dog", "owl")
SHAPES = {
    "staged": Shape("wrn-40-2", NAMES, 32),
    "timm": Shape("timm:tf_efficientnet_lite0", NAMES, 64, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)),
    "transformer": Shape("timm:deit_tiny_distilled_patch16_224", NAMES, 32, patch_size=8),
}


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("kind", SHAPES)
def test_a_file_gives_the_same_logits_and_teaches(kind, images, tmp_path):
    path = tmp_path / "network.safetensors"
    classifier = build_classifier(SHAPES[kind]).eval()
    write_classifier(classifier, path, {"epoch": "3"})
    found = read_classifier(path)
    assert found.shape == classifier.shape
    assert not found.training
    with torch.no_grad():
        expected = classifier(images)
        assert torch.equal(found(images).logits, expected.logits)
    assert read_tensors(path)[1]["epoch"] == "3"
    teacher = load_teacher(f"file:{path}")
    if kind != "transformer":  # timm pools two tokens there
        assert torch.allclose(teacher(images), expected.pooled, atol=1e-5)
    assert teacher.dim == expected.pooled.shape[1]


def test_a_timm_file_loads_with_timm_alone(images, tmp_path):
    path = tmp_path / "network.safetensors"
    classifier = build_classifier(SHAPES["timm"]).eval()
    write_classifier(classifier, path, {})
    model = timm.create_model("tf_efficientnet_lite0", num_classes=3).eval()
    model.load_state_dict(read_tensors(path)[0])
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    resized = torch.nn.functional.interpolate(images, (64, 64), mode="bicubic", antialias=True)
    with torch.no_grad():
        logits = model(((resized + 1) / 2 - mean) / std)
        assert torch.allclose(classifier(images).logits, logits, atol=1e-5)


def test_the_distilled_transformers_heads(images):
    classifier = build_classifier(SHAPES["transformer"])
    model = classifier.plain
    with torch.no_grad():
        normalised = ((images + 1) / 2 - classifier.mean) / classifier.std
        whole = classifier.eval()(images)
        assert torch.allclose(whole.logits, model(normalised), atol=1e-6)
        assert whole.tokens.shape == (3, 16, 192)
        apart = classifier.train()(images)
        model.set_distilled_training()
        for ours, theirs in zip((apart.logits, apart.token_logits), model(normalised), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize(("name", "stemless"), [("test_convnext", True), ("test_resnet", False)])
def test_the_first_map_is_the_stems_or_stands_in_for_it(name, stemless):
    maps = build_classifier(Shape(f"timm:{name}", NAMES, 32)).eval()(torch.rand(1, 3, 32, 32)).maps
    assert len(maps) == 5
    assert torch.equal(maps[0], maps[1]) == stemless
    assert all(a.shape[-1] > b.shape[-1] for a, b in pairwise(maps[1:]))


def test_small_resnets_of_teacher_fit_are_read(images, tmp_path):
    path = tmp_path / "fitted.safetensors"
    model = SmallResNet(NAMES, 16, (4, 6, 8)).half().float().eval()
    save_classifier(model, path, {})
    classifier = read_classifier(path)
    small = torch.nn.functional.interpolate(images, (16, 16), mode="bicubic", antialias=True)
    with torch.no_grad():
        outputs = classifier(images)
        assert torch.allclose(outputs.logits, model(small), atol=1e-5)
    assert [m.shape[1] for m in outputs.maps] == [4, 6, 8]


def test_grey_images_are_seen_as_three_equal_channels(images):
    classifier = build_classifier(SHAPES["staged"]).eval()
    grey = images[:, :1]
    with torch.no_grad():
        assert torch.equal(classifier(grey).logits, classifier(grey.expand(-1, 3, -1, -1)).logits)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (Shape("resnet32x", NAMES, 32), "did you mean 'resnet32x4'"),
        (Shape("timm:resnet1", NAMES, 32), "timm has no model 'resnet1'; did you mean resnet18"),
        (Shape("vgg8", NAMES, 32, patch_size=4), "vgg8 has neither patches nor drop path"),
        (Shape("timm:deit_tiny_patch16_224", NAMES, 32, patch_size=7), "7 do not fill 32 pixels"),
        (Shape("timm:resnet18", NAMES, 32, patch_size=8), "can't be built for 32 pixels and"),
    ],
)
def test_what_can_not_be_built_is_said(shape, words):
    with pytest.raises(GanVkdError, match=words):
        build_classifier(shape)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"network": "vgg99"},
        {"network": "vgg13"},
        {"class_names": "[1, 2]"},
        {"class_names": json.dumps(["x"] * 10**6)},
        {"input": "[100000, [0, 0, 0], [1, 1, 1]]"},
        {"input": "[32, [0, 0], [1, 1, 1]]"},
        {"input": "7"},
        {"patch_size": "0"},
    ],
)
def test_a_header_from_anywhere_is_refused_in_one_line(change, tmp_path):
    path = tmp_path / "network.safetensors"
    write_classifier(build_classifier(Shape("vgg8", NAMES, 32)), path, {})
    state, header = read_tensors(path)
    assert header["format"] == FORMAT
    write_tensors(path, {n: t.clone() for n, t in state.items()}, {**header, **change})
    with pytest.raises(GanVkdError) as refused:
        read_classifier(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
