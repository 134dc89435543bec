"""Neuron selectivity transfer (Huang and Wang, 2017)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field

from gan_vkd.distill.methods.method import Method, MethodSettings, Seen, Weight, over_stages


class NstSettings(MethodSettings):
    """Neuron selectivity transfer; weight 50 (CRD's comparison)."""

    method: Literal["nst"] = Field("nst", description="of distillation (gan-vkd methods)")
    weight: Weight = Field(50.0, description="of the method")


class Nst(Method):
    """Σ over stages of the squared maximum mean discrepancy between channels, kernel (x·y)².

    A channel is a vector over the positions, of unit length.
    """

    paper = "Huang and Wang, 2017"
    needs = ("maps",)
    by_stages = True
    Settings = NstSettings

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of all stages' maps."""
        return over_stages(seen, discrepancy)


def discrepancy(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Maps [B, Cs, H, W] and [B, Ct, H, W] → scalar, averaged over B."""
    s, t = (F.normalize(maps.flatten(2), dim=2) for maps in (ours, theirs))

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a @ b.mT).square().mean()

    return kernel(t, t) + kernel(s, s) - 2 * kernel(s, t)
