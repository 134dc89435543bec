"""VGG with batch norm and one linear layer (Simonyan and Zisserman, ICLR 2015)."""

from itertools import pairwise

from torch import nn

from gan_vkd.distill.networks.staged import StagedNetwork, convolution, initialise, relu_between

WIDTHS = (64, 128, 256, 512, 512)


def vgg(depths: tuple[int, ...], num_classes: int) -> StagedNetwork:
    """Five blocks of 3x3 convolutions; the second to the fourth begin with a 2x2 maximum.

    At 32 pixels the last map has 4x4 positions: the benchmark leaves out the last maximum.

    Args:
        depths: convolutions of each block.
        num_classes: logits.
    """

    def block(before: int, after: int, depth: int) -> nn.Sequential:
        widths = (before, *[after] * depth)
        return relu_between(
            [nn.Sequential(*convolution(*pair, bias=True)) for pair in pairwise(widths)]
        )

    stem = block(3, WIDTHS[0], depths[0])
    stages = []
    for number, (before, after) in enumerate(pairwise(WIDTHS), start=1):
        pool = nn.MaxPool2d(2) if number < len(WIDTHS) - 1 else nn.Identity()
        stages.append(nn.Sequential(pool, block(before, after, depths[number])))
    network = StagedNetwork(stem, stages, WIDTHS[-1], num_classes)
    initialise(network, head_std=0.01)
    return network


def vgg8(num_classes: int) -> StagedNetwork:
    """One convolution a block."""
    return vgg((1, 1, 1, 1, 1), num_classes)


def vgg13(num_classes: int) -> StagedNetwork:
    """Two convolutions a block."""
    return vgg((2, 2, 2, 2, 2), num_classes)
