"""Who trains the student: SGD or AdamW, with a rate that is a function of the iteration."""

import math
from collections.abc import Mapping

import torch
from torch import nn

from gan_vkd.config.classification import ClassificationSchedule
from gan_vkd.engine.players import Player

MOMENTUM = 0.9
LEAST = 0.01  # of the cosine's first rate, at its end


class StudentPlayer(Player):
    """The student and what is thrown away with the method, under one optimiser.

    Its rate is a tensor on the device, so that a recorded iteration reads what it is set to.

    Args:
        modules: named parts, on their device.
        settings: the optimiser, its rate and weight decay.
    """

    def __init__(self, modules: Mapping[str, nn.Module], settings: ClassificationSchedule):
        self.modules = dict(modules)
        parameters = [p for module in self.modules.values() for p in module.parameters()]
        device = parameters[0].device
        rate = torch.tensor(settings.lr, device=device)
        if settings.optimiser == "sgd":
            self.optimiser = torch.optim.SGD(
                parameters, rate, MOMENTUM, weight_decay=settings.weight_decay, fused=True
            )
            return
        plain = [p for p in parameters if p.ndim < 2]  # biases, gains: no decay
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2]},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            rate,
            weight_decay=settings.weight_decay,
            fused=True,
            capturable=device.type == "cuda",
        )

    def set_rate(self, rate: torch.Tensor) -> None:
        """A scalar on the device; that of the next step."""
        for group in self.optimiser.param_groups:
            group["lr"].copy_(rate)


def rate_at(iteration: int, per_epoch: int, settings: ClassificationSchedule) -> float:
    """The learning rate of an iteration, from 0.

    Args:
        iteration: its number.
        per_epoch: iterations an epoch.
        settings: with `lr` resolved.
    """
    epoch = iteration / per_epoch
    if epoch < settings.warmup:
        return settings.lr * (epoch + 1 / per_epoch) / settings.warmup
    if settings.schedule == "steps":
        passed = sum(epoch >= milestone for milestone in settings.milestones)
        return settings.lr * 0.1**passed
    share = (epoch - settings.warmup) / max(settings.epochs - settings.warmup, 1e-9)
    return settings.lr * (LEAST + (1 - LEAST) * (1 + math.cos(math.pi * share)) / 2)
