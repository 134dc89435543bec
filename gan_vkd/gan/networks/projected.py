"""A discriminator on a frozen network's features: the projected GAN's.

Sauer, Chitta, Müller and Geiger, "Projected GANs Converge Faster", NeurIPS 2021.
"""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn
from torch.nn.utils import parametrize

from gan_vkd.config.core import Group, Recipe
from gan_vkd.distill.frozen import Frozen
from gan_vkd.distill.pyramid import FeaturePyramid
from gan_vkd.engine.batch_norm import BatchNormApart
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.networks.biggan import at_least_fp32
from gan_vkd.gan.networks.layers import SpectralNorm
from gan_vkd.randomness import seed_for

EMBEDDING_DIM = 128  # of a class
JUDGED_DIM = 64  # of each head's features, which the class is compared with
LEAST_SIDE = 4  # pixels, of the map that a head judges
SLOPE = 0.2  # of leaky ReLUs


class ProjectedSettings(Group):
    """A discriminator on a frozen network's features."""

    kind: Literal["projected"] = Field(
        "projected", description="of discriminator (gan-vkd methods)"
    )
    backbone: str = Field(
        "efficientnet-lite0", description="the frozen network: see gan-vkd teacher list"
    )
    weights: str | None = Field(None, description="file of its weights; null: the published ones")
    image_size: Annotated[int, Field(ge=32, le=1024)] | None = Field(
        None, description="pixels it is fed; null: twice the images' side, 224 where that is less"
    )
    channels: Annotated[int, Field(gt=0, le=2**12)] = Field(
        64, description="of the finest mixed features, and the unit of the heads' widths"
    )


