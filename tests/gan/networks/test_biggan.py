import pytest
import torch

from gan_vkd.gan.networks.biggan import Discriminator, Generator


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_shared_cifar_recipe_has_its_parameter_counts():
    """BigGAN-PyTorch's CIFAR networks with 100 classes: G 4.58 M, D 4.23 M (counted by hand)."""
    generator = Generator(num_classes=100, image_size=32, channels=64, z_dim=128)
    discriminator = Discriminator(num_classes=100, image_size=32, channels=64)
    block = 2 * (256 * 256 * 9 + 256) + (256 * 256 + 256) + 4 * 100 * 256
    assert parameters(generator) == (128 + 1) * 256 * 16 + 3 * block + 512 + 256 * 27 + 3
    first = (3 * 256 * 9 + 256) + (256 * 256 * 9 + 256) + (3 * 256 + 256)
    same = 2 * (256 * 256 * 9 + 256)
    assert parameters(discriminator) == first + 3 * same + (256 * 256 + 256) + 257 + 100 * 256
    assert [b.downsample for b in discriminator.blocks] == [True, True, False, False]


@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize("narrow", [False, True])
def test_shapes_and_ranges(size, narrow):
    blocks = {16: 3, 32: 4, 64: 5}[size]
    widths = {
        "generator": tuple(range(blocks, 0, -1)) if narrow else None,
        "discriminator": tuple(range(1, blocks + 1)) if narrow else None,
    }
    shape = {"num_classes": 7, "image_size": size, "channels": 4}
    generator = Generator(**shape, z_dim=16, widths=widths["generator"])
    discriminator = Discriminator(**shape, widths=widths["discriminator"])
    labels = torch.arange(5)
    images = generator(torch.randn(5, 16), labels)
    assert images.shape == (5, 3, size, size)
    assert images.abs().max() <= 1
    logits, h = discriminator(images, labels)
    assert logits.shape == (5,)
    assert h.shape == (5, discriminator.feature_dim)
    assert (h >= 0).all()
    assert discriminator.blocks[-1](torch.zeros(1, *_input_of_last(discriminator))).shape[-1] == 8


def _input_of_last(discriminator: Discriminator) -> tuple[int, int, int]:
    return discriminator.blocks[-1].conv1.in_channels, 8, 8


def test_classes_matter_to_both_networks():
    shape = {"num_classes": 3, "image_size": 16, "channels": 4}
    generator, discriminator = Generator(**shape, z_dim=8), Discriminator(**shape)
    z = torch.randn(1, 8).expand(3, -1)
    images = generator(z, torch.arange(3))
    assert not torch.allclose(images[0], images[1])
    same = images[:1].expand(3, -1, -1, -1)
    logits, _ = discriminator(same, torch.arange(3))
    assert logits.unique().numel() == 3
