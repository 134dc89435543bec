"""No distillation: the labels alone."""

from typing import Literal

import torch
from pydantic import Field

from gan_vkd.distill.methods.method import Method, MethodSettings, Seen


class NoneSettings(MethodSettings):
    """The labels alone."""

    method: Literal["none"] = Field("none", description="of distillation (gan-vkd methods)")
    weight: Literal[0.0] = Field(0.0, description="there is nothing to weigh")


class NoMethod(Method):
    """Cross-entropy with the labels: what a teacher, and the baseline, is trained by."""

    paper = "no distillation"
    Settings = NoneSettings

    def forward(self, seen: Seen) -> torch.Tensor:
        """Nothing."""
        return seen.student.pooled.new_zeros(())
