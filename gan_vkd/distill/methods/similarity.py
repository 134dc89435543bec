"""Similarity-preserving distillation (Tung and Mori, ICCV 2019)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field

from gan_vkd.distill.full_precision import at_least_float32
from gan_vkd.distill.methods.method import Method, MethodSettings, Seen, Weight


class SimilaritySettings(MethodSettings):
    """Similarity-preserving distillation; weight 3,000 (CRD's comparison)."""

    method: Literal["sp"] = Field("sp", description="of distillation (gan-vkd methods)")
    weight: Weight = Field(3_000.0, description="of the method")


class Similarity(Method):
    """‖G_s - G_t‖² / B², G the B x B products of the last maps, each row of unit length."""

    paper = "Tung and Mori, ICCV 2019"
    needs = ("maps",)
    Settings = SimilaritySettings

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of the last maps."""
        ours, theirs = (at_least_float32(out.maps[-1]) for out in (seen.student, seen.teacher))
        return similarity_distance(ours, theirs)


def similarity_distance(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Any features [B, ...] of both → scalar."""
    flat = (features.flatten(1) for features in (ours, theirs))
    return F.mse_loss(*(F.normalize(rows @ rows.T, dim=1) for rows in flat))
