"""LeCam: a regularisation of D by where its outputs have been."""

import torch
import torch.nn.functional as F
from pydantic import Field

from gan_vkd.config.core import Group
from gan_vkd.gan.terms.term import Contribution, Seen, Setting, Term


class LeCamSettings(Group):
    """LeCam's settings."""

    weight: float = Field(0.3, ge=0, le=1e6, description="of the term in D's loss")
    decay: float = Field(0.9, ge=0, lt=1, description="of the averages, a step of D")
    start: int = Field(1_000, ge=0, le=2**31, description="iteration from which it counts")


class LeCamTerm(Term):
    """w · (E max(0, D(x) - a_F)² + E max(0, a_R - D(G(z)))²), for D.

    a_R and a_F are running averages of D's mean logits on real and on generated images: D is kept
    from leaving them behind. Before iteration `start` they follow the batches and add nothing.

    Tseng, Jiang, Liu, Yang and Yang, "Regularizing Generative Adversarial Networks under Limited
    Data", CVPR 2021 (their equation 4); numbers as in their CIFAR experiments.
    """

    paper = "Tseng et al., CVPR 2021"
    Settings = LeCamSettings

    def __init__(self, settings: LeCamSettings, setting: Setting):
        super().__init__(settings, setting)
        self.register_buffer("average_real", torch.zeros(()))
        self.register_buffer("average_fake", torch.zeros(()))

    def summary(self) -> str:
        """As the plan has it."""
        return f"{self.settings.weight:g} x LeCam from iteration {self.settings.start:,}"

    def phase(self, step: int, iteration: int) -> bool:
        """Whether it counts."""
        return iteration >= self.settings.start

    def discriminator(self, seen: Seen) -> Contribution:
        """Its contribution to D's loss."""
        counts = self.phase(seen.step, seen.iteration)
        with torch.no_grad():
            for average, logits in (
                (self.average_real, seen.logits_real),
                (self.average_fake, seen.logits_fake),
            ):
                average.lerp_(logits.mean(), 1 - self.settings.decay if counts else 1.0)
        above = F.relu(seen.logits_real - self.average_fake).square().mean()
        below = F.relu(self.average_real - seen.logits_fake).square().mean()
        value = above + below
        return Contribution(self.settings.weight * value * counts, {"lecam": value})
