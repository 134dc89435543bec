"""A frozen network's feature maps at several depths.

Any model of timm gives them: stages of a convolutional network, each half the side of the one
before, or blocks of a transformer, all of one side.
"""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from gan_vkd.data.images import rgb
from gan_vkd.distill.teachers import teacher_kind
from gan_vkd.errors import GanVkdError

Depths = Callable[[list[int]], list[int]]


def four_scales(sides: list[int]) -> list[int]:
    """The last four stages of a convolutional network, or blocks at each quarter of a transformer.

    Args:
        sides: by how much the map after each stage or block is smaller than the image.
    """
    count = len(sides)
    if _one_side(sides):
        return [count * (i + 1) // 4 - 1 for i in range(4)]
    return list(range(count - 4, count))


def two_within(sides: list[int]) -> list[int]:
    """The two stages before the last of a convolutional network; a transformer's thirds but the
    last: after blocks 4 and 8 of 12.
    """
    count = len(sides)
    return [count // 3 - 1, 2 * count // 3 - 1] if _one_side(sides) else [count - 3, count - 2]


def _one_side(sides: list[int]) -> bool:
    return len(set(sides)) == 1


class FeaturePyramid(nn.Module):
    """Images → feature maps at several depths, the first ones first; gradients flow to the images.

    Args:
        spec: the network, by a teacher's spec (`gan-vkd teacher list`).
        image_size: pixels it is fed; images are resized to that, bilinearly.
        weights: a file of its weights; None for the published ones.
        field: the group of settings that names all this, for messages.
        depths: which stages or blocks give maps.
        pooled: whether the pooled features come last, as a teacher gives them.

    Attributes:
        shapes: (channels, side) of each map, and (d, 1) of the pooled features.

    Raises:
        GanVkdError: an unknown network, weights out of reach, one without enough feature maps, or
            an input size that it can't take.
    """

    def __init__(
        self,
        spec: str,
        image_size: int,
        weights: Path | None,
        field: str,
        depths: Depths = four_scales,
        pooled: bool = False,
    ):
        super().__init__()
        self.spec, self.image_size = spec, image_size
        try:
            backbone = teacher_kind(spec).backbone(spec, image_size, weights)
        except GanVkdError as error:
            raise GanVkdError(_renamed(str(error), field)) from None
        self.model = getattr(backbone.network, "model", None)
        if not hasattr(self.model, "forward_intermediates") or len(self.model.feature_info) < 4:
            raise GanVkdError(
                f"{field}.backbone {spec}: gives no feature maps: choose a model of timm, such as "
                "efficientnet-lite0, clip or timm:resnet50"
            )
        self.head = backbone.network.head  # whether the last layer is a projection to keep
        self.stages = depths([stage["reduction"] for stage in self.model.feature_info])
        self.pooled = pooled
        for name, values in (("mean", backbone.mean), ("std", backbone.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        self.eval().requires_grad_(False)
        try:
            with torch.no_grad():
                maps = self(torch.zeros(2, 3, image_size, image_size))
        except (AssertionError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:150]
            raise GanVkdError(
                f"{field}.image_size {image_size}: {spec} can't take it ({reason})"
            ) from None
        self.shapes = tuple((m.shape[1], m.shape[-1] if m.ndim == 4 else 1) for m in maps)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images [B, C, S, S], -1 to 1, C = 1 or 3 → maps [B, Cᵢ, Sᵢ, Sᵢ], and pooled [B, d]."""
        images = rgb(images)
        size = (self.image_size, self.image_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bilinear", align_corners=False)
        images = ((images + 1) / 2 - self.mean) / self.std
        found = self.model.forward_intermediates(
            images.contiguous(memory_format=torch.channels_last),
            indices=self.stages,
            stop_early=not self.pooled,
            intermediates_only=not self.pooled,
        )
        if not self.pooled:
            return found
        last, maps = found
        return [*maps, self.model.forward_head(last, pre_logits=not self.head)]


def _renamed(message: str, field: str) -> str:
    """A message about a teacher's flags as one about the settings of `field`."""
    for flag, name in (
        ("--teacher-weights", f"{field}.weights"),
        ("--teacher-size", f"{field}.image_size"),
        ("--teacher", f"{field}.backbone"),
    ):
        message = message.replace(flag, name)
    return message
