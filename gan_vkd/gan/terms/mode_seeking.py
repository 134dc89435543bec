"""Mode seeking: images of one class differ as their latents do."""

import torch
from pydantic import Field

from gan_vkd.config.core import Group
from gan_vkd.gan.terms.term import Contribution, Made, Seen, Setting, Term

SMALLEST = 1e-5  # added to the ratio, as in the authors' code


class ModeSeekingSettings(Group):
    """Mode seeking's setting."""

    weight: float = Field(1.0, ge=0, le=1e6, description="of the term in G's loss")


class ModeSeekingTerm(Term):
    """w · E |z - z'| / E |G(z) - G(z')|, for G; z' are other latents, both images have one class.

    The means are over the batch and all entries. The paper maximises the ratio of the images'
    distance to the latents'; as in the authors' code, G minimises its reciprocal.

    Mao, Lee, Tseng, Ma and Yang, "Mode Seeking Generative Adversarial Networks for Diverse Image
    Synthesis", CVPR 2019 (L_ms; weight 1).
    """

    paper = "Mao et al., CVPR 2019"
    Settings = ModeSeekingSettings

    def __init__(self, settings: ModeSeekingSettings, setting: Setting):
        super().__init__(settings, setting)
        self.z_dim = setting.z_dim

    def summary(self) -> str:
        """As the plan has it."""
        return f"{self.settings.weight:g} x mode seeking"

    def draw(
        self, shape: tuple[int, ...], size: int, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """z', [*shape, z_dim]."""
        return {"latents": torch.randn(*shape, self.z_dim, generator=generator)}

    def discriminator(self, seen: Seen) -> Contribution:
        """Nothing."""
        return Contribution(torch.zeros_like(seen.adversarial), {})

    def generator(self, made: Made) -> Contribution:
        """What it adds to G's loss."""
        latents, other = made.draws.latents, made.draws.own[self.name]["latents"]
        images = made.generate(other, made.draws.labels)
        apart = made.together((made.fake - images).abs().mean(dim=(1, 2, 3))).mean()
        by = made.together((latents - other).abs().mean(dim=1)).mean()
        ratio = apart / by
        return Contribution(self.settings.weight / (ratio + SMALLEST), {"mode_seeking": ratio})
