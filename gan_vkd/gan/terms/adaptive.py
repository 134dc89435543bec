"""How often the augmentation `ada` changes images follows how much D overfits."""

import torch
from torch import nn

from gan_vkd.errors import GanVkdError
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.augment.controller import Controller, ControllerSettings
from gan_vkd.gan.terms.term import Contribution, Seen, Setting, Term


class AdaptiveSettings(ControllerSettings):
    """ADA's settings."""


class AdaptiveTerm(Term):
    """p of the augmentation `ada`, by the sign of D's logits on real images; adds nothing itself.

    Comes by itself with `--augment ada`, and is there to be set: `--with adaptive:target=0.7`.

    Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020.
    """

    paper = "Karras et al., NeurIPS 2020"
    Settings = AdaptiveSettings

    def __init__(self, settings: AdaptiveSettings, setting: Setting):
        super().__init__(settings, setting)
        if "ada" not in setting.policies:
            raise GanVkdError("--with adaptive: sets the augmentation ada: add --augment ada")
        self.controller = Controller(settings, setting)

    def alter(self, discriminator: nn.Module, augmentation: Augmentation) -> None:
        """Give the policy its p."""
        augmentation.policies["ada"].controller = self.controller

    def summary(self) -> str:
        """As the plan has it."""
        return f"ADA's p (target {self.settings.target:g})"

    def phase(self, step: int, iteration: int) -> bool:
        """Whether p moves."""
        return self.controller.moves(step)

    def discriminator(self, seen: Seen) -> Contribution:
        """Nothing; p moves."""
        self.controller.observe(seen)
        p = self.controller.p.clone()
        return Contribution(torch.zeros_like(p), {"ada_p": p})
