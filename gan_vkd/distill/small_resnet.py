"""A small residual classifier: the bundled evaluators, and the result of `teacher fit`."""

import json
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from gan_vkd.errors import GanVkdError
from gan_vkd.tensors import UNREADABLE, read_tensors, write_tensors

FORMAT = "gan_vkd-classifier-1"
MOST_STAGES, MOST_BLOCKS, LARGEST_IMAGE = 8, 16, 1024  # of a file from anywhere


def _conv(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


class Residual(nn.Module):
    """x + two 3x3 convolutions of x."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(_conv(channels, channels), _conv(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        return x + self.body(x)


class SmallResNet(nn.Module):
    """A stem, then for each further width a strided convolution and residual blocks.

    Args:
        class_names: what the logits stand for.
        image_size: side of the images it was, or will be, trained on.
        widths: channels of the stem and of each stage; the last is the feature dimension.
        blocks: residual blocks of each stage after the stem; default one each.

    Raises:
        ValueError: not one number of blocks a stage.
    """

    def __init__(
        self,
        class_names: tuple[str, ...],
        image_size: int,
        widths: tuple[int, ...] = (32, 48, 96, 192),
        blocks: tuple[int, ...] | None = None,
    ):
        super().__init__()
        self.class_names, self.image_size, self.widths = class_names, image_size, widths
        self.blocks = (1,) * (len(widths) - 1) if blocks is None else blocks
        self.feature_dim = widths[-1]
        stages = [_conv(3, widths[0])]
        for (before, after), count in zip(pairwise(widths), self.blocks, strict=True):
            residuals = (Residual(after) for _ in range(count))
            stages.append(nn.Sequential(_conv(before, after, stride=2), *residuals))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(widths[-1], len(class_names))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Float [B, 3, S, S], -1 to 1 → pooled features [B, feature_dim], not negative."""
        return self.stages(images).mean(dim=(2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Float [B, 3, S, S], -1 to 1 → logits [B, classes]."""
        return self.head(self.features(images))


def save_classifier(model: SmallResNet, path: Path, card: dict[str, str]) -> None:
    """Write weights (fp16), shape and class names; `card` says where they come from.

    Args:
        model: on any device.
        path: a .safetensors file; replaced whole.
        card: further entries of the file's header.
    """
    header = {
        "format": FORMAT,
        "class_names": json.dumps(model.class_names),
        "image_size": str(model.image_size),
        "widths": json.dumps(model.widths),
        "blocks": json.dumps(model.blocks),
        **card,
    }
    state = {
        name: tensor.detach().cpu().half() if tensor.is_floating_point() else tensor.cpu()
        for name, tensor in model.state_dict().items()
    }
    write_tensors(path, state, header)


def load_classifier(path: Path) -> SmallResNet:
    """Read a file of `save_classifier`, in fp32 and eval mode.

    A file without `blocks`, of an earlier version, has one a stage.

    Raises:
        GanVkdError: no such file, or not a whole file of that kind.
    """
    if not path.is_file():
        raise GanVkdError(f"{path}: no such file (gan-vkd teacher fit writes one)")
    try:
        state, header = read_tensors(path, FORMAT)
        names, widths = json.loads(header["class_names"]), json.loads(header["widths"])
        blocks = json.loads(header["blocks"]) if "blocks" in header else [1] * (len(widths) - 1)
        size = int(header["image_size"])
        if not (names and all(isinstance(name, str) for name in names)):
            raise ValueError("class names that are no text")
        if not (1 <= len(widths) <= MOST_STAGES and 1 <= size <= LARGEST_IMAGE):
            raise ValueError("sizes that no such classifier has")
        if not all(0 <= count <= MOST_BLOCKS for count in blocks):
            raise ValueError("numbers of blocks that no such classifier has")
        with torch.device("meta"):  # a header may claim any size: no memory before it fits
            model = SmallResNet(tuple(names), size, tuple(widths), tuple(blocks))
        model.load_state_dict(state, assign=True)
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise GanVkdError(
            f"{path}: not a whole classifier of gan-vkd teacher fit ({reason[:200]})"
        ) from None
    return model.float().eval()
