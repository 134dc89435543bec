"""The interface of terms: a term reads a step and returns a scalar and values for the log."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import nn

from gan_vkd.config.core import Group


class TermSettings(Group):
    """Settings of a term that has none of its own."""


@dataclass(frozen=True)
class Seen:
    """The tensors of a step of D; B images of each kind.

    In several processes each has all of the batch, but of `real` and `fake` its own share.

    Attributes:
        step: number of D's step since the run began.
        iteration: the iteration it belongs to.
        real, fake: images [B, C, S, S], -1 to 1, before augmentation; real ones mirrored or not.
        logits_real, logits_fake: D's logits [B] of the augmented images.
        h_real, h_fake: D's features [B, ds] of them.
        h: both of one pass [2B, ds], real ones first, in the graph of everything below.
        adversarial: D's adversarial loss.
        teacher_real, teacher_fake: the teacher's features [B, dt] of `real` and `fake`; None where
            no term reads them in this step.
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


@dataclass(frozen=True)
class Setting:
    """The dimensions that a term is built for.

    Attributes:
        feature_dim: ds, of D's features.
        teacher_dim: dt, of the teacher's; 0 without one.
    """

    feature_dim: int
    teacher_dim: int = 0


class Contribution(NamedTuple):
    """A term's contribution to a loss, and its values for the log."""

    loss: torch.Tensor
    scalars: dict[str, torch.Tensor]


class Term(nn.Module):
    """A part of D's loss beside the adversarial one.

    Its parameters are trained with D's, its buffers are its own; both are saved with the run. A
    subclass says in its docstring the paper, the equation, and what it changes for whom.

    Args:
        settings: its `Settings`.
        setting: what it is made for.
    """

    paper: ClassVar[str]
    Settings: ClassVar[type[Group]] = TermSettings
    static = True  # whether shapes are fixed and the device is asked nothing, apart from `phase`

    def __init__(self, settings: Group, setting: Setting):
        super().__init__()
        self.settings = settings

    def summary(self) -> str:
        """The term in a few words, for the plan of a run."""
        return type(self).__name__.removesuffix("Term")

    def prepare(self, teacher_features: Callable[[], Iterable[torch.Tensor]] | None) -> None:
        """Take statistics of the data, once, before the first iteration of a run.

        Args:
            teacher_features: gives the teacher's features [b, dt] of all training images; None
                without a teacher.
        """

    def reads(self, step: int) -> frozenset[str]:
        """Which of `teacher_real` and `teacher_fake` it reads in D's step number `step`."""
        return frozenset()

    def phase(self, step: int, iteration: int) -> Hashable:
        """All through which the step's number decides which operations the term has."""
        return self.reads(step)

    def discriminator(self, seen: Seen) -> Contribution:
        """Its contribution to D's loss."""
        raise NotImplementedError

    def probe(self, batches: list[tuple[torch.Tensor, torch.Tensor | None]]) -> dict[str, float]:
        """Measurements, without training, on D's and the teacher's features of some images.

        Args:
            batches: pairs of h [b, ds] and z [b, dt] (None without a teacher).
        """
        return {}
