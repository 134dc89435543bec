"""Feature maps at four scales."""

from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file

from gan_vkd.distill.backbones import lite0_classifier, lite0_file
from gan_vkd.distill.pyramid import FeaturePyramid
from gan_vkd.errors import GanVkdError


def test_lite0_gives_what_its_last_four_stages_do():
    """After blocks 2, 3, 5 and 7, as the projected GAN takes them; the images as -1 to 1."""
    pyramid = FeaturePyramid("efficientnet-lite0", 64, None, "discriminator").double()
    assert pyramid.shapes == ((24, 16), (40, 8), (112, 4), (320, 2))
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64) * 2 - 1
    model = lite0_classifier(lite0_file()).double()
    x = F.interpolate(images, scale_factor=2, mode="bilinear")
    x = model.bn1(model.conv_stem((127.5 * (x + 1) - 127) / 128))
    expected = []
    for number, block in enumerate(model.blocks):
        x = block(x)
        if number in (1, 2, 4, 6):
            expected.append(x)
    for given, wanted in zip(pyramid(images), expected, strict=True):
        assert torch.allclose(given, wanted, rtol=1e-4, atol=1e-4)


def test_a_transformer_gives_four_blocks_of_one_side():
    pyramid = FeaturePyramid("random:vit_tiny_patch16_224", 224, None, "discriminator")
    assert pyramid.stages == [2, 5, 8, 11]
    assert pyramid.shapes == ((192, 14),) * 4


def test_grey_images_are_three_equal_channels():
    pyramid = FeaturePyramid("random:test_efficientnet", 64, None, "discriminator")
    grey = torch.rand(2, 1, 32, 32)
    for one, three in zip(pyramid(grey), pyramid(grey.expand(-1, 3, -1, -1)), strict=True):
        assert torch.equal(one, three)


def test_gradients_reach_the_images():
    pyramid = FeaturePyramid("random:test_efficientnet", 64, None, "discriminator")
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    sum(m.sum() for m in pyramid(images)).backward()
    assert (images.grad.abs().amax(dim=(1, 2, 3)) > 0).all()


@pytest.mark.parametrize(
    ("spec", "size", "words"),
    [
        ("efficientnet-lit0", 64, ["did you mean", "discriminator.backbone"]),
        ("timm:efficientnet_lite00", 64, ["discriminator.backbone", "timm has no model"]),
        ("random:alexnet", 64, ["discriminator.backbone"]),
    ],
)
def test_what_can_t_be_had_is_named_by_its_field(spec, size, words):
    with pytest.raises(GanVkdError) as error:
        FeaturePyramid(spec, size, None, "discriminator")
    assert "--teacher" not in str(error.value).replace("gan-vkd teacher", "")
    for word in words:
        assert word in str(error.value)


def test_a_network_without_feature_maps_is_refused(tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    save_file(torchvision.models.resnet18().state_dict(), path)
    with pytest.raises(GanVkdError, match=r"discriminator.backbone torchvision:resnet18: gives no"):
        FeaturePyramid("torchvision:resnet18", 64, path, "discriminator")


def test_a_file_of_weights_is_what_it_gives(tmp_path: Path):
    model = timm.create_model("test_resnet", num_classes=3).eval()
    path = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), path)
    pyramid = FeaturePyramid("timm:test_resnet.r160_in1k", 64, path, "discriminator")
    given = pyramid.model.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(given[name], tensor), name
