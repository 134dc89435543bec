"""Knowledge review (Chen et al., CVPR 2021)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from gan_vkd.distill.full_precision import at_least_float32
from gan_vkd.distill.methods.method import (
    Method,
    MethodSettings,
    Seen,
    Setting,
    Weight,
    averaged,
    paired_from_the_end,
)
from gan_vkd.distill.outputs import Outputs

MOST_CHANNELS = 512  # of what is handed from stage to stage
LEVELS = (4, 2, 1)  # sides of the pyramid's smaller maps


class ReviewSettings(MethodSettings):
    """Knowledge review; weight 5, that of resnet32x4 → resnet8x4 (published a pair each)."""

    method: Literal["reviewkd"] = Field("reviewkd", description="of distillation (gan-vkd methods)")
    weight: Weight = Field(5.0, description="of the method; published a pair each, 1 to 8")
    warmup: float = Field(20.0, ge=0, le=1e6, description="epochs over which weight grows from 0")


class ReviewKd(Method):
    """Σ over levels of HCL(ABF(F_s), F_t), from the pooled features back to the first stage.

    Each level fuses the student's map with what the level above handed on (`Fusion`), and is
    compared with the teacher's map, before its ReLU, over a pyramid (`pyramid_distance`).
    """

    paper = "Chen et al., CVPR 2021"
    needs = ("maps", "preactivations")
    by_stages = True
    Settings = ReviewSettings

    def __init__(self, settings: ReviewSettings, setting: Setting):
        super().__init__(settings, setting)
        pairs = _levels(setting.student, setting.teacher)
        inner = min(MOST_CHANNELS, pairs[0][0].shape[1])
        self.fusions = nn.ModuleList(
            Fusion(ours.shape[1], inner, theirs.shape[1], fuses=number > 0)
            for number, (ours, theirs) in enumerate(pairs)
        )

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of all stages' maps and the pooled features."""
        handed, total = None, 0
        pairs = _levels(seen.student, seen.teacher)
        for fusion, (ours, theirs) in zip(self.fusions, pairs, strict=True):
            compared, handed = fusion(ours, handed, theirs.shape[-1])
            total = total + pyramid_distance(compared, theirs)
        return total


def _levels(student: Outputs, teacher: Outputs) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pooled features as maps of one position, then the stages' maps from the last to the first."""

    def deepest_last(maps: tuple[torch.Tensor, ...], pooled: torch.Tensor) -> list[torch.Tensor]:
        return [at_least_float32(x) for x in (*maps[1:], pooled[:, :, None, None])]

    return paired_from_the_end(
        deepest_last(student.maps, student.pooled),
        deepest_last(teacher.preactivations, teacher.pooled),
    )[::-1]


class Fusion(nn.Module):
    """Attention-based fusion (ABF) of a map with what the level above handed on.

    Args:
        before: channels of the student's map.
        inner: channels of what is handed on.
        after: channels of the teacher's map.
        fuses: whether a level above exists.
    """

    def __init__(self, before: int, inner: int, after: int, fuses: bool):
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(before, inner, 1, bias=False), nn.BatchNorm2d(inner))
        self.leave = nn.Sequential(
            nn.Conv2d(inner, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)
        )
        for branch in (self.enter, self.leave):
            nn.init.kaiming_uniform_(branch[0].weight, a=1)
        self.attend = nn.Conv2d(2 * inner, 2, 1) if fuses else None

    def forward(
        self, maps: torch.Tensor, handed: torch.Tensor | None, side: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, before, h, h], what was handed on → [B, after, side, side], and what is."""
        x = self.enter(maps)
        if self.attend is not None:
            handed = nearest(handed, x.shape[-1])
            ours, theirs = self.attend(torch.cat([x, handed], dim=1)).sigmoid().split(1, dim=1)
            x = x * ours + handed * theirs
        x = nearest(x, side)
        return self.leave(x), x


def nearest(maps: torch.Tensor, side: int) -> torch.Tensor:
    """[B, C, H, H] → [B, C, side, side] by the nearest position, as `F.interpolate` has it.

    Where one side divides the other, in a form whose gradient is deterministic on a GPU.
    """
    own = maps.shape[-1]
    if side % own == 0:
        return maps.repeat_interleave(side // own, dim=2).repeat_interleave(side // own, dim=3)
    if own % side == 0:
        return maps[:, :, :: own // side, :: own // side]
    return F.interpolate(maps, size=(side, side), mode="nearest")


def pyramid_distance(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Hierarchical context loss of maps [B, C, h, h] → scalar.

    Mean squared errors of the maps and of their averages of 4x4, 2x2 and 1x1 positions (where the
    map is larger), of weights 1, 1/2, 1/4 and 1/8, over the sum of the weights.
    """
    total, weights, weight = F.mse_loss(ours, theirs), 1.0, 1.0
    for side in (level for level in LEVELS if level < ours.shape[-1]):
        weight /= 2
        pooled = (averaged(maps, side) for maps in (ours, theirs))
        total = total + weight * F.mse_loss(*pooled)
        weights += weight
    return total / weights
