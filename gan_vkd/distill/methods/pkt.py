"""Probabilistic knowledge transfer (Passalis and Tefas, ECCV 2018)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field

from gan_vkd.distill.methods.method import Method, MethodSettings, Seen, Weight, pooled_pair

TINY = 1e-7  # keeps logarithms finite


class PktSettings(MethodSettings):
    """Probabilistic knowledge transfer; weight 30,000 (CRD's comparison)."""

    method: Literal["pkt"] = Field("pkt", description="of distillation (gan-vkd methods)")
    weight: Weight = Field(30_000.0, description="of the method")


class Pkt(Method):
    """Mean over all pairs of p_t log(p_t / p_s), p_ij = (1 + cos(f_i, f_j)) over its row's sum."""

    paper = "Passalis and Tefas, ECCV 2018"
    Settings = PktSettings

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of the pooled features."""
        return transfer(*pooled_pair(seen))


def transfer(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Features [B, ds] and [B, dt] → scalar."""

    def chances(features: torch.Tensor) -> torch.Tensor:
        unit = F.normalize(features, dim=1)
        similar = (unit @ unit.T + 1) / 2
        return similar / similar.sum(dim=1, keepdim=True)

    p_s, p_t = chances(ours), chances(theirs)
    return (p_t * ((p_t + TINY) / (p_s + TINY)).log()).mean()
