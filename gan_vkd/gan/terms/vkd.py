"""V_kD: D learns to predict what a frozen teacher sees."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator

from gan_vkd.config.core import Group
from gan_vkd.distill.methods.vkd import VkDLoss
from gan_vkd.distill.normalise import WhitenDataset, rank_within_reach
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.terms.term import Contribution, Seen, Setting, Term

RATIO = 0.5  # where neither a ratio nor a weight is asked for
FOLLOW_EVERY = 4  # steps of D with generated images between two measurements of the ratio
FOLLOW_RATE = 0.1  # of λ's way, in its logarithm

# λ, the gradient ratio at h, L and the targets' mean norm on images of each kind.
LOGGED = ("distill_weight", "gradient_ratio", "distill_real", "distill_fake")
LOGGED += ("target_norm_real", "target_norm_fake")


class VkDSettings(Group):
    """How D learns from the teacher."""

    method: Literal["vkd"] = Field("vkd", description="of distillation (gan-vkd methods)")
    projection: Literal[
        "orthogonal", "orthogonal-frozen", "orthogonal-exp", "linear", "svd", "identity"
    ] = Field("orthogonal", description="P, from D's features to the targets")
    normalise: Literal["none", "layernorm", "whiten", "whiten-iterative", "whiten-dataset"] = Field(
        "whiten", description="of the teacher's features"
    )
    ridge: float = Field(0.0, ge=0, le=1e6, description="of whiten, a share of the mean eigenvalue")
    rank: Annotated[int, Field(gt=0, le=2**31)] | None = Field(
        None, description="directions that whiten-dataset keeps; null: min(ds, dt / 8, images - 1)"
    )
    distance: Literal["squared", "smooth-l1"] = Field("squared", description="of P h and target")
    shuffled: bool = Field(False, description="a control: each image gets another's target")
    ratio: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        None, description="gradient ratio at h that weight follows; null: weight, or .5 without"
    )
    weight: Annotated[float, Field(ge=0, le=1e6)] | None = Field(
        None, description="λ, fixed; null: it follows ratio"
    )
    generated_every: Annotated[int, Field(gt=0, le=2**31)] = Field(
        1, description="steps of D between two that show generated images to the teacher"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_way(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given = [name for name in ("ratio", "weight") if values.get(name) is not None]
        if len(given) == 2:
            raise ValueError(
                "ratio and weight exclude each other: set one of them to null "
                "(--set distill.weight=null lets the weight follow the ratio)"
            )
        return values if given else {**values, "ratio": RATIO}


class VkDTerm(Term):
    """λ · (L(h(x), T(x)) + L(h(G(z)), T(G(z)))), L(h, t) = ‖P h - normalise(t)‖² / min(ds, dt).

    h: D's pooled features of augmented images; t: the teacher's of the images before augmentation.
    Miles, Elezi and Deng, "V_kD: Improving Knowledge Distillation using Orthogonal Projections",
    CVPR 2024 (supplement, equations 4 and 5). Real and generated images are normalised apart.

    λ is fixed (`weight`), or follows slowly so that the gradient ratio ‖∂(λ L)/∂h‖ / ‖∂L_adv/∂h‖
    is `ratio`, which unlike λ carries over between teachers and widths. Every 4th step that shows
    the teacher generated images, λ goes a tenth of the way in its logarithm.
    """

    paper = "Miles, Elezi and Deng, CVPR 2024"
    Settings = VkDSettings

    def __init__(self, settings: VkDSettings, setting: Setting):
        super().__init__(settings, setting)
        normalise = settings.normalise
        if normalise == "whiten-dataset":
            dims = (setting.feature_dim, setting.teacher_dim)
            rank = settings.rank or rank_within_reach(*dims, setting.num_images)
            normalise = WhitenDataset(setting.teacher_dim, rank)
        try:
            self.loss = VkDLoss(
                setting.feature_dim,
                setting.teacher_dim,
                settings.projection,
                normalise,
                settings.distance,
                settings.ridge,
                across_processes=False,  # the step hands it the whole batch
            )
        except ValueError as error:
            raise GanVkdError(f"distill (--projection, --normalise): {error}") from None
        self.static = settings.projection not in ("svd", "orthogonal-exp")  # they ask the device
        for name in LOGGED:  # the latest of each, saved with the run
            self.register_buffer(name, torch.zeros(()))
        self.distill_weight.fill_(1.0 if settings.weight is None else settings.weight)

    def summary(self) -> str:
        """As the plan has it."""
        own = self.settings
        weight = f"{own.weight:g}" if own.ratio is None else f"λ (gradient ratio {own.ratio:g})"
        control = ", SHUFFLED as a control" if own.shuffled else ""
        return (
            f"{weight} x {own.distance} distance to {own.normalise} targets, {own.projection} "
            f"projection{control}"
        )

    def prepare(
        self,
        teacher_features: Callable[[], Iterable[torch.Tensor]],
        labels: torch.Tensor | None = None,
    ) -> None:
        """The statistics of `whiten-dataset`."""
        normalise = self.loss.normalise
        if isinstance(normalise, WhitenDataset):
            fitted = WhitenDataset.fit(teacher_features(), normalise.rank)
            normalise.load_state_dict(fitted.state_dict())

    def reads(self, step: int) -> frozenset[str]:
        """Real images' features in every step of D, generated ones' every `generated_every`th."""
        every = self.settings.generated_every
        return frozenset({"teacher_real"} if step % every else {"teacher_real", "teacher_fake"})

    def phase(self, step: int, iteration: int) -> tuple[bool, bool]:
        """Whether it reads generated images, and whether λ follows."""
        return "teacher_fake" in self.reads(step), self._follows(step)

    def _follows(self, step: int) -> bool:
        return step % (self.settings.generated_every * FOLLOW_EVERY) == 0

    def discriminator(self, seen: Seen) -> Contribution:
        """Its contribution to D's loss."""
        sides = {"real": (seen.h_real, seen.teacher_real)}
        if seen.teacher_fake is not None:
            sides["fake"] = (seen.h_fake, seen.teacher_fake)
        missed = 0
        for kind, (h, z) in sides.items():
            targets = self.loss.targets(self._paired(z))
            distance = self.loss.distance_to(h, targets)
            missed = missed + distance
            self._note(f"distill_{kind}", distance)
            self._note(f"target_norm_{kind}", _mean_norm(targets))
        if self._follows(seen.step):
            self._follow(missed, seen)
        latest = {name: getattr(self, name).clone() for name in LOGGED}
        return Contribution(self.distill_weight * missed, latest)

    def _note(self, name: str, value: torch.Tensor) -> None:
        getattr(self, name).copy_(value.detach())

    @torch.no_grad()
    def _follow(self, missed: torch.Tensor, seen: Seen) -> None:
        """‖∂(λ L)/∂h‖ / ‖∂L_adv/∂h‖ at h, and λ's step after it."""
        ours, theirs = (
            torch.autograd.grad(term, seen.h, retain_graph=True)[0].norm()
            for term in (missed, seen.adversarial)
        )
        self._note("gradient_ratio", self.distill_weight * ours / theirs.clamp_min(1e-12))
        if self.settings.ratio is not None:
            off = self.settings.ratio / self.gradient_ratio.clamp_min(1e-12)
            self.distill_weight.mul_(off.clamp(1e-3, 1e3) ** FOLLOW_RATE).clamp_(1e-6, 1e6)

    def _paired(self, features: torch.Tensor) -> torch.Tensor:
        """Teacher features [B, dt] in the images' order; in the control, each is its neighbour's.

        The control keeps the targets' distribution and the pull on D, and takes away what they
        say of the image: a gain under it is not the teacher's knowledge.
        """
        return features.roll(1, dims=0) if self.settings.shuffled else features

    def probe(self, batches: list[tuple[torch.Tensor, torch.Tensor | None]]) -> dict[str, float]:
        """The predictions' fit R² (1 perfect, 0 no better than nothing), the targets' norm."""
        targets, missed = [], []
        for h, z in batches:
            targets.append(self.loss.targets(z))  # svd takes P from them
            missed.append(self.loss.predictions(h) - targets[-1])
        total, error = (torch.cat(parts).square().sum() for parts in (targets, missed))
        return {
            "fit": (1 - error / total.clamp_min(1e-12)).item(),
            "target_norm": _mean_norm(torch.cat(targets)).item(),
        }


def _mean_norm(targets: torch.Tensor) -> torch.Tensor:
    return targets.norm(dim=1).mean()
