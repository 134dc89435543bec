"""V_kD between classifiers: pooled features, or the average over patch tokens and positions."""

from collections.abc import Callable, Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field

from gan_vkd.distill.full_precision import at_least_float32
from gan_vkd.distill.methods.method import Method, MethodSettings, Seen, Setting, Weight
from gan_vkd.distill.methods.vkd import VkDLoss
from gan_vkd.distill.normalise import WhitenDataset, rank_within_reach
from gan_vkd.distill.outputs import Outputs
from gan_vkd.errors import GanVkdError


class VkdFeaturesSettings(MethodSettings):
    """V_kD: an orthogonal projection and normalised targets."""

    method: Literal["vkd"] = Field("vkd", description="of distillation (gan-vkd methods)")
    weight: Weight = Field(1.0, description="of the method; published: 1, with smooth-l1")
    features: Literal["pooled", "positions"] = Field(
        "pooled",
        description="what the classifier is given, or the mean over patch tokens or positions",
    )
    projection: Literal[
        "orthogonal", "orthogonal-frozen", "orthogonal-exp", "linear", "svd", "identity"
    ] = Field("orthogonal", description="P, from the student's features to the targets")
    normalise: Literal["none", "layernorm", "whiten", "whiten-iterative", "whiten-dataset"] = Field(
        "layernorm", description="of the teacher's features"
    )
    ridge: float = Field(0.0, ge=0, le=1e6, description="of whiten, a share of the mean eigenvalue")
    rank: Annotated[int, Field(gt=0, le=2**31)] | None = Field(
        None, description="directions that whiten-dataset keeps; null: min(ds, dt / 8, images - 1)"
    )
    distance: Literal["squared", "smooth-l1"] = Field(
        "smooth-l1", description="of P h and target, a mean over their entries"
    )


class VkdFeatures(Method):
    """Mean over entries of distance(P h, normalise(z)): smooth L1 to layer-normed targets.

    Miles, Elezi and Deng, CVPR 2024 (supplement, Fig. 2, Table 1). h and z are the pooled features,
    or (`positions`) the average over the last block's patch tokens or the last map's positions, so
    that a transformer and a convolutional network teach each other. In the authors' code distances
    are averaged over entries, not summed and divided by min(ds, dt) as `VkDLoss` has it.
    """

    paper = "Miles, Elezi and Deng, CVPR 2024"
    Settings = VkdFeaturesSettings

    def __init__(self, settings: VkdFeaturesSettings, setting: Setting):
        super().__init__(settings, setting)
        ds, dt = (self._of(out).shape[1] for out in (setting.student, setting.teacher))
        normalise = settings.normalise
        if normalise == "whiten-dataset":
            reach = rank_within_reach(ds, dt, len(setting.labels))
            normalise = WhitenDataset(dt, settings.rank or reach)
            dt_compared = normalise.rank
        else:
            dt_compared = dt
        try:
            self.loss = VkDLoss(
                ds,
                dt,
                settings.projection,
                normalise,
                settings.distance,
                settings.ridge,
                across_processes=False,  # it is handed the whole batch
            )
        except ValueError as error:
            raise GanVkdError(f"distill (--projection, --normalise): {error}") from None
        self.entries = dt_compared / self.loss.scale  # a sum over entries → their mean
        self.static = settings.projection not in ("svd", "orthogonal-exp")  # they ask the device

    def prepare(self, teacher_outputs: Callable[[], Iterable[Outputs]]) -> None:
        """The statistics of `whiten-dataset`."""
        normalise = self.loss.normalise
        if isinstance(normalise, WhitenDataset):
            features = (self._of(outputs) for outputs in teacher_outputs())
            fitted = WhitenDataset.fit(features, normalise.rank)
            normalise.load_state_dict(fitted.state_dict())

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of the features that `features` names."""
        return self.loss(self._of(seen.student), self._of(seen.teacher)) / self.entries

    def _of(self, outputs: Outputs) -> torch.Tensor:
        """[B, d] in float32."""
        if self.settings.features == "pooled":
            return at_least_float32(outputs.pooled)
        if outputs.tokens is not None:
            return at_least_float32(outputs.tokens).mean(dim=1)
        if not outputs.maps:
            raise GanVkdError(
                "distill.features positions: student or teacher has neither tokens nor maps: "
                "--set distill.features=pooled"
            )
        return at_least_float32(outputs.maps[-1]).mean(dim=(2, 3))
