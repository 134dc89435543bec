"""Residual networks for small images (He et al., CVPR 2016), and wide ones (2016)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from gan_vkd.distill.networks.staged import StagedNetwork, convolution, initialise, relu_between


class Residual(nn.Module):
    """A body and a shortcut, added; before the ReLU that follows."""

    def __init__(self, body: nn.Sequential, before: int, after: int, stride: int):
        super().__init__()
        self.body = body
        same = before == after and stride == 1
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(*convolution(before, after, 1, stride))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, before, H, W] → [B, after, H / stride, W / stride]."""
        return self.body(x) + self.shortcut(x)


def _basic(before: int, after: int, stride: int) -> Residual:
    """Two 3x3 convolutions."""
    body = [*convolution(before, after, 3, stride), nn.ReLU(), *convolution(after, after)]
    return Residual(nn.Sequential(*body), before, after, stride)


def _bottleneck(before: int, after: int, stride: int) -> Residual:
    """1x1 to a quarter of the channels, 3x3, 1x1."""
    inner = after // 4
    body = [*convolution(before, inner, 1), nn.ReLU(), *convolution(inner, inner, 3, stride)]
    body += [nn.ReLU(), *convolution(inner, after, 1)]
    return Residual(nn.Sequential(*body), before, after, stride)


def _resnet(
    block: type, widths: tuple[int, ...], depths: tuple[int, ...], num_classes: int
) -> StagedNetwork:
    """A 3x3 stem, then stages, of which all but the first halve the sides."""
    stages = []
    for number, (before, after) in enumerate(pairwise(widths)):
        first = block(before, after, 1 if number == 0 else 2)
        stages.append(
            relu_between([first, *(block(after, after, 1) for _ in range(depths[number] - 1))])
        )
    stem = nn.Sequential(*convolution(3, widths[0]))
    network = StagedNetwork(stem, stages, widths[-1], num_classes)
    initialise(network)
    return network


def resnet8(num_classes: int) -> StagedNetwork:
    """One basic block a stage, of 16, 32 and 64 channels."""
    return _resnet(_basic, (16, 16, 32, 64), (1, 1, 1), num_classes)


def resnet20(num_classes: int) -> StagedNetwork:
    """Three basic blocks a stage, of 16, 32 and 64 channels."""
    return _resnet(_basic, (16, 16, 32, 64), (3, 3, 3), num_classes)


def resnet8x4(num_classes: int) -> StagedNetwork:
    """One basic block a stage, four times as wide as ResNet-8."""
    return _resnet(_basic, (32, 64, 128, 256), (1, 1, 1), num_classes)


def resnet32x4(num_classes: int) -> StagedNetwork:
    """Five basic blocks a stage, four times as wide as ResNet-32."""
    return _resnet(_basic, (32, 64, 128, 256), (5, 5, 5), num_classes)


def resnet50(num_classes: int) -> StagedNetwork:
    """ResNet-50 with a 3x3 stem that keeps the sides, for 32 pixels."""
    return _resnet(_bottleneck, (64, 256, 512, 1024, 2048), (3, 4, 6, 3), num_classes)


class WideBlock(nn.Module):
    """BN, ReLU, 3x3, BN, ReLU, 3x3, added to the input (or to a 1x1 map of its activation)."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(before)
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
        )
        same = before == after and stride == 1
        self.shortcut = None if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, before, H, W] → [B, after, H / stride, W / stride]."""
        activated = F.relu(self.norm(x))
        kept = x if self.shortcut is None else self.shortcut(activated)
        return kept + self.body(activated)


class WideResNet(StagedNetwork):
    """Zagoruyko and Komodakis, BMVC 2016: blocks that normalise first, so maps have no ReLU.

    Args:
        depth: 6 n + 4, n blocks a stage.
        widen: the stages have 16, 32 and 64 times as many channels.
        num_classes: logits.
    """

    def __init__(self, depth: int, widen: int, num_classes: int):
        widths = (16, 16 * widen, 32 * widen, 64 * widen)
        blocks = (depth - 4) // 6
        stages = []
        for number, (before, after) in enumerate(pairwise(widths)):
            first = WideBlock(before, after, 1 if number == 0 else 2)
            stages.append(
                nn.Sequential(first, *(WideBlock(after, after, 1) for _ in range(blocks - 1)))
            )
        stem = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        tail = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU())
        super().__init__(stem, stages, widths[-1], num_classes, tail, activated=False)
        initialise(self)
        nn.init.zeros_(self.head.bias)

    def preactivations(self, before: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """In eval mode the stages' outputs after the next batch norm, as a teacher's are compared.

        While it trains they are the outputs themselves: a batch norm would count a batch twice.
        """
        if self.training:
            return tuple(before)
        norms = [*(stage[0].norm for stage in self.stages), self.tail[0]]
        return tuple(norm(x) for norm, x in zip(norms, before, strict=True))


def wrn_40_2(num_classes: int) -> WideResNet:
    """Depth 40, twice as wide."""
    return WideResNet(40, 2, num_classes)
