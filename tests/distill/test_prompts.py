"""What stands for a class in a teacher's features."""

import sys
from types import SimpleNamespace

import pytest
import torch

from gan_vkd.distill.prompts import prompt_features, prototypes
from gan_vkd.errors import GanVkdError


def test_prototypes_are_the_classes_means_less_their_mean():
    features = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 1, 3, 3, 0, 1, 3, 3, 3])
    found = prototypes(features.split(3), labels, 4)
    means = {k: features[labels == k].double().mean(0) for k in (0, 1, 3)}
    centre = sum(means.values()) / 3
    for k, mean in means.items():
        assert torch.allclose(found[k].double(), mean - centre, atol=1e-6)
    assert not found[2].any()  # a class without images


def test_prompts_go_through_clip_s_text_tower(monkeypatch):
    asked = []

    class Clip(torch.nn.Module):
        def encode_text(self, tokens):
            assert not self.training
            return torch.full((len(tokens), 512), 2.0, dtype=torch.float16, requires_grad=True)

    def create_model(name, pretrained):
        asked.append((name, pretrained))
        return Clip()

    def tokenize(texts):
        asked.append(texts)
        return torch.zeros(len(texts), 77)

    module = SimpleNamespace(create_model=create_model, get_tokenizer=lambda name: tokenize)
    monkeypatch.setitem(sys.modules, "open_clip", module)
    found = prompt_features(("bird", "fire_engine"), "a {}")
    assert asked == [("ViT-B-32-quickgelu", "openai"), ["a bird", "a fire engine"]]
    assert found.shape == (2, 512)
    assert found.dtype == torch.float32
    assert not found.requires_grad


def test_without_open_clip_or_its_weights_the_way_out_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(GanVkdError, match=r"pip install 'gan_vkd\[clip\]'.*anchors=prototypes"):
        prompt_features(("a", "b"), "a {}")

    def create_model(name, pretrained):
        raise OSError("no\nroute")

    monkeypatch.setitem(sys.modules, "open_clip", SimpleNamespace(create_model=create_model))
    with pytest.raises(GanVkdError, match=r"\(no route\).*anchors=prototypes"):
        prompt_features(("a", "b"), "a {}")
