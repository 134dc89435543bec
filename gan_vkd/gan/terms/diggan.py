"""DigGAN: D is as steep at generated images as at real ones."""

import torch
from pydantic import Field

from gan_vkd.config.core import Group
from gan_vkd.gan.terms.term import Contribution, Seen, Setting, Term

TINY = 1e-24  # at 0 a norm has no gradient


class DigGANSettings(Group):
    """DigGAN's settings."""

    weight: float = Field(
        1_000.0,
        ge=0,
        le=1e9,
        description="of the term in D's loss; published at 100, 20, 10 % of CIFAR: 1,000, 5,000, "
        "10,000 alone, 10, 250, 1,000 with DiffAugment",
    )
    memory: float = Field(
        0.5, ge=0, lt=1, description="share of the norms of the iteration before; 0: none"
    )


class DigGANTerm(Term):
    """w · mean (‖∂D/∂x_fake‖ - ‖∂D/∂x_real‖)² over pairs of a batch, for D, once an iteration.

    The images are the augmented ones. As in their code, the norms are averaged with those that the
    same places of the batch had in the iteration before; their equation has no such memory.

    Fang, Sun and Schwing, "DigGAN: Discriminator gradIent Gap Regularization for GAN Training with
    Limited Data", NeurIPS 2022 (their equation 3).
    """

    paper = "Fang et al., NeurIPS 2022"
    Settings = DigGANSettings

    def __init__(self, settings: DigGANSettings, setting: Setting):
        super().__init__(settings, setting)
        self.d_steps = setting.d_steps
        self.register_buffer("before_real", torch.zeros(setting.batch_size))
        self.register_buffer("before_fake", torch.zeros(setting.batch_size))
        self.register_buffer("remembers", torch.zeros(()))  # 0 before the first time, then 1
        self.register_buffer("latest", torch.zeros(()))  # the term's value, for the log

    def summary(self) -> str:
        """As the plan has it."""
        return f"{self.settings.weight:g} x DigGAN"

    def reads(self, step: int) -> frozenset[str]:
        """D's steepness at the augmented images, in the first step of an iteration."""
        return frozenset({"by_shown_real", "by_shown_fake"} if step % self.d_steps == 0 else {})

    def discriminator(self, seen: Seen) -> Contribution:
        """What it adds to D's loss."""
        if not self.reads(seen.step):
            return Contribution(torch.zeros_like(self.latest), {"diggan": self.latest.clone()})
        share = self.settings.memory * self.remembers
        norms = []
        for before, kind in ((self.before_real, "real"), (self.before_fake, "fake")):
            norm = seen.steepness[f"by_shown_{kind}"].clamp_min(TINY).sqrt()
            norms.append((1 - share) * norm + share * before)
        value = (norms[1] - norms[0]).square().mean()
        with torch.no_grad():
            self.before_real.copy_(norms[0])
            self.before_fake.copy_(norms[1])
            self.remembers.fill_(1.0)
            self.latest.copy_(value)
        return Contribution(self.settings.weight * value, {"diggan": value})