class ProjectedDiscriminator(nn.Module):
    """Images and labels → real or generated, from four scales of a frozen network's features.

    Features after the last four stages, the finest first; cross-channel mixing by a random 1x1
    convolution each (c, 2c, 4c, 8c channels); cross-scale mixing from the coarsest to the finest:
    add, upsample bilinearly, a random 3x3 convolution (4c, 2c, c, c channels). The network and
    both mixings are frozen functions of its weights and the seed. A head each: 4x4 convolutions of
    stride 2 with batch norm and leaky ReLU down to 4 to 7 pixels, then a 4x4 convolution to 64
    features at each place, which are compared with a vector of the class: the logits. All
    convolutions of the heads are spectrally normalised.

    Sauer et al., NeurIPS 2021 (section 3, Fig. 2); widths, conditioning and normalisation as in
    their released code, which mixes scales by 1x1 convolutions and sees 224 pixels. Their loss is
    the hinge at every logit, their augmentation color,translation,cutout.

    h, what V_kD and other terms see, is the mean of each head's 64 features over its places: the
    last thing in D before the class, as in BigGAN. The logits are computed from h and from each
    place's difference to it, so that gradients at h are those of all that D says.

    Args:
        pyramid: the frozen network.
        num_classes: classes it judges.
        channels: c.
        batch_size: images whose statistics batch norm takes at a time: real and generated images
            come in one pass and are normalised apart.
        seed: of the mixing.

    Attributes:
        feature_dim: of h, 256.
    """

    paper = "Sauer et al., NeurIPS 2021"
    alone = False  # batch norm
    Settings = ProjectedSettings

    def __init__(
        self,
        pyramid: FeaturePyramid,
        *,
        num_classes: int,
        channels: int,
        batch_size: int,
        seed: int,
    ):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(seed, "mixing"))
            mixing = Mixing(pyramid.shapes, channels)
        self.frozen = Frozen("frozen features", pyramid, mixing)
        self.heads = nn.ModuleList(
            Head(width, side, channels, num_classes, batch_size) for width, side in mixing.shapes
        )
        self.feature_dim = len(self.heads) * JUDGED_DIM
        self.summary = f" on frozen {pyramid.spec}, fed {pyramid.image_size} pixels"

    @classmethod
    def made(
        cls, recipe: Recipe, num_classes: int, image_channels: int
    ) -> "ProjectedDiscriminator":
        """That of a recipe; images may have one channel or three.

        Raises:
            GanVkdError: a network that can't be had or used, or images larger than it is fed.
        """
        own, side = recipe.discriminator, recipe.data.image_size
        size = own.image_size or min(2 * side, max(side, 224))
        if size < side:
            raise GanVkdError(
                f"discriminator.image_size {size}: less than the images' {side} pixels: D would "
                f"not see what G draws: give {side} or more, or null"
            )
        weights = None if own.weights is None else Path(own.weights)
        return cls(
            FeaturePyramid(own.backbone, size, weights, "discriminator"),
            num_classes=num_classes,
            channels=own.channels,
            batch_size=recipe.training.batch_size,
            seed=recipe.training.seed,
        )

    def forward(
        self, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Images [B, C, S, S], -1 to 1, and int64 [B] → (logits [B, L], h [B, feature_dim]); fp32.

        L: the places of all heads, equally many each; 4 where 64 pixels are seen.
        """
        return self.decide(self.features(images), labels)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Images [B, C, S, S], -1 to 1 → what the heads see at each place, [B, 64, L]; fp32."""
        judged = [head(m) for head, m in zip(self.heads, self.frozen(images), strict=True)]
        return torch.cat([features.flatten(2) for features in judged], dim=2)

    def decide(
        self, features: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features [B, 64, L] and int64 [B] → (logits [B, L], h [B, feature_dim])."""
        parts = features.split([head.places for head in self.heads], dim=2)
        pooled = [part.mean(dim=2, keepdim=True) for part in parts]
        h = torch.cat([mean.squeeze(2) for mean in pooled], dim=1)
        logits = [
            head.compare(part - mean + through_h[:, :, None], labels)
            for head, part, mean, through_h in zip(
                self.heads, parts, pooled, h.split(JUDGED_DIM, dim=1), strict=True
            )
        ]
        return torch.cat(logits, dim=1), h


class Mixing(nn.Module):
    """Random mixing across channels, then across scales; see `ProjectedDiscriminator`.

    Args:
        shapes: (channels, side) of the four maps, the finest first.
        channels: c.

    Attributes:
        shapes: the same of what comes out.
    """

    def __init__(self, shapes: tuple[tuple[int, int], ...], channels: int):
        super().__init__()
        before = [channels * 2**i for i in range(len(shapes))]
        after = [channels, *before[:-1]]
        self.across = nn.ModuleList(
            nn.Conv2d(given, wide, 1) for (given, _), wide in zip(shapes, before, strict=True)
        )
        self.scales = nn.ModuleList(
            nn.Conv2d(wide, narrow, 3, padding=1)
            for wide, narrow in zip(before, after, strict=True)
        )
        finest = shapes[0][1]
        self.sides = [2 * finest, *(side for _, side in shapes[:-1])]
        self.shapes = tuple(zip(after, self.sides, strict=True))

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """Maps [B, Cᵢ, Sᵢ, Sᵢ] → mixed ones, each as large as the next finer map that came in."""
        mixed, coarser = [], 0
        for i in reversed(range(len(maps))):
            x = self.across[i](maps[i]) + coarser
            x = F.interpolate(x, size=[self.sides[i]] * 2, mode="bilinear", align_corners=True)
            coarser = self.scales[i](x)
            mixed.append(coarser)
        return mixed[::-1]


class Head(nn.Module):
    """A small discriminator on one map.

    Args:
        in_channels, side: of the map.
        channels: c; its blocks have at least c, the last one 8c, each half of the next.
        num_classes: classes it judges.
        batch_size: see `ProjectedDiscriminator`.

    Attributes:
        places: that it judges, l².
    """

    def __init__(
        self, in_channels: int, side: int, channels: int, num_classes: int, batch_size: int
    ):
        super().__init__()
        halvings = 0
        while side // 2 >= LEAST_SIDE:
            side, halvings = side // 2, halvings + 1
        widths = [max(channels, 8 * channels // 2**i) for i in reversed(range(halvings))]
        self.blocks = nn.Sequential(
            *(Block(*widths, batch_size) for widths in pairwise([in_channels, *widths]))
        )
        last = widths[-1] if widths else in_channels
        kernel = min(LEAST_SIDE, side)
        self.places = (side - kernel + 1) ** 2
        self.judge = _normalised(nn.Conv2d(last, JUDGED_DIM, kernel, bias=False))
        self.embedding = nn.Embedding(num_classes, EMBEDDING_DIM)
        self.of_class = nn.Linear(EMBEDDING_DIM, JUDGED_DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, in, S, S] → features [B, 64, l, l] of each place, fp32."""
        return at_least_fp32(self.judge(self.blocks(x)))

    def compare(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Features [B, 64, l²] and int64 [B] → logits [B, l²]: products with the class, / 8."""
        with torch.autocast(features.device.type, enabled=False):
            wanted = F.leaky_relu(self.of_class(self.embedding(labels)), SLOPE)
            return (features * wanted[:, :, None]).sum(dim=1) / JUDGED_DIM**0.5


class Block(nn.Module):
    """4x4 convolution of stride 2, batch norm, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int, batch_size: int):
        super().__init__()
        self.conv = _normalised(nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1))
        self.norm = BatchNormApart(out_channels, batch_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, in, S, S] → [B, out, S/2, S/2]."""
        return F.leaky_relu(self.norm(self.conv(x)), SLOPE)


def _normalised(layer: nn.Module) -> nn.Module:
    return parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight))
