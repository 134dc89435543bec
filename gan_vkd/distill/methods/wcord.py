"""Wasserstein contrastive representation distillation (Chen et al., CVPR 2021)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from gan_vkd.distill.methods.crd import Negatives
from gan_vkd.distill.methods.method import (
    Method,
    MethodSettings,
    Seen,
    Setting,
    Weight,
    pooled_pair,
)


class WcordSettings(MethodSettings):
    """Wasserstein contrastive distillation: global part .8, local part .05."""

    method: Literal["wcord"] = Field("wcord", description="of distillation (gan-vkd methods)")
    global_weight: Weight = Field(0.8, description="of the dual, over negatives of the memory")
    local_weight: Weight = Field(0.05, description="of the primal, within the batch")
    negatives: int = Field(16_384, gt=0, le=2**24, description="images of other classes an image")
    embedding_dim: int = Field(128, gt=0, le=2**16, description="of the unit vectors")
    contrast_temperature: float = Field(0.07, gt=0, le=1e3, description="τ of the similarities")
    momentum: float = Field(0.5, ge=0, lt=1, description="of the memory")
    entropy: float = Field(0.05, gt=0, le=1e3, description="of the transport plan's blur")
    sinkhorn_iterations: int = Field(10, gt=0, le=1_000, description="that find the plan")


class WcordKdSettings(WcordSettings):
    """The same beside the KL divergence of weight 1: the row WCoRD of V_kD's Table 1."""

    method: Literal["wcord+kd"] = Field("wcord+kd", description="of distillation (gan-vkd methods)")
    kd_weight: Weight = Field(1.0, description="of the KL divergence from the teacher's logits")


class Wcord(Method):
    """λ₁ (E_other g - E_own g) + λ₂ min_Π Σ Π_ij (1 - cos(s_i, t_j)).

    The first part is the dual form of the Wasserstein distance between pairs of one image and of
    two: g(t, s) = t·s / τ of unit vectors after spectrally normalised linear maps, the other side
    out of a memory as in CRD. The second is the primal form between the batch's two sets of
    vectors, Π an entropic transport plan with uniform margins (`sinkhorn`), held fixed for the
    gradient. The authors published no code: the memory's settings are CRD's, and the weights, the
    entropy and the mean over negatives (in place of their sum) are not confirmed by any.
    """

    paper = "Chen et al., CVPR 2021"
    Settings = WcordSettings

    def __init__(self, settings: WcordSettings, setting: Setting):
        super().__init__(settings, setting)
        self.negatives = Negatives(setting.labels)
        size = settings.embedding_dim
        for side in ("student", "teacher"):
            dim = getattr(setting, side).pooled.shape[1]
            setattr(self, f"embed_{side}", spectral_norm(nn.Linear(dim, size)))
            memory = F.normalize(torch.randn(len(setting.labels), size), dim=1)
            self.register_buffer(f"{side}_memory", memory)

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of the pooled features."""
        own = self.settings
        student, teacher = pooled_pair(seen)
        ours = F.normalize(self.embed_student(student), dim=1)
        theirs = F.normalize(self.embed_teacher(teacher), dim=1)
        others = self.negatives(seen.labels, own.negatives, seen.key)
        apart = dual(ours, self.teacher_memory, seen.rows, others)
        apart = apart + dual(theirs, self.student_memory, seen.rows, others)
        self._remember(self.student_memory, ours, seen.rows)
        self._remember(self.teacher_memory, theirs, seen.rows)
        moved = transport_cost(ours, theirs, own.entropy, own.sinkhorn_iterations)
        return own.global_weight * apart / own.contrast_temperature + own.local_weight * moved

    @torch.no_grad()
    def _remember(self, memory: torch.Tensor, rows: torch.Tensor, indices: torch.Tensor) -> None:
        momentum = self.settings.momentum
        memory[indices] = F.normalize(momentum * memory[indices] + (1 - momentum) * rows, dim=1)


class WcordKd(Wcord):
    """The Wasserstein contrastive loss beside the KL divergence of the logits."""

    needs = ("logits",)
    Settings = WcordKdSettings


def dual(
    anchors: torch.Tensor, memory: torch.Tensor, own: torch.Tensor, others: torch.Tensor
) -> torch.Tensor:
    """Mean cosine with others' rows of the memory less that with their own → scalar.

    Args:
        anchors: unit vectors [B, E].
        memory: unit vectors [N, E].
        own: rows int64 [B].
        others: rows int64 [B, K].
    """
    apart = (memory[others] @ anchors[:, :, None]).mean()
    return apart - (memory[own] * anchors).sum(dim=1).mean()


def transport_cost(
    ours: torch.Tensor, theirs: torch.Tensor, entropy: float, iterations: int
) -> torch.Tensor:
    """Unit vectors [B, E] of both → Σ Π_ij (1 - cos), the plan without gradient; scalar."""
    cost = 1 - ours @ theirs.T
    return (sinkhorn(cost.detach(), entropy, iterations) * cost).sum()


def sinkhorn(cost: torch.Tensor, entropy: float, iterations: int) -> torch.Tensor:
    """The plan that minimises Σ Π cost - entropy · H(Π), rows and columns summing to 1/B.

    Sinkhorn's iteration in logarithms (Cuturi, NeurIPS 2013); columns are exact, rows nearly so.

    Args:
        cost: [B, B].
        entropy: the smaller, the sharper the plan, and the more iterations it takes.
        iterations: of rows and columns.

    Returns:
        [B, B], summing to 1.
    """
    log_plan = -cost / entropy
    for _ in range(iterations):
        log_plan = log_plan.log_softmax(dim=1)
        log_plan = log_plan.log_softmax(dim=0)
    return log_plan.exp() / len(cost)
