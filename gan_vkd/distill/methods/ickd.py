"""Inter-channel correlation (Liu et al., ICCV 2021)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from gan_vkd.distill.full_precision import at_least_float32
from gan_vkd.distill.methods.method import Method, MethodSettings, Seen, Setting, Weight


class IckdSettings(MethodSettings):
    """Inter-channel correlation of the last maps; weight 2.5 (the authors')."""

    method: Literal["ickd"] = Field("ickd", description="of distillation (gan-vkd methods)")
    weight: Weight = Field(2.5, description="of the method")


class Ickd(Method):
    """‖R_s - R_t‖² / dt, R the dt x dt products of a map's channels, each row of unit length.

    The authors' form on CIFAR-100: the student's last map goes through a 1x1 convolution and a
    batch norm to the teacher's channels. Averaged over the batch.
    """

    paper = "Liu et al., ICCV 2021"
    needs = ("maps",)
    Settings = IckdSettings

    def __init__(self, settings: IckdSettings, setting: Setting):
        super().__init__(settings, setting)
        before, after = (out.maps[-1].shape[1] for out in (setting.student, setting.teacher))
        self.embed = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of the last maps."""
        ours, theirs = (at_least_float32(out.maps[-1]) for out in (seen.student, seen.teacher))
        relations = (_relations(maps) for maps in (self.embed(ours), theirs))
        return theirs.shape[1] * F.mse_loss(*relations)


def _relations(maps: torch.Tensor) -> torch.Tensor:
    channels = maps.flatten(2)
    return F.normalize(channels @ channels.mT, dim=2)


class IckdLoss(nn.Module):
    """Inter-channel correlation, of each image's feature maps, as ImageNet's tokens have them.

    A channel is a vector over the positions, here of unit length; the student's are first mapped
    linearly to as many as the teacher's. With F [channels, positions] of an image:

        ‖F_s F_sᵀ - F_t F_tᵀ‖² / dt², averaged over B

    Args:
        student_dim: ds.
        teacher_dim: dt.
    """

    def __init__(self, student_dim: int, teacher_dim: int):
        super().__init__()
        self.embed = nn.Linear(student_dim, teacher_dim, bias=False)

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """[B, Ns, ds] and [B, Nt, dt], as many positions or not → scalar."""
        ours, theirs = _correlations(self.embed(student)), _correlations(teacher.detach())
        return F.mse_loss(ours, theirs)


def _correlations(maps: torch.Tensor) -> torch.Tensor:
    channels = F.normalize(maps, dim=1)
    return channels.mT @ channels
