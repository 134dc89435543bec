"""Vision-aided training: a second discriminator on a frozen network's features beside D."""

from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import nn

from gan_vkd.config.core import Group
from gan_vkd.config.registry import AUGMENTATIONS
from gan_vkd.distill.frozen import Frozen
from gan_vkd.distill.pyramid import FeaturePyramid, two_within
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.networks.biggan import at_least_fp32
from gan_vkd.gan.networks.layers import initialise
from gan_vkd.gan.terms.term import Contribution, Made, Seen, Setting, Term, Together

WIDTH = 256  # of every head
BLUR = (1.0, 3.0, 3.0, 1.0)


class VisionAidedSettings(Group):
    """Vision-aided training's settings."""

    backbone: str = Field(
        "efficientnet-lite0",
        description="the frozen network, by a teacher's spec; published with clip",
    )
    weights: str | None = Field(None, description="file of its weights; null: the published ones")
    image_size: Annotated[int, Field(ge=32, le=1024)] = Field(
        64, description="pixels it is fed; published with 224"
    )
    augment: str = Field("color,translation,cutout", description="policies before it")
    weight: float = Field(1.0, ge=0, le=1e6, description="of its part in D's and in G's loss")
    start: int = Field(2_000, ge=0, le=2**31, description="iteration from which it plays")

    @field_validator("augment")
    @classmethod
    def _known(cls, value: str) -> str:
        for name in [] if value == "none" else value.split(","):
            AUGMENTATIONS.check(name)
        return value


class VisionAidedTerm(Term):
    """Hinge of heads on frozen features: w Σₗ L(Cₗ(F(A x)), Cₗ(F(A G(z)))) for D, and for G.

    F is a frozen network, A an augmentation of its own, Cₗ heads on its features at three depths:
    two inner maps, each judged place by place (3x3 convolution, ReLU, blur, 1x1 convolution of
    stride 2), and its pooled features (a linear layer of 256, ReLU, a linear one plus the product
    with a vector of the class). All are spectrally normalised but the classes' vectors. Each level
    has its own hinge loss, levels are added. The heads train from iteration `start`, with D.

    Kumari, Zhang, Shechtman and Zhu, "Ensembling Off-the-shelf Models for GAN Training", CVPR 2022
    (with one network, and no selection among several); heads, losses and numbers
    as in their BigGAN code, which takes CLIP's blocks 4 and 8 and projected class token of 224
    pixels, enlarged from 32 by repeating pixels (here: bilinear). Of a convolutional network the
    two maps are those of the stages before the last.
    """

    paper = "Kumari et al., CVPR 2022"
    Settings = VisionAidedSettings

    def __init__(self, settings: VisionAidedSettings, setting: Setting):
        super().__init__(settings, setting)
        if settings.image_size < setting.image_size:
            raise GanVkdError(
                f"--with {self.name}: image_size {settings.image_size} is less than the images' "
                f"{setting.image_size} pixels: give {setting.image_size} or more"
            )
        pyramid = FeaturePyramid(
            settings.backbone,
            settings.image_size,
            None if settings.weights is None else Path(settings.weights),
            f"terms.{self.name}",
            two_within,
            pooled=True,
        )
        self.frozen = Frozen("frozen features", pyramid)
        *maps, (dim, _) = pyramid.shapes
        self.levels = nn.ModuleList(PlacesHead(channels) for channels, _ in maps)
        self.last = PooledHead(dim, len(setting.class_names))
        initialise(self, spectral_norm=True)
        policies = () if settings.augment == "none" else settings.augment.split(",")
        self.augmentation = Augmentation(policies)
        self._plays = False  # in the iteration whose steps of D, and then of G, are under way

    def summary(self) -> str:
        """As the plan has it."""
        own = self.settings
        return (
            f"{own.weight:g} x vision-aided heads on frozen {own.backbone}, fed {own.image_size} "
            f"pixels, from iteration {own.start:,}"
        )

    def draw(
        self, shape: tuple[int, ...], size: int, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """What augments the images for the frozen network."""
        return {
            f"{side} {policy}": numbers
            for side in ("real", "fake")
            for policy, numbers in self.augmentation.draw(shape, size, generator).items()
        }

    def phase(self, step: int, iteration: int) -> bool:
        """Whether it plays."""
        return iteration >= self.settings.start

    def discriminator(self, seen: Seen) -> Contribution:
        """What it adds to D's loss."""
        self._plays = self.phase(seen.step, seen.iteration)
        if not self._plays:
            zero = seen.adversarial.new_zeros(())
            return Contribution(zero, {"vision_real": zero, "vision_fake": zero})
        numbers = seen.draws.own[self.name]
        images = {"real": seen.real, "fake": seen.fake}
        sides = [self._augmented(side, x, numbers) for side, x in images.items()]
        judged = self._judge(torch.cat(sides), seen.labels, seen.together)
        levels = [logits.chunk(2) for logits in judged]
        real = sum(F.relu(1 - real).mean() for real, _ in levels)
        fake = sum(F.relu(1 + fake).mean() for _, fake in levels)
        named = {"vision_real": real, "vision_fake": fake}
        return Contribution(self.settings.weight * (real + fake), named)

    def generator(self, made: Made) -> Contribution:
        """What it adds to G's loss."""
        if not self._plays:
            zero = made.logits.new_zeros(())
            return Contribution(zero, {"vision_g": zero})
        images = self._augmented("fake", made.fake, made.draws.own[self.name])
        judged = self._judge(images, made.together(made.draws.labels), made.together)
        value = -sum(logits.mean() for logits in judged)
        return Contribution(self.settings.weight * value, {"vision_g": value})

    def _augmented(
        self, side: str, images: torch.Tensor, numbers: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        own = {name: numbers[f"{side} {name}"] for name in self.augmentation.policies}
        return self.augmentation(images, own)

    def _judge(
        self, images: torch.Tensor, labels: torch.Tensor, together: Together
    ) -> list[torch.Tensor]:
        """A process's own images, the whole batch's labels [n] → its logits of each level, in fp32.

        [n, l, l], and [n] of the last level.
        """
        *maps, pooled = self.frozen(images)
        logits = [together(head(x)) for head, x in zip(self.levels, maps, strict=True)]
        last = self.last.compare(together(self.last(pooled)), labels)
        return [at_least_fp32(value) for value in (*logits, last)]


class PlacesHead(nn.Module):
    """A map → a logit at every other place."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, WIDTH, 3, padding=1)
        self.judge = nn.Conv2d(WIDTH, 1, 1, stride=2)
        row = torch.tensor(BLUR) / sum(BLUR)
        kernel = torch.outer(row, row).expand(WIDTH, 1, -1, -1)
        self.register_buffer("blur", kernel.clone(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, S, S] → [B, S/2, S/2]."""
        x = F.conv2d(F.relu(self.conv(x)), self.blur, padding=1, groups=WIDTH)
        return self.judge(x).squeeze(1)


class PooledHead(nn.Module):
    """Pooled features and a class → a logit."""

    def __init__(self, dim: int, num_classes: int):
        super().__init__()
        self.linear, self.judge = nn.Linear(dim, WIDTH), nn.Linear(WIDTH, 1)
        self.embedding = nn.Embedding(num_classes, WIDTH)
        self.embedding.modulates = True  # no spectral norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, dim] → features [B, 256]."""
        return F.relu(self.linear(x))

    def compare(self, h: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Features [B, 256] and int64 [B] → logits [B]."""
        return self.judge(h).squeeze(1) + (self.embedding(labels) * h).sum(dim=1)
