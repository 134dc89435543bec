"""Frozen vision models whose features the discriminator learns to predict."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from gan_vkd.distill.backbones import (
    Backbone,
    file_backbone,
    lite0_backbone,
    no_pooled_output,
    timm_backbone,
    too_odd,
    torchvision_backbone,
)
from gan_vkd.errors import GanVkdError


class Teacher(nn.Module):
    """A frozen network with its own input size and normalisation.

    Args:
        spec: the name it was asked for by.
        backbone: what it is made of.

    Attributes:
        dim: the feature dimension, dt.
        image_size: pixels it is fed; images are resized to that.
        pooling: what the features are, in words.

    Raises:
        GanVkdError: the backbone gives no [B, dt], or can't take its input size.
    """

    def __init__(self, spec: str, backbone: Backbone):
        super().__init__()
        self.spec, self.image_size, self.pooling = spec, backbone.image_size, backbone.pooling
        self.network = backbone.network.eval().requires_grad_(False)
        self.network.to(memory_format=torch.channels_last)
        for name, values in (("mean", backbone.mean), ("std", backbone.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        try:
            features = self.network(torch.zeros(2, 3, self.image_size, self.image_size))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise too_odd(spec, self.image_size, error) from None
        if not torch.is_tensor(features) or features.ndim != 2:
            raise no_pooled_output(spec)
        self.dim = features.shape[1]

    def train(self, mode: bool = True) -> "Teacher":
        """Does nothing: a teacher stays in eval mode."""
        return self

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images [B, 3, S, S], -1 to 1 → features [B, dim], fp32, no gradient."""
        size = (self.image_size, self.image_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bicubic", antialias=True)
        images = ((images + 1) / 2 - self.mean) / self.std
        return self.network(images.contiguous(memory_format=torch.channels_last)).float()


@dataclass(frozen=True)
class TeacherKind:
    """One entry of the registry.

    Attributes:
        description: what a spec stands for, in words.
        backbone: (spec, pixels or None, file of weights or None) → the network.
        takes_weights: whether a file of weights may be given.
    """

    description: str
    backbone: Callable[[str, int | None, Path | None], Backbone]
    takes_weights: bool = False


def load_teacher(
    spec: str, image_size: int | None = None, weights: Path | None = None
) -> Teacher | None:
    """Load a teacher by its spec.

    Args:
        spec: `none`, or one of `KINDS`.
        image_size: pixels it is fed; default its own choice.
        weights: a file of weights for `timm:`, `torchvision:` and `clip`; default the published
            ones, from a cache or the network.

    Returns:
        The teacher on the CPU, or None for `none`.

    Raises:
        GanVkdError: unknown spec; weights that are missing or not what they should be; a size
            that the network can't take.
    """
    kind = None if spec == "none" else teacher_kind(spec)
    if weights is not None and (kind is None or not kind.takes_weights):
        raise GanVkdError(f"--teacher-weights {weights}: --teacher {spec} takes none: drop it")
    return kind and Teacher(spec, kind.backbone(spec, image_size, weights))


def teacher_kind(spec: str) -> TeacherKind:
    """The registry's entry for a spec.

    Raises:
        GanVkdError: unknown spec, with the nearest known one.
    """
    group, _, name = spec.partition(":")
    patterns = {pattern.partition(":")[0]: pattern for pattern in KINDS if ":" in pattern}
    kind = KINDS.get(patterns.get(group) if name else spec)
    if kind is None:
        close = difflib.get_close_matches(spec, KINDS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(KINDS)}, none"
        raise GanVkdError(f"--teacher {spec}: unknown teacher; {hint}")
    return kind


KINDS = {
    "efficientnet-lite0": TeacherKind(
        "EfficientNet-Lite0, ImageNet weights from the package index, works offline; "
        "1,280 pooled features, fed 64 pixels unless --teacher-size says otherwise",
        lite0_backbone,
    ),
    "clip": TeacherKind(
        "CLIP ViT-B/32, the paper's teacher: 512 features, the projected class token",
        timm_backbone,
        takes_weights=True,
    ),
    "timm:NAME": TeacherKind(
        "any of timm's models before its classifier, as in timm:regnety_160",
        timm_backbone,
        takes_weights=True,
    ),
    "torchvision:NAME": TeacherKind(
        "any of torchvision's classifiers before its last layer, as in torchvision:resnet50",
        torchvision_backbone,
        takes_weights=True,
    ),
    "file:PATH": TeacherKind(
        "a classifier that `gan-vkd teacher fit` has trained; its pooled features", file_backbone
    ),
}
