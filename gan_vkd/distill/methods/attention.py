"""Attention transfer (Zagoruyko and Komodakis, ICLR 2017)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field

from gan_vkd.distill.methods.method import Method, MethodSettings, Seen, Weight, over_stages


class AttentionSettings(MethodSettings):
    """Attention transfer; weight 1,000 (CRD's comparison)."""

    method: Literal["at"] = Field("at", description="of distillation (gan-vkd methods)")
    weight: Weight = Field(1_000.0, description="of the method")


class Attention(Method):
    """Σ over stages of mean (q_s - q_t)², q a map's mean square over channels, of unit length."""

    paper = "Zagoruyko and Komodakis, ICLR 2017"
    needs = ("maps",)
    by_stages = True
    Settings = AttentionSettings

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of all stages' maps."""
        return over_stages(seen, attention_distance)


def attention_distance(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Maps [B, Cs, H, W] and [B, Ct, H, W] → scalar."""
    attentions = (
        F.normalize(maps.square().mean(dim=1).flatten(1), dim=1) for maps in (ours, theirs)
    )
    return F.mse_loss(*attentions)
