"""Decoupled knowledge distillation (Zhao et al., CVPR 2022)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field

from gan_vkd.distill.full_precision import at_least_float32
from gan_vkd.distill.methods.method import Method, MethodSettings, Seen, Weight


class DkdSettings(MethodSettings):
    """Decoupled distillation; mdistiller's weights for resnet32x4 → ShuffleNet."""

    method: Literal["dkd"] = Field("dkd", description="of distillation (gan-vkd methods)")
    target_weight: Weight = Field(1.0, description="of TCKD, the target class's part")
    other_weight: Weight = Field(
        8.0,
        description="of NCKD, the other classes' part; published for Table 1: 6 for vgg13, 8 else",
    )
    warmup: float = Field(20.0, ge=0, le=1e6, description="epochs over which weight grows from 0")


class Dkd(Method):
    """target_weight · TCKD + other_weight · NCKD, both times T².

    TCKD is the divergence between the two-way distributions (target class, all others); NCKD that
    between the distributions over the other classes alone. (KD is TCKD + (1 - p_t) NCKD, p_t the
    teacher's probability of the target.)
    """

    paper = "Zhao et al., CVPR 2022"
    needs = ("logits",)
    Settings = DkdSettings

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of the logits."""
        own = self.settings
        target, other = decoupled(
            seen.student.logits, seen.teacher.logits, seen.labels, own.temperature
        )
        return own.target_weight * target + own.other_weight * other


def decoupled(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [B, K] of both and labels [B] → TCKD and NCKD, times T², averaged over B."""
    of_target = torch.arange(student.shape[1], device=labels.device) == labels[:, None]
    rows = torch.arange(len(labels), device=labels.device)

    def parts(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities [B, 2] of target and rest, and [B, K] within the rest."""
        scaled = at_least_float32(logits) / temperature
        rest = scaled.masked_fill(of_target, -torch.inf)
        pair = torch.stack([scaled[rows, labels], rest.logsumexp(dim=1)], dim=1)
        # The target's own entry has no part in the rest: 0 on both sides.
        within = F.log_softmax(rest, dim=1).masked_fill(of_target, 0.0)
        return F.log_softmax(pair, dim=1), within

    ours, theirs = parts(student), parts(teacher)
    target = F.kl_div(ours[0], theirs[0], reduction="batchmean", log_target=True)
    chances = theirs[1].exp().masked_fill(of_target, 0.0)
    other = (chances * (theirs[1] - ours[1])).sum(dim=1).mean()
    return temperature**2 * target, temperature**2 * other
