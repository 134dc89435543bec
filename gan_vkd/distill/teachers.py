"""Frozen vision models whose features the discriminator learns to predict."""

import difflib
from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from gan_vkd.data.images import rgb
from gan_vkd.distill.backbones import (
    Backbone,
    file_backbone,
    lite0_backbone,
    no_pooled_output,
    random_backbone,
    timm_backbone,
    too_odd,
    torchvision_backbone,
)
from gan_vkd.distill.taps import outputs
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
        taps: those that it has by name, of `pooled`, `map` and `tokens`.

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
            taps = self.network(torch.zeros(2, 3, self.image_size, self.image_size))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise too_odd(spec, self.image_size, error) from None
        if not torch.is_tensor(taps["pooled"]) or taps["pooled"].ndim != 2:
            raise no_pooled_output(spec)
        self.dim, self.taps = taps["pooled"].shape[1], tuple(taps)

    def train(self, mode: bool = True) -> "Teacher":
        """Does nothing: a teacher stays in eval mode."""
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images [B, C, S, S], -1 to 1 → pooled features [B, dim], fp32, no gradient."""
        return self.features(images)["pooled"]

    def features(
        self, images: torch.Tensor, taps: Collection[str] = ("pooled",), gradient: bool = False
    ) -> dict[str, Any]:
        """The network's features of images, at one or more places, in one pass.

        Args:
            images: [B, C, S, S], -1 to 1, of any size; C = 3, or 1 for grey, which the network
                sees as three equal channels.
            taps: `pooled` [B, dim]; `map` [B, C, H, W], the last feature map before pooling;
                `tokens` [B, T, d], a transformer's last, without class and register tokens; or the
                path of a submodule of `network.model`, such as `blocks.3`.
            gradient: whether it flows to the images. The weights stay frozen.

        Returns:
            One entry per tap: the named ones in fp32, a submodule's output unchanged (that of its
            last call, if there are several).

        Raises:
            GanVkdError: a tap that the network does not have.
        """
        paths = [tap for tap in taps if tap not in self.taps]
        known = dict(self.network.model.named_modules()).keys() - {""}
        for path in paths:
            if path not in known:
                raise self._no_tap(path, known)
        with nullcontext() if gradient else torch.no_grad():
            with outputs(self.network.model, paths) as found:
                named = self.network(self._prepared(images))
            found |= {tap: features.float() for tap, features in named.items()}
        for path in paths:
            if path not in found:
                raise self._no_tap(path, known - {path})
        return {tap: found[tap] for tap in taps}

    def _prepared(self, images: torch.Tensor) -> torch.Tensor:
        """Images as in `features` → of the size and values that the network was trained on."""
        images = rgb(images.float())
        size = (self.image_size, self.image_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bicubic", antialias=True)
        images = ((images + 1) / 2 - self.mean) / self.std
        return images.contiguous(memory_format=torch.channels_last)

    def _no_tap(self, tap: str, known: Iterable[str]) -> GanVkdError:
        near = difflib.get_close_matches(tap, known, n=3, cutoff=0)
        return GanVkdError(
            f"--teacher {self.spec}: has no tap {tap!r}: choose {', '.join(self.taps)}, or the "
            f"path of a submodule that it runs, such as {', '.join(near)}"
        )


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
        image_size: side of its input, pixels; default: the teacher's own.
        weights: a file of weights for `timm:`, `torchvision:` and `clip`; default the published
            ones, from a cache or the network.

    Returns:
        The teacher on the CPU, or None for `none`.

    Raises:
        GanVkdError: unknown spec; missing or unsuitable weights; an input size that the
            network does not support.
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
    "random:NAME": TeacherKind(
        "any of timm's models at random weights: one that has learned nothing, as a control",
        random_backbone,
    ),
    "file:PATH": TeacherKind(
        "a classifier that `gan-vkd teacher fit` has trained; its pooled features", file_backbone
    ),
}
