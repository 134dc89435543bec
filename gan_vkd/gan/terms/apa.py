"""APA: some of the real images that D is shown are generated ones."""

import torch

from gan_vkd.gan.augment.controller import Controller, ControllerSettings
from gan_vkd.gan.terms.term import Contribution, Real, Scene, Seen, Setting, Term


class APASettings(ControllerSettings):
    """APA's settings."""


class APATerm(Term):
    """With probability p a real image is replaced by a generated one of its class, called real.

    For D's loss alone; the images are drawn for it, and are not those that D is shown as generated.
    p follows how much D overfits, as in ADA. A teacher looks at what D is shown.

    Jiang, Dai, Wu and Loy, "Deceive D: Adaptive Pseudo Augmentation for GAN Training with Limited
    Data", NeurIPS 2021. Their code takes G's images of the step of G before, theirs has no classes.
    """

    paper = "Jiang et al., NeurIPS 2021"
    Settings = APASettings

    def __init__(self, settings: APASettings, setting: Setting):
        super().__init__(settings, setting)
        self.z_dim = setting.z_dim
        self.controller = Controller(settings, setting)

    def summary(self) -> str:
        """As the plan has it."""
        return f"APA (target {self.settings.target:g})"

    def draw(
        self, shape: tuple[int, ...], size: int, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Latents, and a number in 0 to 1 for each image: below p it is replaced."""
        return {
            "latents": torch.randn(*shape, self.z_dim, generator=generator),
            "gates": torch.rand(shape, generator=generator),
        }

    def phase(self, step: int, iteration: int) -> bool:
        """Whether p moves."""
        return self.controller.moves(step)

    def real(self, scene: Scene) -> Real:
        """Real images, some of them generated; their labels stay."""
        real, own = scene.real, scene.draws.own[self.name]
        pseudo = scene.generate(own["latents"], real.labels)
        replaced = own["gates"] < self.controller.p
        images = torch.where(replaced[:, None, None, None], pseudo, real.images)
        teacher = real.teacher
        if teacher is not None:
            of_all = scene.together(own["gates"]) < self.controller.p
            teacher = torch.where(of_all[:, None], scene.teacher(pseudo), teacher)
        return Real(images, real.labels, teacher)

    def discriminator(self, seen: Seen) -> Contribution:
        """Nothing; p moves."""
        self.controller.observe(seen)
        p = self.controller.p.clone()
        return Contribution(torch.zeros_like(p), {"apa_p": p})
