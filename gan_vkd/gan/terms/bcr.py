"""bCR: D says the same of an image and of its changed copy, real or generated."""

from pydantic import Field

from gan_vkd.gan.terms.cr import CRSettings, CRTerm
from gan_vkd.gan.terms.term import Contribution, Seen


class BCRSettings(CRSettings):
    """bCR's settings."""

    weight: float = Field(10.0, ge=0, le=1e6, description="of real images' part in D's loss")
    weight_fake: float = Field(10.0, ge=0, le=1e6, description="of generated images' part")


class BCRTerm(CRTerm):
    """w · E (D(T x) - D(x))² + w' · E (D(T G(z)) - D(G(z)))², for D; T as in CR.

    Zhao, Singh, Lee, Zhang, Odena and Zhang, "Improved Consistency Regularization for GANs", AAAI
    2021 (balanced consistency, their algorithm 1).
    """

    paper = "Zhao et al., AAAI 2021"
    Settings = BCRSettings
    sides = ("real", "fake")

    def discriminator(self, seen: Seen) -> Contribution:
        """What it adds to D's loss."""
        second_real, second_fake = seen.views[self.name].logits.chunk(2)
        real = (second_real - seen.logits_real).square().mean()
        fake = (second_fake - seen.logits_fake).square().mean()
        loss = self.settings.weight * real + self.settings.weight_fake * fake
        return Contribution(loss, {"bcr_real": real, "bcr_fake": fake})
