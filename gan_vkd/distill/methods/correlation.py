"""Correlation congruence (Peng et al., ICCV 2019), as the CRD benchmark compares it."""

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

EMBEDDING_DIM = 128


class CorrelationSettings(MethodSettings):
    """Correlation congruence; weight .02 (CRD's comparison)."""

    method: Literal["cc"] = Field("cc", description="of distillation (gan-vkd methods)")
    weight: Weight = Field(0.02, description="of the method")


class Correlation(Method):
    """Mean over i < B of Σ_d |δ_i| |δ_i+1|, δ the difference of linear embeddings of both sides.

    The form of CRD's comparison, which has it from the authors; both embeddings are trained.
    """

    paper = "Peng et al., ICCV 2019"
    Settings = CorrelationSettings

    def __init__(self, settings: CorrelationSettings, setting: Setting):
        super().__init__(settings, setting)
        self.embed_student = nn.Linear(setting.student.pooled.shape[1], EMBEDDING_DIM)
        self.embed_teacher = nn.Linear(setting.teacher.pooled.shape[1], EMBEDDING_DIM)

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of the pooled features."""
        ours, theirs = pooled_pair(seen)
        difference = (self.embed_student(ours) - self.embed_teacher(theirs)).abs()
        return (difference[:-1] * difference[1:]).sum(dim=1).mean()
