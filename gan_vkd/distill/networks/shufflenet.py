"""ShuffleNet (Zhang et al., CVPR 2018) and ShuffleNetV2 (Ma et al., ECCV 2018) for 32 pixels."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from gan_vkd.distill.networks.staged import StagedNetwork, convolution, relu_between


class Shuffle(nn.Module):
    """Interleaves the channels of `groups` groups."""

    def __init__(self, groups: int):
        super().__init__()
        self.groups = groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        return F.channel_shuffle(x, self.groups)


class ShuffleUnit(nn.Module):
    """1x1 in groups, shuffled, 3x3 of each channel, 1x1 in groups; added, or, of stride 2, joined.

    Args:
        before, after: channels.
        groups: of the 1x1 convolutions; the first has one where it takes the stem's channels.
        stride: 1, which adds the input, or 2, which joins its average.
        first: whether the input is the stem's.
    """

    def __init__(self, before: int, after: int, groups: int, stride: int, first: bool):
        super().__init__()
        self.joins = stride == 2
        after -= before if self.joins else 0
        inner, own = after // 4, 1 if first else groups
        self.body = nn.Sequential(
            *(*convolution(before, inner, 1, groups=own), nn.ReLU(), Shuffle(own)),
            *(*convolution(inner, inner, 3, stride, groups=inner), nn.ReLU()),
            *convolution(inner, after, 1, groups=groups),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, before, H, W] → [B, after, H / stride, W / stride], before a ReLU."""
        if self.joins:
            return torch.cat([self.body(x), F.avg_pool2d(x, 3, 2, 1)], dim=1)
        return self.body(x) + x


def shufflenetv1(num_classes: int) -> StagedNetwork:
    """Three groups, 240, 480 and 960 channels."""
    widths, stages = (24, 240, 480, 960), []
    for number, (before, after) in enumerate(pairwise(widths)):
        units = [ShuffleUnit(before, after, 3, 2, number == 0)]
        units += [ShuffleUnit(after, after, 3, 1, False) for _ in range((3, 7, 3)[number])]
        stages.append(relu_between(units))
    stem = nn.Sequential(*convolution(3, widths[0], 1))
    return StagedNetwork(stem, stages, widths[-1], num_classes)


class SplitUnit(nn.Module):
    """One half of the channels stays, the other goes 1x1, 3x3 of each channel, 1x1; shuffled."""

    def __init__(self, channels: int):
        super().__init__()
        half = channels // 2
        self.body = nn.Sequential(
            *(*convolution(half, half, 1), nn.ReLU()),
            *convolution(half, half, 3, groups=half),
            *convolution(half, half, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W], not negative → [B, C, H, W], before a ReLU."""
        kept, changed = x.chunk(2, dim=1)
        return F.channel_shuffle(torch.cat([kept, self.body(changed)], dim=1), 2)


class HalvingUnit(nn.Module):
    """Two branches of stride 2, each to half of the channels; joined and shuffled."""

    def __init__(self, before: int, after: int):
        super().__init__()
        half = after // 2
        self.left = nn.Sequential(
            *convolution(before, before, 3, 2, groups=before), *convolution(before, half, 1)
        )
        self.right = nn.Sequential(
            *(*convolution(before, half, 1), nn.ReLU()),
            *convolution(half, half, 3, 2, groups=half),
            *convolution(half, half, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, before, H, W] → [B, after, H / 2, W / 2], before a ReLU."""
        return F.channel_shuffle(torch.cat([self.left(x), self.right(x)], dim=1), 2)


def shufflenetv2(num_classes: int) -> StagedNetwork:
    """116, 232 and 464 channels, a 1x1 convolution to 1,024."""
    widths, last, stages = (24, 116, 232, 464), 1_024, []
    for number, (before, after) in enumerate(pairwise(widths)):
        units = [HalvingUnit(before, after)]
        units += [SplitUnit(after) for _ in range((3, 7, 3)[number])]
        stages.append(relu_between(units))
    stem = nn.Sequential(*convolution(3, widths[0], 1))
    tail = nn.Sequential(*convolution(widths[-1], last, 1), nn.ReLU())
    return StagedNetwork(stem, stages, last, num_classes, tail)
