"""A step's networks and augmentation, compiled."""

import logging
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import nn

from gan_vkd import processes
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.steps import Game
from gan_vkd.gan.terms.term import GRADIENTS


def compiled(game: Game, steps: Iterable[int], device: torch.device) -> Game:
    """G, D's features and the augmentation each become one graph, by `torch.compile`.

    Each is compiled anew for every shape, and for with and without gradients: in the iterations
    that meet it first.

    Args:
        game: of plain networks; their weights stay shared with it.
        steps: of D, enough of them to see what terms read.
        device: where it is played.

    Raises:
        GanVkdError: a term that differentiates twice, several processes, or no compiler.
    """
    steps = list(steps)
    for name, term in game.terms.items():
        if any({*GRADIENTS} & term.reads(step) for step in steps):
            raise GanVkdError(
                f"training.compile: --with {name} differentiates D twice, which torch.compile does "
                f"not: leave {name} out, or set training.compile=false"
            )
    if processes.size() > 1:
        raise GanVkdError(
            "training.compile: not with several processes: set training.compile=false"
        )
    _require_compiler(device)
    return replace(
        game,
        generator=torch.compile(game.generator, dynamic=False),
        discriminator=_Compiled(game.discriminator),
        augment=torch.compile(game.augment, dynamic=False),
    )


class _Compiled(nn.Module):
    """A discriminator whose features are compiled; the logits are not, a few operations from h.

    So h is a place in autograd's graph, by which losses are differentiated.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.features = torch.compile(network.features, dynamic=False)

    def forward(
        self, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self.network.decide(self.features(images), labels)


def _require_compiler(device: torch.device) -> None:
    """Compile the smallest function that there is."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # where CUDA may be
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(1, device=device))
    except Exception as error:  # a missing C++ compiler, Triton or header: torch has many classes
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise GanVkdError(
            f"training.compile: torch.compile fails on this machine ({reason}): "
            "set training.compile=false"
        ) from None
