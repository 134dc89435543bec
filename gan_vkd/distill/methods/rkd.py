"""Relational knowledge distillation (Park et al., CVPR 2019)."""

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
    pooled_pair,
)


class RkdSettings(MethodSettings):
    """Distances and angles; weights 25 and 50 (CRD's comparison)."""

    method: Literal["rkd"] = Field("rkd", description="of distillation (gan-vkd methods)")
    distance_weight: Weight = Field(25.0, description="of the pairs' part")
    angle_weight: Weight = Field(50.0, description="of the triples' part")


class Rkd(Method):
    """Distances between pairs and angles in triples of the pooled features, by the Huber loss."""

    paper = "Park et al., CVPR 2019"
    Settings = RkdSettings

    def __init__(self, settings: RkdSettings, setting: Setting):
        super().__init__(settings, setting)
        self.loss = RkdLoss(settings.distance_weight, settings.angle_weight)

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of the pooled features."""
        return self.loss(*pooled_pair(seen))


class RkdLoss(nn.Module):
    """Relational knowledge distillation: distances and angles (Park et al., CVPR 2019).

    Two relations are compared by the Huber loss, averaged over all pairs and all triples:

        ψ_D(i, j) = ‖f_i - f_j‖ / μ, μ the mean over the pairs i ≠ j        (L_RKD-D)
        ψ_A(i, j, k) = cos ∠ f_i f_j f_k, the angle at j                     (L_RKD-A)

    Takes B²·d and B³ numbers of memory.

    Args:
        distance_weight: of the pairs' part; the paper's comparison has 1 and 2.
        angle_weight: of the triples' part.
    """

    def __init__(self, distance_weight: float = 1.0, angle_weight: float = 2.0):
        super().__init__()
        self.weights = distance_weight, angle_weight

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """[B, ds] and [B, dt], B ≥ 2 → scalar."""
        with torch.no_grad():
            expected = _relations(teacher)
        return sum(
            weight * F.smooth_l1_loss(ours, theirs)
            for weight, ours, theirs in zip(
                self.weights, _relations(student), expected, strict=True
            )
        )


def _relations(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[B, d] → distances over their mean [B, B], and cosines [j, i, k] of the angle at j."""
    differences = features[None] - features[:, None]
    distances = differences.norm(dim=2)
    count = len(features)
    mean = distances.sum() / (count * (count - 1))
    directions = F.normalize(differences, dim=2)
    return distances / mean.clamp_min(1e-12), directions @ directions.mT
