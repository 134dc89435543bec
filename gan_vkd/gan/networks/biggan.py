"""BigGAN's generator and discriminator for small images.

With the default widths and 32 pixels they are the networks of the CIFAR recipe that
BigGAN-PyTorch, DiffAugment, LeCam and KD-DLGAN share. Other sizes follow the same family: the
generator doubles a small map up to the image; the discriminator halves it down to 8x8 or a little
more and adds two blocks there (see `gan_vkd.config.sizes`).
"""

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from gan_vkd.config.core import Group, Recipe
from gan_vkd.config.sizes import discriminator_sides, generator_sides
from gan_vkd.config.sizes import widths as flat_widths
from gan_vkd.engine.batch_norm import BatchNorm
from gan_vkd.gan.networks.layers import (
    ConditionalBatchNorm,
    DiscriminatorBlock,
    GeneratorBlock,
    initialise,
)


def at_least_fp32(x: torch.Tensor) -> torch.Tensor:
    """The same numbers in fp32, or in float64 where they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class BigGANSettings(Group):
    """BigGAN's discriminator; its widths stand under gan."""

    kind: Literal["biggan"] = Field("biggan", description="of discriminator (gan-vkd methods)")


class Generator(nn.Module):
    """Latents and labels → images.

    Args:
        num_classes: classes it can draw.
        image_size: pixels, one of `gan_vkd.config.sizes.SIZES`.
        channels: the unit of width (ch).
        z_dim: latent dimension.
        widths: multipliers of `channels` for the first map and each block; default flat.
        spectral_norm: whether weights are spectrally normalised.
        image_channels: of the images, 3 or, for grey ones, 1.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: int,
        channels: int,
        z_dim: int,
        widths: tuple[int, ...] | None = None,
        spectral_norm: bool = True,
        image_channels: int = 3,
    ):
        super().__init__()
        sides = generator_sides(image_size)
        widths = widths or flat_widths(sides)
        self.shape = {
            "num_classes": num_classes,
            "image_size": image_size,
            "channels": channels,
            "z_dim": z_dim,
            "widths": list(widths),
            "image_channels": image_channels,
        }
        sizes = [channels * width for width in widths]
        self.first_side = sides[0]
        self.linear = nn.Linear(z_dim, sizes[0] * self.first_side**2)
        self.blocks = nn.ModuleList(
            GeneratorBlock(before, after, num_classes) for before, after in pairwise(sizes)
        )
        self.norm = BatchNorm(sizes[-1])
        self.to_rgb = nn.Conv2d(sizes[-1], image_channels, 3, padding=1)
        initialise(self, spectral_norm)

    def forward(self, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Latents float [B, z_dim] and labels → images [B, C, S, S], -1 to 1.

        Labels are int64 [B], or float [B, classes]: each class's share in a mixed embedding.
        """
        x = self.linear(latents).unflatten(1, (-1, self.first_side, self.first_side))
        x = x.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x, labels)
        return torch.tanh(self.to_rgb(F.relu(self.norm(x))))

    def batch_norms(self) -> list[BatchNorm]:
        """Every layer with running statistics."""
        inner = [m.norm for m in self.modules() if isinstance(m, ConditionalBatchNorm)]
        return [*inner, self.norm]


class Discriminator(nn.Module):
    """Images and labels → real or generated (projection discriminator, Miyato & Koyama 2018).

    Attributes:
        slicing: whether the logits' gradient leaves the direction of the last layer alone.

    Args:
        num_classes: classes it judges.
        image_size: pixels, one of `gan_vkd.config.sizes.SIZES`.
        channels: the unit of width (ch).
        widths: multipliers of `channels`, one a block; default flat.
        image_channels: of the images, 3 or, for grey ones, 1.
    """

    paper = "Brock et al., ICLR 2019"
    Settings = BigGANSettings
    alone = True  # whether what it says of an image depends on that image alone
    summary = ""  # of what the plan of a run says of it beside its parameters

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: int,
        channels: int,
        widths: tuple[int, ...] | None = None,
        image_channels: int = 3,
    ):
        super().__init__()
        sides = discriminator_sides(image_size)
        widths = widths or flat_widths(sides)
        sizes = [image_channels, *(channels * width for width in widths)]
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(before, after, first=i == 0, downsample=i < len(sides) - 2)
            for i, (before, after) in enumerate(pairwise(sizes))
        )
        self.feature_dim = sizes[-1]
        self.linear = nn.Linear(sizes[-1], 1)
        self.embedding = nn.Embedding(num_classes, sizes[-1])
        self.slicing = False
        initialise(self, spectral_norm=True)

    @classmethod
    def made(cls, recipe: Recipe, num_classes: int, image_channels: int) -> "Discriminator":
        """That of a recipe."""
        return cls(
            num_classes=num_classes,
            image_size=recipe.data.image_size,
            channels=recipe.gan.channels,
            widths=recipe.gan.discriminator_widths,
            image_channels=image_channels,
        )

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Images [B, C, S, S], -1 to 1 → h [B, feature_dim]: sums over the last map, fp32."""
        x = images.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x)
        return at_least_fp32(F.relu(x)).sum(dim=(2, 3))

    def judge(self, h: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Features h [B, feature_dim] and int64 [B] → logits [B], high for real; fp32.

        With `slicing` the gradient leaves the direction of the class's weights as it is.
        """
        with torch.autocast(h.device.type, enabled=False):
            if not self.slicing:
                return self.linear(h).squeeze(1) + (self.embedding(labels) * h).sum(1)
            length, direction = self._sliced(labels)
            return length * (direction.detach() * h).sum(1) + self.linear.bias

    def along(self, h: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """⟨s ω, h⟩ [B] with the length s of the class's weights held: trains their direction ω."""
        with torch.autocast(h.device.type, enabled=False):
            length, direction = self._sliced(labels)
            return length.detach() * (direction * h).sum(1)

    def _sliced(self, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Each label's weights: their length [B] and direction [B, feature_dim]."""
        weights = self.linear.weight + self.embedding(labels)
        length = weights.norm(dim=1).clamp_min(1e-12)
        return length, weights / length[:, None]

    def forward(
        self, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and labels → (logits [B], h [B, feature_dim])."""
        return self.decide(self.features(images), labels)

    def decide(
        self, features: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features h [B, feature_dim] and labels → (logits [B], h)."""
        return self.judge(features, labels), features
