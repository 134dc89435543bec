"""SAN: the direction of D's last layer is trained to tell the images apart by itself."""

from pydantic import Field
from torch import nn

from gan_vkd.config.core import Group
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.networks.biggan import Discriminator
from gan_vkd.gan.terms.term import Contribution, Seen, Setting, Term


class SANSettings(Group):
    """SAN's settings."""

    weight: float = Field(1.0, ge=0, le=1e6, description="of the direction's part in D's loss")


class SANTerm(Term):
    """E ⟨ω, h(G(z))⟩ - E ⟨ω, h(x)⟩ for the direction ω of D's last layer, h held; for D.

    D's logit is ⟨w, h⟩ + b with w = s ω, ‖ω‖ = 1, w the class's. The hinge loss trains h, s and b
    through logits in which ω is held; this term trains ω alone, on s h with s and h held. Logits
    have the values that they have without SAN, and so have G's gradients.

    Takida, Imaizumi, Shibuya, Lai, Uesaka, Murata and Mitsufuji, "SAN: Inducing Metrizability of
    GAN with Discriminative Normalized Linear Layer", ICLR 2024 (their hinge variant).
    """

    paper = "Takida et al., ICLR 2024"
    Settings = SANSettings

    def __init__(self, settings: SANSettings, setting: Setting):
        super().__init__(settings, setting)
        if setting.loss != "hinge":
            raise GanVkdError(f"--with san: is for the hinge loss: leave --loss {setting.loss} out")

    def alter(self, discriminator: nn.Module, augmentation: Augmentation) -> None:
        """Hold ω in the logits."""
        if not isinstance(discriminator, Discriminator):
            raise GanVkdError("--with san: needs BigGAN's discriminator: leave it out")
        discriminator.slicing = True
        self._direction = discriminator.along  # a method, not a part: D is trained elsewhere

    def discriminator(self, seen: Seen) -> Contribution:
        """What it adds to D's loss."""
        count = len(seen.labels)
        real, fake = self._direction(seen.h[:count].detach(), seen.labels).chunk(2)
        value = fake.mean() - real.mean()
        return Contribution(self.settings.weight * value, {"san": value})
