"""KD-DLGAN: D's features follow the teacher's, and its similarities of images to classes."""

from collections.abc import Callable, Iterable
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from gan_vkd.config.core import Group
from gan_vkd.distill.prompts import prompt_features, prototypes
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.networks.biggan import at_least_fp32
from gan_vkd.gan.networks.layers import initialise
from gan_vkd.gan.terms.term import Contribution, Seen, Setting, Term

HIDDEN = 1_024  # of the head
WEIGHTS = {"paper": 1.0, "released": 10.0}

Weight = Annotated[float, Field(ge=0, le=1e6)] | None


class KDDLGANSettings(Group):
    """How D learns from the teacher: KD-DLGAN."""

    method: Literal["kd-dlgan"] = Field("kd-dlgan", description="of distillation (gan-vkd methods)")
    form: Literal["paper", "released"] = Field(
        "released", description="the paper's equations, or those of the code that was released"
    )
    agkd: Weight = Field(None, description="weight of the features' part; null: 1, released 10")
    cgkd: Weight = Field(None, description="weight of the similarities' part; null: 1, released 10")
    probability: float = Field(
        0.7, ge=0, le=1, description="with which the paper's form swaps real and generated features"
    )
    anchors: Literal["prompts", "prototypes"] | None = Field(
        None,
        description="what images are similar to: CLIP's features of the classes' names, or the "
        "teacher's mean image of each class; null: prompts for the teacher clip",
    )
    prompt: str = Field("a {}", description="a class's text, its name in place of the braces")


class KDDLGANTerm(Term):
    """a · AGKD + c · CGKD for D, in the paper's form or in that of the released code.

    I: the teacher's features; f: D's features h through two spectrally normalised linear layers
    without a nonlinearity, ds → 1,024 → dt; T: K anchors, one a class; C(v) = v Tᵀ / ‖v Tᵀ‖₂, an
    image's similarities to the classes; x real, y = G(z) generated images.

        paper     AGKD = |I(x) - f(x)| + |I(y) - f(y)| + 1[q ≤ p] (|I(x) - f(y)| + |I(y) - f(x)|)
                  CGKD = |C(I(y)) - C(f(y))|
        released  AGKD = E‖I(x) - f(x)‖ + E‖I(y) - f(y)‖ + E‖I(x) - f(y)‖ + E‖I(y) - f(x)‖
                  CGKD = Σ‖C(I(x)) - C(f(x))‖² + Σ‖C(I(y)) - C(f(y))‖²

    |·| is the mean over entries, E over images, Σ the sum; q is uniform, drawn once a step. Both
    have a third part, the similarity of C(I(y)) between images: no parameter of D has a gradient
    of it and G's loss does not have it, so it is logged (`kd_likeness`, the mean cosine over pairs)
    and not added.

    Cui, Yu, Zhan, Liao, Lu and Xing, "KD-DLGAN: Data Limited Image Generation via Knowledge
    Distillation", CVPR 2023, and their code. There T is CLIP's features of "a airplane" and so on,
    CIFAR-10's for CIFAR-100 too, and CLIP is shown augmented images, enlarged seven times by
    nearest neighbour and not normalised; here T has the run's classes and the teacher sees images
    before augmentation, by bicubic interpolation and normalised as it was trained. Their loss of D
    has LeCam's term too, which here is `--with lecam`. Where the teacher has no text, T is its mean
    image of each class less the mean of all.
    """

    paper = "Cui et al., CVPR 2023"
    Settings = KDDLGANSettings

    def __init__(self, settings: KDDLGANSettings, setting: Setting):
        super().__init__(settings, setting)
        self.class_names, clip = setting.class_names, setting.teacher == "clip"
        self.anchors = settings.anchors or ("prompts" if clip else "prototypes")
        if self.anchors == "prompts" and not clip:
            raise GanVkdError(
                f"distill.anchors prompts: the teacher {setting.teacher} has no text: take "
                "--teacher clip, or --set distill.anchors=prototypes"
            )
        if len(self.class_names) < 2:
            raise GanVkdError("--with kd-dlgan: needs images of two classes or more, got one")
        own = WEIGHTS[settings.form]
        self.agkd = own if settings.agkd is None else settings.agkd
        self.cgkd = own if settings.cgkd is None else settings.cgkd
        self.head = nn.Sequential(
            nn.Linear(setting.feature_dim, HIDDEN), nn.Linear(HIDDEN, setting.teacher_dim)
        )
        initialise(self.head, spectral_norm=True)
        self.register_buffer("texts", torch.zeros(len(self.class_names), setting.teacher_dim))

    def summary(self) -> str:
        """As the plan has it."""
        anchors = {
            "prompts": f'CLIP\'s text "{self.settings.prompt}"',
            "prototypes": "the teacher's mean image of each class, in place of text",
        }
        return (
            f"{self.agkd:g} x AGKD + {self.cgkd:g} x CGKD ({self.settings.form} form; similarities "
            f"to {anchors[self.anchors]})"
        )

    def prepare(
        self,
        teacher_features: Callable[[], Iterable[torch.Tensor]] | None,
        labels: torch.Tensor | None = None,
    ) -> None:
        """The anchors."""
        if self.anchors == "prompts":
            found = prompt_features(self.class_names, self.settings.prompt)
        else:
            found = prototypes(teacher_features(), labels, len(self.class_names))
        self.texts.copy_(found)

    def draw(
        self, shape: tuple[int, ...], size: int, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """The number q of each step, the same beside every image."""
        return {"q": torch.rand(shape[0], 1, generator=generator).expand(shape)}

    def reads(self, step: int) -> frozenset[str]:
        """The teacher's features of all images, in every step."""
        return frozenset({"teacher_real", "teacher_fake"})

    def discriminator(self, seen: Seen) -> Contribution:
        """What it adds to D's loss; in fp32."""
        with torch.autocast(seen.h.device.type, enabled=False):
            return self._distilled(seen)

    def _distilled(self, seen: Seen) -> Contribution:
        count = len(seen.h_real)
        f_real, f_fake = self.head(seen.h[: 2 * count]).split(count)
        real, fake = at_least_fp32(seen.teacher_real), at_least_fp32(seen.teacher_fake)
        agkd = cgkd = 0
        if self.settings.form == "paper":
            swapped = seen.draws.own[self.name]["q"][0] <= self.settings.probability
            agkd = F.l1_loss(f_real, real) + F.l1_loss(f_fake, fake)
            agkd = agkd + swapped * (F.l1_loss(f_fake, real) + F.l1_loss(f_real, fake))
            cgkd = F.l1_loss(self._similarities(f_fake), self._similarities(fake))
        else:
            for ours, theirs in ((f_real, real), (f_fake, fake), (f_fake, real), (f_real, fake)):
                agkd = agkd + (ours - theirs).norm(dim=1).mean()
            for ours, theirs in ((f_real, real), (f_fake, fake)):
                missed = self._similarities(ours) - self._similarities(theirs)
                cgkd = cgkd + missed.square().sum()
        with torch.no_grad():
            rows = self._similarities(fake)
            likeness = (rows.sum(dim=0).square().sum() - count) / (count * (count - 1))
        loss = self.agkd * agkd + self.cgkd * cgkd
        return Contribution(loss, {"agkd": agkd, "cgkd": cgkd, "kd_likeness": likeness})

    def _similarities(self, features: torch.Tensor) -> torch.Tensor:
        """[B, dt] → C, rows of length 1 [B, K]."""
        return F.normalize(features @ self.texts.T, dim=1)
