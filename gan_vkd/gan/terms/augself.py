"""AugSelf: D tells how an image was augmented, and does so differently for generated ones."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from gan_vkd.config.core import Group
from gan_vkd.config.registry import AUGMENTATIONS
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.networks.layers import initialise
from gan_vkd.gan.terms.term import Contribution, Made, Scene, Seen, Setting, Term, Together, View


class AugSelfSettings(Group):
    """AugSelf's settings."""

    weight: float = Field(1.0, ge=0, le=1e6, description="of the term in D's loss")
    weight_generator: float = Field(1.0, ge=0, le=1e6, description="of the term in G's loss")


class AugSelfTerm(Term):
    """D: E |φ(x) - ω|² + E |φ(G(z)) + ω|²; G: E |φ(G(z)) - ω|² - E |φ(G(z)) + ω|².

    φ is a spectrally normalised linear layer on h(A x) - h(x), and ω the numbers that A was drawn
    with, each brought to 0 to 1; a policy's part of |·|² is the mean over its numbers, and the
    policies' parts are added. D's loss is w times its sum, G's w' times its own.

    Hou, Cao, Yuan, Zhao, Ma, Pan, Wan, Wang, Shen and Cheng, "Augmentation-Aware Self-Supervision
    for Data-Efficient GAN Training", NeurIPS 2023.
    """

    paper = "Hou et al., NeurIPS 2023"
    Settings = AugSelfSettings

    def __init__(self, settings: AugSelfSettings, setting: Setting):
        super().__init__(settings, setting)
        told = [n for n in setting.policies if getattr(AUGMENTATIONS[n], "parameters", None)]
        if not told:
            raise GanVkdError(
                "--with augself: D tells DiffAugment's numbers: add --augment "
                "color,translation,cutout, or some of them"
            )
        self.heads = nn.ModuleDict(
            {name: nn.Linear(setting.feature_dim, AUGMENTATIONS[name].numbers) for name in told}
        )
        initialise(self.heads, spectral_norm=True)

    def summary(self) -> str:
        """As the plan has it."""
        return f"{self.settings.weight:g} x AugSelf ({','.join(self.heads)})"

    def show(self, scene: Scene, real: torch.Tensor, fake: torch.Tensor) -> View:
        """Real and generated images before augmentation."""
        labels = torch.cat([scene.real.labels, scene.draws.labels])
        return View(torch.cat([scene.real.images, scene.fake]), labels)

    def _missed(self, change: torch.Tensor, told: dict[str, torch.Tensor]) -> torch.Tensor:
        """|φ - told|² for the change of h [B, ds]."""
        with torch.autocast(change.device.type, enabled=False):
            heads = self.heads.items()
            return sum(F.mse_loss(head(change), told[name].to(change)) for name, head in heads)

    def _numbers(
        self, draws: dict[str, torch.Tensor], side: int, together: Together
    ) -> dict[str, torch.Tensor]:
        """ω of all images, by policy; images have `side` pixels a side."""
        return {
            name: together(AUGMENTATIONS[name].parameters(draws[name], side).float())
            for name in self.heads
        }

    def discriminator(self, seen: Seen) -> Contribution:
        """What it adds to D's loss."""
        bare_real, bare_fake = seen.views[self.name].h.chunk(2)
        side, together = seen.real.shape[-1], seen.together
        of_real = self._numbers(seen.draws.real, side, together)
        of_fake = self._numbers(seen.draws.fake, side, together)
        real = self._missed(seen.h_real - bare_real, of_real)
        fake = self._missed(seen.h_fake - bare_fake, {name: -n for name, n in of_fake.items()})
        loss = self.settings.weight * (real + fake)
        return Contribution(loss, {"augself_real": real, "augself_fake": fake})

    def generator(self, made: Made) -> Contribution:
        """What it adds to G's loss."""
        numbers = self._numbers(made.draws.fake, made.fake.shape[-1], made.together)
        change = made.h - made.judge(made.fake, made.draws.labels)[1]
        as_real = self._missed(change, numbers)
        as_fake = self._missed(change, {name: -n for name, n in numbers.items()})
        value = as_real - as_fake
        return Contribution(self.settings.weight_generator * value, {"augself_images": value})
