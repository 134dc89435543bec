"""The zoos' real architectures, with random weights that go through a file."""

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from gan_vkd.distill.backbones import CLIP
from gan_vkd.distill.teachers import load_teacher
from gan_vkd.errors import GanVkdError


def normalised(images, mean, std):
    mean, std = (torch.tensor(values)[:, None, None] for values in (mean, std))
    return ((images + 1) / 2 - mean) / std


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def test_clip_is_its_projection_head(saved, images):
    model, path = saved("clip")
    teacher = load_teacher("clip", weights=path)
    assert (teacher.dim, teacher.image_size) == (512, 224)
    clip = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    with torch.no_grad():
        assert torch.allclose(teacher(images), model(normalised(images, *clip)), atol=1e-4)
    assert teacher(images[:, :, ::7, ::7]).shape == (2, 512)  # 32 pixels are resized


def test_timm_models_give_what_their_classifier_is_given(saved, images):
    model, path = saved("timm:regnety_160")
    teacher = load_teacher("timm:regnety_160", image_size=64, weights=path)
    assert (teacher.dim, teacher.image_size, teacher.pooling) == (3024, 64, "global average")
    small = images[:, :, :64, :64]
    with torch.no_grad():
        logits = model.head.fc(teacher(small))
        assert torch.allclose(logits, model(normalised(small, *IMAGENET)), atol=1e-3)


def test_torchvision_models_give_what_their_classifier_is_given(saved, images):
    model, path = saved("torchvision:resnet50")
    teacher = load_teacher("torchvision:resnet50", weights=path)
    assert (teacher.dim, teacher.image_size) == (2048, 224)
    with torch.no_grad():
        logits = model.fc(teacher(images))
        expected = model(normalised(images, *IMAGENET))
    assert torch.allclose(logits, expected, rtol=1e-3, atol=1e-3)


def test_a_random_teacher_is_always_the_same_and_spreads_its_variance(images):
    before = torch.random.get_rng_state()
    spec = "random:tf_efficientnet_lite0"
    teacher, again = (load_teacher(spec, image_size=64) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (teacher.dim, teacher.image_size) == (1280, 64)
    noise = torch.rand(60, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    features = teacher(noise)
    assert torch.equal(features, again(noise))
    learned = load_teacher("efficientnet-lite0", 64)(noise)
    assert torch.nn.functional.cosine_similarity(features, learned).abs().max() < 0.9
    values = torch.linalg.svdvals((features - features.mean(dim=0)).double()).square()
    assert values.sum() ** 2 / values.square().sum() > 10  # directions
    with pytest.raises(GanVkdError, match="did you mean resnet50"):
        load_teacher("random:resnet5O")
    with pytest.raises(GanVkdError, match="takes none"):
        load_teacher(spec, weights="some.safetensors")


def test_a_teacher_is_frozen(saved, images):
    teacher = load_teacher("torchvision:resnet50", 32, saved("torchvision:resnet50")[1]).train()
    before = [tensor.clone() for tensor in teacher.state_dict().values()]
    seen = images[:, :, :32, :32].clone().requires_grad_()
    assert not teacher(seen).requires_grad
    assert all(map(torch.equal, before, teacher.state_dict().values()))


def test_a_vision_transformer_takes_another_size_if_it_is_built_for_it(saved):
    _, path = saved("clip")
    assert load_teacher("clip", 64, path).image_size == 64
    spec = f"timm:{CLIP}"  # without the head
    assert load_teacher(spec, 64, path).pooling == "class token"


def test_checkpoints_of_other_class_counts_and_wrappings_are_taken(saved, tmp_path):
    _, path = saved("torchvision:resnet50")
    state = load_file(path)
    state["fc.weight"], state["fc.bias"] = torch.ones(7, 2048), torch.ones(7)
    wrapped = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}
    torch.save(wrapped, tmp_path / "mine.pth")
    assert load_teacher("torchvision:resnet50", 32, tmp_path / "mine.pth").dim == 2048
    small = timm.create_model("resnet18", num_classes=7)
    torch.save(small.state_dict(), tmp_path / "small.pt")
    assert load_teacher("timm:resnet18", 32, tmp_path / "small.pt").dim == 512


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("timm:regnety_161", "did you mean regnety_160"),
        ("timm:regnety_160.sw_in1k", "did you mean regnety_160"),
        ("torchvision:resnet51", "did you mean resnet50"),
        ("torchvision:squeezenet1_1", "no pooled output"),
        ("torchvision:fcn_resnet50", "no model"),
    ],
)
def test_unknown_and_unfit_models(spec, words, tmp_path):
    weights = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(1)}, weights)
    with pytest.raises(GanVkdError, match=f"--teacher {spec}.*{words}"):
        load_teacher(spec, weights=weights)


def test_a_model_that_ends_in_a_map_has_no_pooled_output(tmp_path):
    name = "resnet18"
    model = timm.create_model(name, num_classes=0, global_pool="")
    save_file(model.state_dict(), tmp_path / "w.safetensors")

    class Map(nn.Module):
        def forward(self, images):
            return {"pooled": model.forward_features(images)}

    from gan_vkd.distill.backbones import Backbone
    from gan_vkd.distill.teachers import Teacher

    with pytest.raises(GanVkdError, match="no pooled output"):
        Teacher("x", Backbone(Map(), 32, *IMAGENET, "none"))


def test_weights_of_another_model_are_refused(saved, tmp_path):
    _, resnet = saved("torchvision:resnet50")
    for spec in ("clip", "timm:regnety_160", "torchvision:resnet18"):
        with pytest.raises(GanVkdError, match=f"{resnet}: not the weights of {spec}"):
            load_teacher(spec, weights=resnet)
    state = load_file(resnet)
    state["layer1.0.conv1.weight"] = torch.zeros(3, 3)
    save_file(state, tmp_path / "bent.safetensors")
    with pytest.raises(GanVkdError, match=r"bent.safetensors: not the weights.*layer1.0.conv1"):
        load_teacher("torchvision:resnet50", weights=tmp_path / "bent.safetensors")


@pytest.mark.parametrize(
    ("spec", "size"), [("torchvision:vgg11", 16), ("torchvision:vit_b_32", 64)]
)
def test_sizes_that_a_network_cannot_take(spec, size, tmp_path):
    name = spec.partition(":")[2]
    save_file(torchvision.models.get_model(name).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(GanVkdError, match=f"--teacher-size {size}: {spec} can't take it"):
        load_teacher(spec, size, tmp_path / "w.safetensors")


def test_weights_go_with_the_zoos_only(tmp_path):
    for spec in ("efficientnet-lite0", "none", "file:x"):
        with pytest.raises(GanVkdError, match=r"--teacher-weights.*takes none: drop it"):
            load_teacher(spec, weights=tmp_path / "w.safetensors")
