"""R1: D is flat at real images."""

from pydantic import Field

from gan_vkd.config.core import Group
from gan_vkd.config.schedule import Cosine, changing, value_at
from gan_vkd.gan.terms.term import Contribution, Seen, Setting, Term


class PenaltySettings(Group):
    """The penalty's settings."""

    gamma: changing(ge=0, le=1e6) = Field(0.05, description="half of it weighs the term")


class R1Term(Term):
    """γ/2 · E ‖∂D(A x)/∂x‖², for D; x a real image, A the augmentation.

    Mescheder, Geiger and Nowozin, "Which Training Methods for GANs do actually Converge?", ICML
    2018 (their equation 9); γ as R3GAN begins with on CIFAR-10
    (configs/methods/r3gan.yaml has its schedule). D's spectral norm stays on: R3GAN's
    own networks have none.
    """

    paper = "Mescheder et al., ICML 2018"
    Settings = PenaltySettings
    by = "by_real"

    def __init__(self, settings: PenaltySettings, setting: Setting):
        super().__init__(settings, setting)
        self.static = not isinstance(settings.gamma, Cosine)

    def summary(self) -> str:
        """As the plan has it."""
        gamma = self.settings.gamma
        weight = f"{gamma / 2:g}" if self.static else f"half of {gamma}"
        return f"{weight} x {self.name.upper()}"

    def reads(self, step: int) -> frozenset[str]:
        """D's steepness at the images."""
        return frozenset({self.by})

    def discriminator(self, seen: Seen) -> Contribution:
        """What it adds to D's loss."""
        value = seen.steepness[self.by].mean()
        gamma = value_at(self.settings.gamma, seen.iteration)
        return Contribution(gamma / 2 * value, {self.name: value})
