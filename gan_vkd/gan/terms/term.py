"""The interface of terms: a term reads a step and returns a scalar and values for the log."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import nn

from gan_vkd.config.core import Group
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.draws import StepDraws

Images = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Together = Callable[[torch.Tensor], torch.Tensor]


def alone(rows: torch.Tensor) -> torch.Tensor:
    """`together` where there is one process: the same."""
    return rows


class TermSettings(Group):
    """Settings of a term that has none of its own."""


@dataclass(frozen=True)
class Real:
    """Training images of one step.

    Attributes:
        images: [B, C, S, S], -1 to 1, mirrored where the draws say so.
        labels: int64 [B].
        teacher: the teacher's features [B, dt] of these images; None where no term reads them.
    """

    images: torch.Tensor
    labels: torch.Tensor
    teacher: torch.Tensor | None = None


@dataclass(frozen=True)
class Scene:
    """A step of D before D looks at anything.

    Attributes:
        step: number of D's step since the run began.
        iteration: the iteration it belongs to.
        draws: the step's random numbers.
        real: what D is shown as real, before augmentation.
        fake: generated images [B, C, S, S], -1 to 1, of `draws.labels`, before augmentation.
        generate: latents [B, z_dim], labels [B] → images, without gradient.
        augment: images and draws by policy → images.
        teacher: images → the teacher's features [B, dt]; None without one.
        together: numbers of a process's own images → those of the whole batch.
    """

    step: int
    iteration: int
    draws: StepDraws
    real: Real
    fake: torch.Tensor
    generate: Images
    augment: Callable[[torch.Tensor, dict[str, torch.Tensor]], torch.Tensor]
    teacher: Callable[[torch.Tensor], torch.Tensor] | None = None
    together: Together = alone


class View(NamedTuple):
    """Images [k B, C, S, S] and labels that D looks at beside the others, in the same pass."""

    images: torch.Tensor
    labels: torch.Tensor


class Look(NamedTuple):
    """What D says of a `View`: logits [k B] and features [k B, ds]."""

    logits: torch.Tensor
    h: torch.Tensor


@dataclass(frozen=True)
class Seen:
    """The tensors of a step of D; B images of each kind.

    In several processes each has all of the batch, but of `real`, `fake` and `draws` its own share.

    Attributes:
        step: number of D's step since the run began.
        iteration: the iteration it belongs to.
        real, fake: images [B, C, S, S], -1 to 1, before augmentation; real ones mirrored or not.
        logits_real, logits_fake: D's logits [B] of the augmented images.
        h_real, h_fake: D's features [B, ds] of them.
        h: all of one pass [2B or more, ds], real ones first, then generated ones, then views, in
            the graph of everything below.
        adversarial: D's adversarial loss.
        teacher_real, teacher_fake: the teacher's features [B, dt] of `real` and `fake`; None where
            no term reads them in this step.
        labels: of real and generated images, int64 [2B].
        draws: the step's random numbers.
        views: what D says of the terms' views, by the terms' names.
        steepness: squared norms [B] of the gradients of D's logits by images, differentiable, of
            those names of `GRADIENTS` that a term reads in this step.
        together: numbers of a process's own images → those of the whole batch.
    """

    step: int
    iteration: int
    real: torch.Tensor
    fake: torch.Tensor
    logits_real: torch.Tensor
    logits_fake: torch.Tensor
    h_real: torch.Tensor
    h_fake: torch.Tensor
    h: torch.Tensor
    adversarial: torch.Tensor
    teacher_real: torch.Tensor | None
    teacher_fake: torch.Tensor | None
    labels: torch.Tensor | None = None
    draws: StepDraws | None = None
    views: Mapping[str, Look] = field(default_factory=dict)
    steepness: Mapping[str, torch.Tensor] = field(default_factory=dict)
    together: Together = alone


@dataclass(frozen=True)
class Made:
    """What a step of G has at hand; B images, D without gradient of its own.

    Attributes:
        fake: generated images [B, C, S, S], -1 to 1, before augmentation, with gradient.
        logits: D's logits [B] of the augmented images.
        h: D's features [B, ds] of them.
        draws: the step's random numbers.
        generate: latents [B, z_dim], labels [B] → images, with gradient.
        judge: images, labels → logits and features.
        together: numbers of a process's own images → those of the whole batch.
    """

    fake: torch.Tensor
    logits: torch.Tensor
    h: torch.Tensor
    draws: StepDraws
    generate: Images
    judge: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    together: Together = alone


@dataclass(frozen=True)
class Setting:
    """The dimensions that a term is built for.

    Attributes:
        feature_dim: ds, of D's features.
        teacher_dim: dt, of the teacher's; 0 without one.
        name: the term's in the recipe.
        loss: the adversarial loss's name.
        policies: of the run's augmentation.
        flip: whether training images are mirrored.
        z_dim: of latents.
        batch_size: B.
        d_steps: steps of D an iteration.
        teacher: its spec.
        class_names: of the training images.
        image_size: their side, pixels.
        num_images: number of training images.
    """

    feature_dim: int
    teacher_dim: int = 0
    name: str = ""
    loss: str = "hinge"
    policies: tuple[str, ...] = ()
    flip: bool = True
    z_dim: int = 128
    batch_size: int = 50
    d_steps: int = 1
    teacher: str = "none"
    class_names: tuple[str, ...] = ()
    image_size: int = 32
    num_images: int = 50_000


class Contribution(NamedTuple):
    """A term's contribution to a loss, and its values for the log."""

    loss: torch.Tensor
    scalars: dict[str, torch.Tensor]


