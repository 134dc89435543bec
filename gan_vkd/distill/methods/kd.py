"""Knowledge distillation (Hinton, Vinyals and Dean, NeurIPS workshop 2014)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field

from gan_vkd.distill.full_precision import at_least_float32
from gan_vkd.distill.methods.method import Method, MethodSettings, Seen, Weight


class KdSettings(MethodSettings):
    """Hinton's distillation; cross-entropy .1, divergence .9, T = 4 (CRD's comparison)."""

    method: Literal["kd"] = Field("kd", description="of distillation (gan-vkd methods)")
    ce_weight: Weight = Field(0.1, description="of the cross-entropy with the labels")
    weight: Weight = Field(0.9, description="of the method")


class Kd(Method):
    """T² · KL(softmax(z_t / T) ‖ softmax(z_s / T)), averaged over the batch."""

    paper = "Hinton et al., 2015"
    needs = ("logits",)
    Settings = KdSettings

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of the logits; of a distillation token's, where the student has one."""
        return divergence(seen, self.settings.temperature)


def divergence(seen: Seen, temperature: float) -> torch.Tensor:
    """The student's logits, or its distillation token's, against the teacher's → scalar."""
    own = seen.student
    logits = own.logits if own.token_logits is None else own.token_logits
    return kl_divergence(logits, seen.teacher.logits, temperature)


def kl_divergence(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits [B, K] of both → T² · KL(teacher ‖ student), averaged over B."""
    student, teacher = (at_least_float32(logits) / temperature for logits in (student, teacher))
    ours, theirs = F.log_softmax(student, dim=1), F.log_softmax(teacher, dim=1)
    return temperature**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
