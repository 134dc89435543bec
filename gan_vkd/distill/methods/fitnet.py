"""FitNets: hints from the middle of the teacher (Romero et al., ICLR 2015)."""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from gan_vkd.distill.full_precision import at_least_float32
from gan_vkd.distill.methods.method import Method, MethodSettings, Seen, Setting, Weight
from gan_vkd.errors import GanVkdError


class FitNetSettings(MethodSettings):
    """Hints; weight 100, the second stage, in one go with the labels (CRD's comparison)."""

    method: Literal["fitnet"] = Field("fitnet", description="of distillation (gan-vkd methods)")
    weight: Weight = Field(100.0, description="of the method")
    stage: Annotated[int, Field(ge=0, le=16)] = Field(
        2, description="which map is compared; 0 is the stem's"
    )


class FitNet(Method):
    """Mean squared error between ReLU(BN(conv(F_s))) and F_t, the maps of one stage.

    The convolution takes the student's map to the teacher's size: 3x3 of stride 2 halves it, a
    transposed 4x4 of stride 2 doubles it, and any smaller difference is cut by the kernel.
    """

    paper = "Romero et al., ICLR 2015"
    needs = ("maps",)
    Settings = FitNetSettings

    def __init__(self, settings: FitNetSettings, setting: Setting):
        super().__init__(settings, setting)
        stage = settings.stage
        fewest = min(len(setting.student.maps), len(setting.teacher.maps))
        if stage >= fewest:
            raise GanVkdError(
                f"distill.stage {stage}: student or teacher has maps 0 to {fewest - 1}: choose one"
            )
        ours, theirs = setting.student.maps[stage].shape, setting.teacher.maps[stage].shape
        self.regress = nn.Sequential(*_to(ours, theirs), nn.BatchNorm2d(theirs[1]), nn.ReLU())

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of one stage's maps."""
        stage = self.settings.stage
        ours = self.regress(at_least_float32(seen.student.maps[stage]))
        return F.mse_loss(ours, at_least_float32(seen.teacher.maps[stage]))


def _to(ours: torch.Size, theirs: torch.Size) -> list[nn.Module]:
    (before, side), (after, wanted) = (shape[1::2] for shape in (ours, theirs))
    if side == 2 * wanted:
        return [nn.Conv2d(before, after, 3, stride=2, padding=1)]
    if wanted == 2 * side:
        return [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)]
    if side < wanted:
        return [nn.Upsample(size=wanted), nn.Conv2d(before, after, 1)]
    return [nn.Conv2d(before, after, 1 + side - wanted)]
