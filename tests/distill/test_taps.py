"""What a teacher gives beside its pooled features, of the zoos' real architectures."""

import pytest
import torch
import torch.nn.functional as F

from gan_vkd.distill.small_resnet import SmallResNet, save_classifier
from gan_vkd.distill.teachers import load_teacher
from gan_vkd.errors import GanVkdError

MEAN, STD = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
NORMALISED = ((IMAGES + 1) / 2 - MEAN) / STD


def close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())


MAPS = {
    "torchvision:resnet18": lambda model, x: torch.nn.Sequential(*list(model.children())[:-2])(x),
    "torchvision:vgg11": lambda model, x: model.features(x),
    "torchvision:convnext_tiny": lambda model, x: model.features(x),
    "torchvision:swin_t": lambda model, x: model.norm(model.features(x)).permute(0, 3, 1, 2),
    "timm:resnet18": lambda model, x: torch.nn.Sequential(*list(model.children())[:-2])(x),
    "timm:densenet121": lambda model, x: model.features(x),
    "timm:mambaout_femto": lambda model, x: model.stages(model.stem(x)).permute(0, 3, 1, 2),
}


@pytest.mark.parametrize("spec", MAPS)
def test_the_map_before_pooling_has_its_channels_first(spec, saved):
    model, path = saved(spec)
    teacher = load_teacher(spec, 64, path)
    assert teacher.taps == ("pooled", "map")
    seen = teacher.features(IMAGES, ("map", "pooled"))
    with torch.no_grad():
        assert close(seen["map"], MAPS[spec](model, NORMALISED))
    assert list(seen) == ["map", "pooled"]
    assert torch.equal(seen["pooled"], teacher(IMAGES))
    if "resnet" in spec or "densenet" in spec:
        assert close(seen["map"].mean(dim=(2, 3)), seen["pooled"])


def test_lite0_and_fitted_classifiers_have_maps(tmp_path):
    save_classifier(SmallResNet(("a", "b"), 16, (8, 12)).eval(), tmp_path / "own.safetensors", {})
    for spec in ("efficientnet-lite0", f"file:{tmp_path / 'own.safetensors'}"):
        teacher = load_teacher(spec, 64)
        seen = teacher.features(IMAGES, teacher.taps)
        assert seen.keys() == {"pooled", "map"}
        assert close(seen["map"].mean(dim=(2, 3)), seen["pooled"])


@pytest.mark.parametrize("spec", ["clip", "timm:deit_tiny_distilled_patch16_224"])
def test_tokens_of_timm_s_transformers_are_the_patches(spec, saved):
    model, path = saved(spec)
    teacher = load_teacher(spec, weights=path)
    assert teacher.taps == ("pooled", "tokens")
    with torch.no_grad():
        prepared = teacher._prepared(IMAGES)
        (expected,) = model.forward_intermediates(
            prepared, indices=1, norm=True, output_fmt="NLC", intermediates_only=True
        )
    tokens = teacher.features(IMAGES, ("tokens",))["tokens"]
    assert tokens.shape[1] == (224 // model.patch_embed.patch_size[0]) ** 2
    assert close(tokens, expected)


def test_tokens_of_torchvision_s_transformers_are_the_patches(saved):
    model, path = saved("torchvision:vit_b_32")
    teacher = load_teacher("torchvision:vit_b_32", weights=path)
    assert teacher.taps == ("pooled", "tokens")
    seen = teacher.features(IMAGES, ("pooled", "tokens"))
    with torch.no_grad():
        patches = model._process_input(teacher._prepared(IMAGES))
        everything = model.encoder(torch.cat([model.class_token.expand(2, -1, -1), patches], dim=1))
    assert close(seen["tokens"], everything[:, 1:])
    assert close(seen["pooled"], everything[:, 0])


def test_submodules_give_their_own_output_even_if_it_is_written_over(saved):
    spec = "torchvision:resnet18"
    model, path = saved(spec)
    teacher = load_teacher(spec, 64, path)
    seen = teacher.features(IMAGES, ("layer2", "bn1", "pooled"))
    with torch.no_grad():
        normed = model.bn1(model.conv1(NORMALISED))
        second = model.layer2(model.layer1(model.maxpool(F.relu(normed))))
    assert (seen["bn1"] < 0).any()  # an in-place ReLU follows
    assert close(seen["bn1"], normed)
    assert close(seen["layer2"], second)
    assert torch.equal(seen["pooled"], teacher(IMAGES))
    assert not teacher.network.model.layer2._forward_hooks  # all is as before


@pytest.mark.parametrize("tap", ["pooled", "map", "layer3"])
def test_gradients_flow_to_the_images_alone(tap, saved):
    spec = "torchvision:resnet18"
    model, path = saved(spec)
    teacher = load_teacher(spec, 48, path)
    ours, theirs = (IMAGES.clone().requires_grad_() for _ in range(2))
    assert not teacher.features(ours, (tap,))[tap].requires_grad
    seen = teacher.features(ours, (tap,), gradient=True)[tap]
    seen.square().sum().backward()
    resized = F.interpolate(theirs, (48, 48), mode="bicubic", antialias=True)
    x = ((resized + 1) / 2 - MEAN) / STD
    for name, child in list(model.named_children())[:-1]:
        x = child(x)
        if name == tap or (name, tap) in {("layer4", "map"), ("avgpool", "pooled")}:
            break
    x.square().sum().backward()
    assert close(ours.grad, theirs.grad)
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    with torch.no_grad():
        assert not teacher.features(ours, (tap,), gradient=True)[tap].requires_grad


@pytest.mark.parametrize(
    ("spec", "tap", "words"),
    [
        ("torchvision:vit_b_32", "map", "choose pooled, tokens, or the path"),
        ("torchvision:densenet121", "map", "choose pooled, or the path of a submodule"),
        ("timm:resnet18", "tokens", "choose pooled, map, or the path"),
        ("timm:resnet18", "layer5", "such as .*layer4"),
        ("timm:resnet18", "fc", "that it runs"),  # its classifier
        ("timm:resnet18", "", "choose pooled"),
    ],
)
def test_a_tap_that_is_not_there_is_one_clear_line(spec, tap, words, saved):
    size = None if "vit" in spec else 64
    teacher = load_teacher(spec, size, saved(spec)[1])
    with pytest.raises(GanVkdError, match=f"--teacher {spec}: has no tap '{tap}': .*{words}"):
        teacher.features(IMAGES, ("pooled", tap))


def test_what_has_no_map_by_name_has_it_by_path(saved):
    spec = "torchvision:densenet121"
    teacher = load_teacher(spec, 64, saved(spec)[1])
    seen = teacher.features(IMAGES, ("features", "pooled"))
    assert close(F.relu(seen["features"]).mean(dim=(2, 3)), seen["pooled"])
