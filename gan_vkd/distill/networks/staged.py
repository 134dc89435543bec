"""What the benchmark's networks share: a stem, stages, global average pooling, a classifier."""

import torch
import torch.nn.functional as F
from torch import nn

from gan_vkd.distill.outputs import Outputs


class StagedNetwork(nn.Module):
    """Images → stem → stages → tail → mean over positions → linear classifier.

    The stem and each stage end before a ReLU, which is applied between them, unless
    `activated` says that their outputs are passed on as they are.

    Args:
        stem: [B, 3, S, S] → [B, C, H, W].
        stages: each takes the activated output of the one before.
        feature_dim: channels of what is pooled.
        num_classes: logits.
        tail: of the last stage's activated output.
        activated: whether a ReLU follows the stem and each stage.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: list[nn.Module],
        feature_dim: int,
        num_classes: int,
        tail: nn.Module | None = None,
        activated: bool = True,
    ):
        super().__init__()
        self.stem, self.stages = stem, nn.ModuleList(stages)
        self.tail = nn.Identity() if tail is None else tail
        self.head = nn.Linear(feature_dim, num_classes)
        self.activated = activated

    def forward(self, images: torch.Tensor) -> Outputs:
        """Normalised images [B, 3, S, S] → everything."""
        before, after = [], []
        x = images
        for part in (self.stem, *self.stages):
            before.append(part(x))
            x = F.relu(before[-1]) if self.activated else before[-1]
            after.append(x)
        pooled = self.tail(x).mean(dim=(2, 3))
        return Outputs(self.head(pooled), pooled, tuple(after), self.preactivations(before))

    def preactivations(self, before: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Outputs of the stem and the stages → what `Outputs.preactivations` is."""
        return tuple(before)


def convolution(
    before: int, after: int, size: int = 3, stride: int = 1, groups: int = 1, bias: bool = False
) -> list[nn.Module]:
    """A convolution from `before` to `after` channels that keeps positions, and its batch norm."""
    weights = nn.Conv2d(before, after, size, stride, size // 2, groups=groups, bias=bias)
    return [weights, nn.BatchNorm2d(after)]


def relu_between(blocks: list[nn.Module]) -> nn.Sequential:
    """The blocks with a ReLU after each but the last."""
    return nn.Sequential(*[part for block in blocks for part in (block, nn.ReLU())][:-1])


def initialise(network: nn.Module, head_std: float | None = None) -> None:
    """Convolutions as He et al. (ICCV 2015) by k² times the outgoing channels.

    Args:
        network: changed in place.
        head_std: of the linear layers' normal weights; None leaves them as torch draws them.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels
            nn.init.normal_(layer.weight, std=(2 / fan_out) ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear) and head_std is not None:
            nn.init.normal_(layer.weight, std=head_std)
            nn.init.zeros_(layer.bias)
