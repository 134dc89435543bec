"""MobileNetV2 (Sandler et al., CVPR 2018) for 32 pixels, with half its channels."""

import torch
from torch import nn

from gan_vkd.distill.networks.staged import StagedNetwork, convolution, initialise

# Channels, blocks and the first block's stride of each group of inverted residuals.
GROUPS = ((16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
STAGES = ((0, 1), (2,), (3, 4), (5, 6))  # the groups of each stage: what the benchmark taps
LAST = 1_280  # channels before pooling, at widths of 1 and below


class InvertedResidual(nn.Module):
    """1x1 to `expansion` times the channels, 3x3 of each channel, 1x1 without a ReLU."""

    def __init__(self, before: int, after: int, stride: int, expansion: int):
        super().__init__()
        inner = before * expansion
        self.body = nn.Sequential(
            *(*convolution(before, inner, 1), nn.ReLU()),
            *(*convolution(inner, inner, 3, stride, groups=inner), nn.ReLU()),
            *convolution(inner, after, 1),
        )
        self.adds = before == after and stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, before, H, W] → [B, after, H / stride, W / stride]."""
        return x + self.body(x) if self.adds else self.body(x)


def mobilenetv2_half(num_classes: int) -> StagedNetwork:
    """Width .5, expansion 6: the benchmark's MobileNetV2."""
    return mobilenetv2(0.5, 6, num_classes)


def mobilenetv2(width: float, expansion: int, num_classes: int) -> StagedNetwork:
    """A stem of stride 2, inverted residuals, a 1x1 convolution to 1,280 channels.

    Args:
        width: multiple of the channels of stem and groups.
        expansion: of all groups but the first, which has 1.
        num_classes: logits.
    """
    before = int(32 * width)
    stem = nn.Sequential(*convolution(3, before, 3, 2), nn.ReLU())
    groups = []
    for number, (channels, blocks, stride) in enumerate(GROUPS):
        after = int(channels * width)
        group = []
        for block in range(blocks):
            factor = 1 if number == 0 else expansion
            group.append(InvertedResidual(before, after, stride if block == 0 else 1, factor))
            before = after
        groups.append(nn.Sequential(*group))
    stages = [nn.Sequential(*(groups[number] for number in numbers)) for numbers in STAGES]
    tail = nn.Sequential(*convolution(before, LAST, 1), nn.ReLU())
    network = StagedNetwork(stem, stages, LAST, num_classes, tail, activated=False)
    initialise(network, head_std=0.01)
    return network
