"""The exponential moving average of the generator's weights."""

import copy

import torch
from torch import nn


def average_of(model: nn.Module) -> nn.Module:
    """A copy to hold the average: no gradients, eval mode."""
    return copy.deepcopy(model).eval().requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Average ← decay · average + (1 - decay) · model, parameters only.

    Buffers are left alone: averaged batch-norm statistics and power-iteration vectors do not
    belong to averaged weights. Exporting estimates both anew (`gan_vkd.gan.exported`).
    """
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
