"""Variational information distillation (Ahn et al., CVPR 2019)."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from gan_vkd.distill.methods.method import (
    Method,
    MethodSettings,
    Seen,
    Setting,
    Weight,
    of_one_side,
    paired_from_the_end,
    stage_maps,
)

VARIANCE = 5.0  # of each channel at first


class VidSettings(MethodSettings):
    """Variational information distillation of all stages; weight 1 (CRD's comparison)."""

    method: Literal["vid"] = Field("vid", description="of distillation (gan-vkd methods)")
    weight: Weight = Field(1.0, description="of the method")


class Vid(Method):
    """Σ over stages of mean [log σ_c² + (F_t - μ_c(F_s))² / σ_c²] / 2, σ_c² learnt a channel.

    μ is three 1x1 convolutions with ReLUs between, all as wide as the teacher's map.
    """

    paper = "Ahn et al., CVPR 2019"
    needs = ("maps",)
    by_stages = True
    Settings = VidSettings

    def __init__(self, settings: VidSettings, setting: Setting):
        super().__init__(settings, setting)
        pairs = paired_from_the_end(stage_maps(setting.student), stage_maps(setting.teacher))
        dims = [(ours.shape[1], theirs.shape[1]) for ours, theirs in pairs]
        self.losses = nn.ModuleList(
            VidLoss(*pair, mean=_regressor(*pair), variance=VARIANCE) for pair in dims
        )

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of all stages' maps; averaged over channels too."""
        pairs = paired_from_the_end(stage_maps(seen.student), stage_maps(seen.teacher))
        total = 0
        for loss, pair in zip(self.losses, pairs, strict=True):
            ours, theirs = (maps.movedim(1, -1) for maps in of_one_side(*pair))
            total = total + loss(ours, theirs) / theirs.shape[-1]
        return total


def _regressor(student_dim: int, teacher_dim: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Linear(student_dim, teacher_dim, bias=False), nn.ReLU()),
        *(nn.Linear(teacher_dim, teacher_dim, bias=False), nn.ReLU()),
        nn.Linear(teacher_dim, teacher_dim, bias=False),
    )


class VidLoss(nn.Module):
    """Variational information distillation of feature vectors.

    The teacher's features are a Gaussian around a map μ of the student's, with a variance a
    channel that is learnt. Its negative log-likelihood without the constant, averaged over all
    vectors:

        Σ_c log σ_c + (z_c - μ_c(h))² / (2 σ_c²),  σ_c² = log(1 + e^α_c) + ε

    Args:
        student_dim: ds.
        teacher_dim: dt.
        mean: μ; default a linear map.
        variance: σ² at first.
        smallest: ε.
    """

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        mean: nn.Module | None = None,
        variance: float = 1.0,
        smallest: float = 1e-5,
    ):
        super().__init__()
        self.mean = nn.Linear(student_dim, teacher_dim) if mean is None else mean
        alpha = math.log(math.expm1(variance - smallest))
        self.alpha = nn.Parameter(torch.full((teacher_dim,), alpha))
        self.smallest = smallest

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """[..., ds] and [..., dt] → scalar."""
        variance = F.softplus(self.alpha) + self.smallest
        squared = (self.mean(student) - teacher.detach()).square()
        return (variance.log() + squared / variance).sum(dim=-1).mean() / 2
