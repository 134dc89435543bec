"""The exponential moving average of the generator's weights."""

import copy

import torch
from torch import nn

from gan_vkd.config.core import TrainingSettings
from gan_vkd.config.schedule import value_at


def average_of(model: nn.Module) -> nn.Module:
    """A copy to hold the average: no gradients, eval mode."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def decay_at(settings: TrainingSettings, iteration: int) -> float:
    """The average's decay in an iteration: as set, or 2^(-1/h) for a half-life h, 0 for h = 0."""
    if settings.ema_half_life is None:
        return settings.ema_decay
    half_life = value_at(settings.ema_half_life, iteration)
    return 0.5 ** (1 / half_life) if half_life else 0.0


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Average ← decay · average + (1 - decay) · model, parameters only.

    Buffers are left alone: averaged batch-norm statistics and power-iteration vectors do not
    belong to averaged weights. Exporting estimates both anew (`gan_vkd.gan.exported`).
    """
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
