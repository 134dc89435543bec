"""The projected discriminator against its formulas, written down plainly in float64."""

import pytest
import torch
import torch.nn.functional as F

from gan_vkd.config.layers import discriminator_layer, preset_layer, resolve, with_layer
from gan_vkd.distill.pyramid import FeaturePyramid
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.cast import terms_of
from gan_vkd.gan.networks.projected import Mixing, ProjectedDiscriminator

B = 3


@pytest.fixture(scope="module")
def discriminator():
    torch.manual_seed(0)
    pyramid = FeaturePyramid("random:test_efficientnet", 64, None, "discriminator")
    made = ProjectedDiscriminator(pyramid, num_classes=5, channels=4, batch_size=B, seed=1)
    return made.double()


@pytest.fixture
def images():
    return torch.rand(2 * B, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double() * 2 - 1


LABELS = torch.tensor([0, 1, 4, 4, 2, 0])


def mixed(maps, mixing):
    """From the coarsest to the finest: mix channels, add, upsample, mix 3x3."""
    out, coarser = [], None
    for i in (3, 2, 1, 0):
        weight, bias = mixing.across[i].weight, mixing.across[i].bias
        x = torch.einsum("oi,bihw->bohw", weight[:, :, 0, 0], maps[i]) + bias[:, None, None]
        x = x if coarser is None else x + coarser
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        coarser = F.conv2d(x, mixing.scales[i].weight, mixing.scales[i].bias, padding=1)
        out.insert(0, coarser)
    return out


def over_sigma(layer):
    """W / (uᵀ W v) after one power iteration, as in Miyato et al."""
    parts = layer.parametrizations.weight
    weight = parts.original.detach()
    matrix = weight.flatten(1)
    v = F.normalize(matrix.T @ parts[0].u, dim=0)
    u = F.normalize(matrix @ v, dim=0)
    return weight / (u @ matrix @ v)


def judged(x, labels, head, normalise):
    """A head on a map: (logits, h)."""
    for block in head.blocks:
        x = F.conv2d(x, over_sigma(block.conv), block.conv.bias.detach(), stride=2, padding=1)
        gain, bias = block.norm.weight.detach(), block.norm.bias.detach()
        x = normalise(x, block.norm) * gain[:, None, None] + bias[:, None, None]
        x = torch.where(x > 0, x, 0.2 * x)
    x = F.conv2d(x, over_sigma(head.judge))
    wanted = head.embedding.weight[labels].detach() @ head.of_class.weight.T + head.of_class.bias
    wanted = torch.where(wanted > 0, wanted, 0.2 * wanted).detach()
    return torch.einsum("bchw,bc->bhw", x, wanted).flatten(1) / 8, x.mean(dim=(2, 3))


def apart(x, norm):
    """Real and generated images each by their own statistics."""
    return torch.cat(
        [
            (part - part.mean((0, 2, 3), True))
            / (part.var((0, 2, 3), correction=0, keepdim=True) + norm.eps).sqrt()
            for part in (x[:B], x[B:])
        ]
    )


def running(x, norm):
    mean, variance = norm.running_mean[:, None, None], norm.running_var[:, None, None]
    return (x - mean) / (variance + norm.eps).sqrt()


def test_logits_and_h_are_those_of_the_formulas(discriminator, images):
    pyramid, mixing = discriminator.frozen.modules_held
    with torch.no_grad():
        maps = mixed(pyramid(images), mixing)
        for mode, normalise in ((True, apart), (False, running)):
            discriminator.train(mode)
            expected = [
                judged(x, LABELS, head, normalise)
                for x, head in zip(maps, discriminator.heads, strict=True)
            ]
            logits, h = discriminator(images, LABELS)
            assert torch.allclose(logits, torch.cat([e[0] for e in expected], 1), atol=1e-10)
            assert torch.allclose(h, torch.cat([e[1] for e in expected], 1), atol=1e-10)
    assert h.shape == (2 * B, discriminator.feature_dim) == (2 * B, 256)


class Published(torch.nn.Module):
    """EfficientNet-Lite0's maps of 224 pixels."""

    shapes = ((24, 56), (40, 28), (112, 14), (320, 7))
    spec, image_size, feature_dim, alone = "efficientnet-lite0", 224, 4, False


def test_shapes_are_the_published_ones_where_64_channels_see_224_pixels():
    """Channels and blocks of the released code."""
    mixing = Mixing(Published.shapes, 64)
    assert [layer.out_channels for layer in mixing.across] == [64, 128, 256, 512]
    assert mixing.shapes == ((64, 112), (64, 56), (128, 28), (256, 14))

    made = ProjectedDiscriminator(Published(), num_classes=2, channels=64, batch_size=2, seed=0)
    blocks = [[b.conv.out_channels for b in head.blocks] for head in made.heads]
    assert blocks == [[64, 128, 256, 512], [128, 256, 512], [256, 512], [512]]
    with torch.no_grad():
        maps = mixing([torch.zeros(1, c, side, side) for c, side in Published.shapes])
        for head, x in zip(made.eval().heads, maps, strict=True):
            assert head(x).shape == (1, 64, 4, 4)


def test_each_place_of_each_head_counts_alike(discriminator, images):
    logits, _ = discriminator(images, LABELS)
    assert logits.shape == (2 * B, 4)  # one place a head at 64 pixels


def test_the_adversarial_gradient_at_h_is_that_of_moving_all_places_alike():
    """A head's logits are linear in its features: products with the class, / 8."""
    torch.manual_seed(0)
    pyramid = FeaturePyramid("random:test_efficientnet", 96, None, "discriminator")
    made = ProjectedDiscriminator(pyramid, num_classes=5, channels=4, batch_size=B, seed=1)
    logits, h = made.double()(torch.rand(2 * B, 3, 96, 96).double(), LABELS)
    places = logits.shape[1] // 4
    assert places == 9
    (gradient,) = torch.autograd.grad(logits.sum(), h)
    with torch.no_grad():
        wanted = [
            F.leaky_relu(head.of_class(head.embedding(LABELS)), 0.2) * places / 8
            for head in made.heads
        ]
    assert torch.allclose(gradient, torch.cat(wanted, dim=1), atol=1e-12)


def test_gradients_go_through_the_frozen_features_to_the_images(discriminator, images):
    images.requires_grad_()
    logits, _ = discriminator(images, LABELS)
    for head in range(4):
        (gradient,) = torch.autograd.grad(logits[:, head].sum(), images, retain_graph=True)
        assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_mixing_is_a_function_of_the_seed_alone():
    def mixing(seed):
        torch.manual_seed(seed + 100)
        pyramid = FeaturePyramid("random:test_efficientnet", 64, None, "discriminator")
        made = ProjectedDiscriminator(pyramid, num_classes=2, channels=4, batch_size=2, seed=seed)
        return made.frozen

    one, same, other = mixing(0), mixing(0), mixing(1)
    assert one.digest.equal(same.digest)
    assert not one.digest.equal(other.digest)


WIDTHS = ("generator_widths", "discriminator_widths")  # tiny's are of 16 pixels


@pytest.mark.parametrize("term", ["r1", "diggan"])
def test_terms_that_need_each_image_s_own_gradient_are_refused(term):
    layers = [("tiny", preset_layer("tiny")), ("d", discriminator_layer("projected"))]
    recipe = resolve([*layers, ("with", with_layer(term))])
    with pytest.raises(GanVkdError, match=f"--with {term}: .* has batch norm: leave {term} out"):
        terms_of(recipe, Published(), Augmentation(()), 0, ("a",), 50)


def made(text, **data):
    layers = [("tiny", preset_layer("tiny")), ("d", discriminator_layer(text))]
    layers.append(("size", {"data": data, "gan": dict.fromkeys(WIDTHS)}))
    return ProjectedDiscriminator.made(resolve(layers), 3, 1)


@pytest.mark.parametrize(("side", "fed"), [(16, 32), (32, 64), (128, 224), (256, 256)])
def test_it_is_fed_twice_the_side_or_224(side, fed):
    discriminator = made("projected:backbone=random:test_efficientnet,channels=2", image_size=side)
    assert discriminator.frozen.modules_held[0].image_size == fed


def test_fewer_pixels_than_the_images_have_are_refused():
    with pytest.raises(GanVkdError, match=r"discriminator.image_size 32: less than the images' 64"):
        made("projected:image_size=32", image_size=64)
