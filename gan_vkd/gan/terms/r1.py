"""R1: D is flat at real images."""

from pydantic import Field

from gan_vkd.config.core import Group
from gan_vkd.gan.terms.term import Contribution, Seen, Term


class PenaltySettings(Group):
    """The penalty's settings."""

    gamma: float = Field(0.05, ge=0, le=1e6, description="half of it weighs the term")


class R1Term(Term):
    """γ/2 · E ‖∂D(A x)/∂x‖², for D; x a real image, A the augmentation.

    Mescheder, Geiger and Nowozin, "Which Training Methods for GANs do actually Converge?", ICML
    2018 (their equation 9); γ as R3GAN begins with on CIFAR-10. D's spectral norm stays on: R3GAN's
    own networks have none.
    """

    paper = "Mescheder et al., ICML 2018"
    Settings = PenaltySettings
    by = "by_real"

    def summary(self) -> str:
        """As the plan has it."""
        return f"{self.settings.gamma / 2:g} x {self.name.upper()}"

    def reads(self, step: int) -> frozenset[str]:
        """D's steepness at the images."""
        return frozenset({self.by})

    def discriminator(self, seen: Seen) -> Contribution:
        """What it adds to D's loss."""
        value = seen.steepness[self.by].mean()
        return Contribution(self.settings.gamma / 2 * value, {self.name: value})
