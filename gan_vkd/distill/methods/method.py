"""What a method of distillation between classifiers is: it reads a batch, and gives a scalar."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import nn

from gan_vkd.config.core import Group
from gan_vkd.distill.full_precision import at_least_float32
from gan_vkd.distill.outputs import Outputs
from gan_vkd.errors import GanVkdError

Weight = Annotated[float, Field(ge=0, le=1e6)]


class MethodSettings(Group):
    """Settings of the loss that all methods share; each adds its own."""

    ce_weight: Weight = Field(1.0, description="of the cross-entropy with the labels")
    kd_weight: Weight = Field(0.0, description="of the KL divergence from the teacher's logits")
    temperature: float = Field(4.0, gt=0, le=1e6, description="of the logits in that divergence")
    weight: Weight = Field(1.0, description="of the method")
    warmup: float = Field(0.0, ge=0, le=1e6, description="epochs over which weight grows from 0")


@dataclass(frozen=True)
class Seen:
    """What a step has at hand; B images.

    Attributes:
        student, teacher: what the networks make of them, the teacher's without gradient.
        labels: int64 [B].
        rows: int64 [B], which of the training images they are.
        key: int64 [1], another number each iteration: all that is drawn comes from it.
    """

    student: Outputs
    teacher: Outputs
    labels: torch.Tensor
    rows: torch.Tensor
    key: torch.Tensor


@dataclass(frozen=True)
class Setting:
    """What a method is made for.

    Attributes:
        student, teacher: outputs for two images, for their shapes.
        labels: int64 [N], of all training images, on the CPU.
    """

    student: Outputs
    teacher: Outputs
    labels: torch.Tensor


class Method(nn.Module, ABC):
    """A part of the student's loss beside cross-entropy and KL divergence.

    Its parameters are trained with the student's and thrown away, its buffers are saved with the
    run. A subclass says in its docstring the paper and the equation; its default weight is the
    published one. It is called outside of autocast.

    Args:
        settings: its `Settings`.
        setting: what it is made for.

    Raises:
        GanVkdError: student and teacher do not have what it compares.
    """

    paper: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()  # fields of `Outputs`, of student and teacher
    by_stages: ClassVar[bool] = False  # compares the maps behind the stem's
    Settings: ClassVar[type[Group]] = MethodSettings
    static = True  # whether shapes are fixed and the device is asked nothing

    def __init__(self, settings: MethodSettings, setting: Setting):
        super().__init__()
        self.settings = settings
        for field in self.needs:
            for side in ("student", "teacher"):
                value = getattr(getattr(setting, side), field)
                if value is None or (isinstance(value, tuple) and not value):
                    raise GanVkdError(
                        f"--method {settings.method}: the {side} has no {field}: "
                        f"{REMEDIES.get(field, 'choose another network')}"
                    )
        for side in ("student", "teacher") if self.by_stages else ():
            if not stage_maps(getattr(setting, side)):
                raise GanVkdError(
                    f"--method {settings.method}: compares the stages of two networks, and the "
                    f"{side} gives its last map alone: choose --teacher file:PATH of a "
                    "convolutional network, or a method of one map (sp, ickd)"
                )

    def prepare(self, teacher_outputs: Callable[[], Iterable[Outputs]]) -> None:
        """Take what it needs to know of the data, once, before the first iteration of a run.

        Args:
            teacher_outputs: gives the teacher's outputs for all training images, in batches.
        """

    @abstractmethod
    def forward(self, seen: Seen) -> torch.Tensor:
        """Its value, without the weight."""


REMEDIES = {
    "logits": "train a teacher of these classes with --method none, then --teacher file:PATH",
    "maps": "choose a convolutional network, or a method for pooled features",
    "preactivations": "choose a convolutional network, or a method for pooled features",
}


def stage_maps(outputs: Outputs) -> list[torch.Tensor]:
    """The stages' feature maps in float32, without the stem's: what AT, NST and VID compare."""
    return [at_least_float32(x) for x in outputs.maps[1:]]


def pooled_pair(seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
    """The student's and the teacher's pooled features [B, ds] and [B, dt] in float32."""
    return at_least_float32(seen.student.pooled), at_least_float32(seen.teacher.pooled)


def paired_from_the_end(ours: list, theirs: list) -> list[tuple]:
    """As many of the last entries as both have, in order."""
    count = min(len(ours), len(theirs))
    return list(zip(ours[len(ours) - count :], theirs[len(theirs) - count :], strict=True))


def of_one_side(ours: torch.Tensor, theirs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two maps [B, C, H, W], the larger one averaged to the other's positions."""
    side = min(ours.shape[-1], theirs.shape[-1])
    return averaged(ours, side), averaged(theirs, side)


def over_stages(
    seen: Seen, distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """The sum over stages, from the last one on, of `distance` between two maps of one side."""
    pairs = paired_from_the_end(stage_maps(seen.student), stage_maps(seen.teacher))
    return sum(distance(*of_one_side(*pair)) for pair in pairs)


def averaged(maps: torch.Tensor, side: int) -> torch.Tensor:
    """[B, C, H, H] → [B, C, side, side], side ≤ H, by means of equal squares where it divides H."""
    own = maps.shape[-1]
    if own == side:
        return maps
    if own % side == 0:
        return nn.functional.avg_pool2d(maps, own // side)
    return nn.functional.adaptive_avg_pool2d(maps, side)
