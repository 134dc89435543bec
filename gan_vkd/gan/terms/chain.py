"""CHAIN: D's feature maps are normalised, without centring, as often as D overfits."""

import torch
from pydantic import Field
from torch import nn

from gan_vkd.config.core import Group
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.draws import StepDraws
from gan_vkd.gan.networks.biggan import Discriminator
from gan_vkd.gan.networks.chain import DECAY, Chain, Passing
from gan_vkd.gan.terms.term import Contribution, Seen, Setting, Term


class ChainSettings(Group):
    """CHAIN's settings."""

    weight: float = Field(20.0, ge=0, le=1e6, description="of the means in D's loss, times p")
    base: float = Field(0.0, ge=0, le=1, description="added to p in that weight")
    target: float = Field(0.5, gt=-1, lt=1, description="of the mean sign of D's real logits")
    speed: float = Field(0.001, ge=0, le=1, description="by which p moves in a step of D")
    start: int = Field(1_250, ge=0, le=2**31, description="iteration from which p moves")


class ChainTerm(Term):
    """w · (p + p₀) · Σ (E x)² over the channels of all of D's convolutions, for D, and its layers.

    After each 3x3 convolution and each shortcut of each block, before pooling, a feature map x is
    normalised with probability p (see `Chain`), in D's steps and in G's. The loss draws each
    channel's mean to 0, of real and of generated images. p moves by `speed` a step of D, up while
    the running mean sign of D's logits on real images is above `target`, else down; it begins at 0.

    Ni and Koniusz, "CHAIN: Enhancing Generalization in Data-Efficient GANs via lipsCHitz continuity
    constrAIned Normalization", CVPR 2024. Their released code is FastGAN's; numbers are that
    code's, where p begins to move after 5,000 steps of D.
    """

    paper = "Ni and Koniusz, CVPR 2024"
    Settings = ChainSettings
    normalises = True

    def __init__(self, settings: ChainSettings, setting: Setting):
        super().__init__(settings, setting)
        if setting.loss != "hinge":
            raise GanVkdError(
                f"--with chain: is for the hinge loss: leave --loss {setting.loss} out"
            )
        self.register_buffer("p", torch.zeros(()))
        self.register_buffer("sign", torch.zeros(()))  # running mean, of real logits
        self.channels, self.passing = 0, Passing(lambda: self.p)

    def alter(self, discriminator: nn.Module, augmentation: Augmentation) -> None:
        """Put the layers in."""
        if not isinstance(discriminator, Discriminator):
            raise GanVkdError("--with chain: needs BigGAN's discriminator: leave it out")
        for block in discriminator.blocks:
            block.normalise(self._layer)

    def _layer(self, channels: int) -> Chain:
        place = slice(self.channels, self.channels + channels)
        self.channels = place.stop
        return Chain(channels, place, self.passing)

    def summary(self) -> str:
        """As the plan has it."""
        return f"CHAIN (target {self.settings.target:g}) from iteration {self.settings.start:,}"

    def draw(
        self, shape: tuple[int, ...], size: int, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """A number in 0 to 1 for each map of each image of two kinds."""
        return {"numbers": torch.rand(*shape, 2, self.channels, generator=generator)}

    def phase(self, step: int, iteration: int) -> bool:
        """Whether p moves."""
        return iteration >= self.settings.start

    def begin(self, draws: StepDraws, training: str) -> None:
        """Tell the layers what they will see: real and generated images, or G's alone."""
        self.passing.begin(2 if training == "d" else 1, draws.own[self.name]["numbers"])

    def discriminator(self, seen: Seen) -> Contribution:
        """What it adds to D's loss; then p moves."""
        own, p = self.settings, self.p.clone()
        means = seen.together(torch.cat(self.passing.means, dim=1)).unflatten(0, (2, -1)).mean(1)
        value = means.square().sum()
        if self.phase(seen.step, seen.iteration):
            with torch.no_grad():
                self.sign.lerp_(seen.logits_real.sign().mean(), 1 - DECAY)
                self.p.add_((self.sign - own.target).sign() * own.speed).clamp_(0, 1)
        loss = own.weight * (p + own.base) * value
        return Contribution(loss, {"chain": value, "chain_p": p})