# What `Term.reads` may name beside the teacher's features: gradients of D's logits by the images
# before augmentation (through it), and by the augmented images.
GRADIENTS = ("by_real", "by_fake", "by_shown_real", "by_shown_fake")


class Term(nn.Module, ABC):
    """A part of D's loss, and of G's, beside the adversarial one.

    Its parameters are trained with D's, its buffers are its own; both are saved with the run. A
    subclass says in its docstring the paper, the equation, and what it changes for whom.

    In a step of D its methods are called in this order: `begin`, `real`, `show`, `discriminator`;
    in a step of G: `begin`, `generator`. All but what a term needs may be left as they are.

    Args:
        settings: its `Settings`.
        setting: what it is made for.
    """

    paper: ClassVar[str]
    Settings: ClassVar[type[Group]] = TermSettings
    normalises = False  # whether it has D normalise over real images and over generated ones
    static = True  # whether shapes are fixed and the device is asked nothing, apart from `phase`

    def __init__(self, settings: Group, setting: Setting):
        super().__init__()
        self.settings, self.name = settings, setting.name

    def alter(self, discriminator: nn.Module, augmentation: Augmentation) -> None:
        """Change D itself or the augmentation, once, before D is moved to its device and trained.

        Raises:
            GanVkdError: a discriminator that can't be changed so.
        """

    def draw(
        self, shape: tuple[int, ...], size: int, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Its own random numbers of an iteration, on the CPU; a step's are `draws.own[self.name]`.

        Args:
            shape: (steps of D and then of G, B): how every tensor's shape begins.
            size: side of the images, pixels.
            generator: to draw from.
        """
        return {}

    def summary(self) -> str:
        """The term in a few words, for the plan of a run."""
        return type(self).__name__.removesuffix("Term")

    def prepare(
        self,
        teacher_features: Callable[[], Iterable[torch.Tensor]] | None,
        labels: torch.Tensor | None = None,
    ) -> None:
        """Take statistics of the data, once, before the first iteration of a run.

        Args:
            teacher_features: gives the teacher's features [b, dt] of all training images; None
                without a teacher.
            labels: int64 [N], of the images whose features these are, in their order.
        """

    def reads(self, step: int) -> frozenset[str]:
        """Which of `teacher_real`, `teacher_fake` and `GRADIENTS` it reads in D's step `step`."""
        return frozenset()

    def phase(self, step: int, iteration: int) -> Hashable:
        """All through which the step's number decides which operations the term has."""
        return self.reads(step)

    def begin(self, draws: StepDraws, training: str) -> None:
        """A step begins, of `d` or of `g`; D has seen nothing yet."""

    def real(self, scene: Scene) -> Real:
        """What D is shown as real."""
        return scene.real

    def show(self, scene: Scene, real: torch.Tensor, fake: torch.Tensor) -> View | None:
        """What D looks at for this term, beside the augmented `real` and `fake` images."""
        return None

    @abstractmethod
    def discriminator(self, seen: Seen) -> Contribution:
        """Its contribution to D's loss."""

    def generator(self, made: Made) -> Contribution | None:
        """What it adds to G's loss; None for nothing."""
        return None

    def probe(self, batches: list[tuple[torch.Tensor, torch.Tensor | None]]) -> dict[str, float]:
        """Measurements, without training, on D's and the teacher's features of some images.

        Args:
            batches: pairs of h [b, ds] and z [b, dt] (None without a teacher).
        """
        return {}
