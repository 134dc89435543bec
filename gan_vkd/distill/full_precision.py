"""Modules that a cast of the model around them does not touch."""

from collections.abc import Callable

import torch
from torch import nn


class FullPrecision(nn.Module):
    """Parameters and buffers stay in float32 or float64: `.bfloat16()`, `.half()` and `.to(dtype)`
    of the module, or of one that holds it, move them to the device asked for and no more.
    """

    def _apply(
        self, convert: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
    ) -> nn.Module:
        def move(tensor: torch.Tensor) -> torch.Tensor:
            converted = convert(tensor)
            narrow = converted.is_floating_point() and converted.itemsize < 4
            return tensor.to(converted.device) if narrow else converted

        return super()._apply(move, recurse)


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float32; one in float64 as it is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
