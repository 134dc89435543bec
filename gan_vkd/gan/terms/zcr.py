"""zCR: D is blind to small changes of the latents, G is not."""

import torch
from pydantic import Field

from gan_vkd.config.core import Group
from gan_vkd.gan.draws import StepDraws
from gan_vkd.gan.terms.term import Contribution, Made, Scene, Seen, Setting, Term, View


class ZCRSettings(Group):
    """zCR's settings."""

    noise: float = Field(0.05, gt=0, le=10, description="standard deviation of the latents' change")
    weight: float = Field(20.0, ge=0, le=1e6, description="of the term in D's loss")
    weight_generator: float = Field(0.5, ge=0, le=1e6, description="of the term in G's loss")


class ZCRTerm(Term):
    """w · E (D(A G(z)) - D(A G(z + ε)))² for D, -w' · mean (G(z) - G(z + ε))² for G.

    ε is normal with the standard deviation `noise`; both images have one class and one augmentation
    A. The mean is over images, channels and pixels.

    Zhao, Singh, Lee, Zhang, Odena and Zhang, "Improved Consistency Regularization for GANs", AAAI
    2021 (latent consistency, their algorithm 2); numbers as in PyTorch-StudioGAN's CIFAR-10 recipe.
    """

    paper = "Zhao et al., AAAI 2021"
    Settings = ZCRSettings

    def __init__(self, settings: ZCRSettings, setting: Setting):
        super().__init__(settings, setting)
        self.z_dim = setting.z_dim

    def summary(self) -> str:
        """As the plan has it."""
        own = self.settings
        return f"{own.weight:g} x zCR ({own.weight_generator:g} for G)"

    def draw(
        self, shape: tuple[int, ...], size: int, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """ε over its standard deviation, [*shape, z_dim]."""
        return {"noise": torch.randn(*shape, self.z_dim, generator=generator)}

    def _moved(self, draws: StepDraws) -> torch.Tensor:
        return draws.latents + self.settings.noise * draws.own[self.name]["noise"]

    def show(self, scene: Scene, real: torch.Tensor, fake: torch.Tensor) -> View:
        """A G(z + ε)."""
        draws = scene.draws
        images = scene.generate(self._moved(draws), draws.labels)
        return View(scene.augment(images, draws.fake), draws.labels)

    def discriminator(self, seen: Seen) -> Contribution:
        """What it adds to D's loss."""
        value = (seen.logits_fake - seen.views[self.name].logits).square().mean()
        return Contribution(self.settings.weight * value, {"zcr": value})

    def generator(self, made: Made) -> Contribution:
        """What it adds to G's loss."""
        moved = made.generate(self._moved(made.draws), made.draws.labels)
        value = made.together((made.fake - moved).square().mean(dim=(1, 2, 3))).mean()
        return Contribution(-self.settings.weight_generator * value, {"zcr_images": value})
