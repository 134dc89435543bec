"""The simple recipe of Miles and Mikolajczyk ("Understanding the role of the projector ...")."""

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from gan_vkd.distill.methods.method import (
    Method,
    MethodSettings,
    Seen,
    Setting,
    Weight,
    pooled_pair,
)


class SrdSettings(MethodSettings):
    """A linear projector, batch norm on both sides, the logarithm of fourth powers; weight 1."""

    method: Literal["srd"] = Field("srd", description="of distillation (gan-vkd methods)")
    weight: Weight = Field(1.0, description="of the method")


class SrdLoss(nn.Module):
    """log Σ |BN(W h + b) - BN(z)|⁴, over images and features, BN without affine map.

    Args:
        student_dim: ds.
        teacher_dim: dt.
    """

    def __init__(self, student_dim: int, teacher_dim: int):
        super().__init__()
        self.embed = nn.Linear(student_dim, teacher_dim)
        self.norm_student = nn.BatchNorm1d(teacher_dim, eps=1e-4, affine=False)
        self.norm_teacher = nn.BatchNorm1d(teacher_dim, eps=1e-4, affine=False)

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """[B, ds] and [B, dt] → scalar."""
        difference = self.norm_student(self.embed(student)) - self.norm_teacher(teacher)
        return difference.pow(4).sum().clamp_min(1e-12).log()


class Srd(Method):
    """log Σ |BN(W h + b) - BN(z)|⁴ of the pooled features, as the authors' ImageNet code has it."""

    paper = "Miles and Mikolajczyk, AAAI 2024"
    Settings = SrdSettings

    def __init__(self, settings: SrdSettings, setting: Setting):
        super().__init__(settings, setting)
        self.loss = SrdLoss(setting.student.pooled.shape[1], setting.teacher.pooled.shape[1])

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of the pooled features."""
        return self.loss(*pooled_pair(seen))
