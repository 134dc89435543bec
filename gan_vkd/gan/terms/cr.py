"""CR: D says the same of a real image and of its changed copy."""

import torch
from pydantic import Field, field_validator

from gan_vkd.config.core import Group
from gan_vkd.config.registry import AUGMENTATIONS
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.terms.term import Contribution, Scene, Seen, Setting, Term, View

PUBLISHED = ("flip", "translation")  # T where the run has no augmentation of its own


class CRSettings(Group):
    """CR's settings."""

    weight: float = Field(10.0, ge=0, le=1e6, description="of the term in D's loss")
    augment: str | None = Field(
        None,
        description="policies that make the second view from what D is shown; none: the second "
        "view is the image before augmentation; null: none where the run augments, else "
        "flip,translation",
    )

    @field_validator("augment")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        for name in [] if value in (None, "none") else value.split(","):
            AUGMENTATIONS.check(name)
        return value


class CRTerm(Term):
    """w · E (D(T x) - D(x))², for D; x a real image.

    T is a mirror image with probability ½ and a shift by up to an eighth of the side. In a run with
    an augmentation A of its own the two views are A x and x, as in DiffAugment's experiments. Where
    training images are not mirrored, T does not mirror either.

    Zhang, Zhang, Odena and Lee, "Consistency Regularization for Generative Adversarial Networks",
    ICLR 2020 (their equation 3); weight as there, T and the views as in DiffAugment's CIFAR code.
    """

    paper = "Zhang et al., ICLR 2020"
    Settings = CRSettings
    sides = ("real",)

    def __init__(self, settings: CRSettings, setting: Setting):
        super().__init__(settings, setting)
        if settings.augment is None:
            names = () if setting.policies else PUBLISHED
        else:
            names = () if settings.augment == "none" else tuple(settings.augment.split(","))
        if names == ("flip",) and not setting.flip:
            raise GanVkdError(
                f"--with {self.name}: {self.name}:augment is flip and training images are not "
                "mirrored: give it another augmentation, or none"
            )
        names = tuple(name for name in names if name != "flip" or setting.flip)
        if not names and not setting.policies:
            raise GanVkdError(
                f"--with {self.name}: both views would be the same: add --augment "
                f"translation,cutout, or leave {self.name}:augment out"
            )
        self.second = Augmentation(names)

    def summary(self) -> str:
        """As the plan has it."""
        views = ",".join(self.second.policies) or "no augmentation"
        return f"{self.settings.weight:g} x {self.name} (second view: {views})"

    def draw(
        self, shape: tuple[int, ...], size: int, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """What makes the second views."""
        return {
            f"{side} {policy}": numbers
            for side in self.sides
            for policy, numbers in self.second.draw(shape, size, generator).items()
        }

    def show(self, scene: Scene, real: torch.Tensor, fake: torch.Tensor) -> View:
        """The second views of each side's images."""
        sides = {
            "real": (real, scene.real.images, scene.real.labels),
            "fake": (fake, scene.fake, scene.draws.labels),
        }
        numbers = scene.draws.own[self.name]
        images, labels = [], []
        for side in self.sides:
            shown, bare, own = sides[side]
            draws = {name: numbers[f"{side} {name}"] for name in self.second.policies}
            images.append(self.second(shown, draws) if draws else bare)
            labels.append(own)
        return View(torch.cat(images), torch.cat(labels))

    def discriminator(self, seen: Seen) -> Contribution:
        """What it adds to D's loss."""
        value = (seen.views[self.name].logits - seen.logits_real).square().mean()
        return Contribution(self.settings.weight * value, {self.name: value})
