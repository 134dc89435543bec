"""A probability that follows how much D overfits."""

import torch
from pydantic import Field
from torch import nn

from gan_vkd.config.core import Group
from gan_vkd.config.registry import LOSSES
from gan_vkd.gan.terms.term import Seen, Setting


class ControllerSettings(Group):
    """The controller's settings."""

    target: float = Field(0.6, gt=-1, lt=1, description="of r, the mean sign of D's real logits")
    interval: int = Field(4, gt=0, le=2**16, description="steps of D between two moves of p")
    images: int = Field(
        500_000, gt=0, le=2**31, description="real images in which p can go from 0 to 1"
    )
    start: float = Field(0.0, ge=0, le=1, description="p at the beginning")


class Controller(nn.Module):
    """p goes up while r = E sign D(x) is above its target, down while it is below.

    r is over the last `interval` minibatches; a move is interval · B / images. p stops at 0; above
    1 it acts as 1, as in the authors' code. With a loss that compares pairs r is
    E sign (D(x) - D(G(z))).

    Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020
    (section 3).
    """

    def __init__(self, settings: ControllerSettings, setting: Setting):
        super().__init__()
        self.settings, self.batch_size = settings, setting.batch_size
        self.paired = LOSSES[setting.loss].paired
        self.register_buffer("p", torch.tensor(settings.start))
        self.register_buffer("signs", torch.zeros(()))  # the sum over the minibatches since a move

    def moves(self, step: int) -> bool:
        """Whether p moves after D's step number `step`."""
        return (step + 1) % self.settings.interval == 0

    @torch.no_grad()
    def observe(self, seen: Seen) -> None:
        """Take a step of D into account."""
        own = self.settings
        logits = seen.logits_real - seen.logits_fake if self.paired else seen.logits_real
        self.signs.add_(logits.sign().mean())
        if self.moves(seen.step):
            r = self.signs / own.interval
            self.p.add_((r - own.target).sign() * (own.interval * self.batch_size / own.images))
            self.p.clamp_(min=0.0)
            self.signs.zero_()
