"""The V_kD loss: the distance of projected student features from a frozen teacher's."""

from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from gan_vkd.distill.full_precision import at_least_float32
from gan_vkd.distill.normalise import NORMALISATIONS, Centre, Whiten, WhitenDataset
from gan_vkd.distill.projections import PROJECTIONS, SvdProjection
from gan_vkd.distill.whole_batch import global_mean, global_rows

T = TypeVar("T")

DISTANCES = {"squared": F.mse_loss, "smooth-l1": F.smooth_l1_loss}


class VkDLoss(nn.Module):
    """distance(P h, normalise(z)), summed over the target's entries / min(ds, dt), mean over B.

    Miles, Elezi and Deng, CVPR 2024 (supplement, eq. 4). Where the normalisation centres the
    targets, h is centred over the batch before P.

        loss = VkDLoss(student_dim=256, teacher_dim=512)
        value = loss(h, z)                   # h [B, ds], z [B, dt] → scalar
        optimiser = Adam([*model.parameters(), *loss.parameters()])

    Computation is in float32, under autocast too (in float64 for features and a loss in float64).
    `.bfloat16()` or `.half()` of a model that contains the loss does not change its parameters.

    The projection is not needed after training. In several processes with batches of equal size,
    targets are whitened over the batches of all processes, and the value is the mean over the
    process's own images: under DistributedDataParallel the gradients equal those of one process
    with the whole batch.

    Args:
        student_dim: ds, the dimension of the student's features.
        teacher_dim: dt, the dimension of the teacher's features.
        projection: `orthogonal`, `orthogonal-frozen`, the paper's `orthogonal-exp`, `linear`, `svd`
            (with normalise="none" and squared distance: both sides are centred, and h is compared
            with the leading singular coordinates of z), or `identity` for ds = dt.
        normalise: `whiten`, `whiten-iterative`, `layernorm`, `none`, or a fitted
            `WhitenDataset`, whose rank then takes the place of dt.
        distance: `squared`, or `smooth-l1`.
        ridge: of `whiten`, a share of the mean eigenvalue (see `Whiten`).
        across_processes: whether the batch is that of all processes, or the one that is passed.

    Raises:
        ValueError: unknown names; `whiten-dataset` as a bare string, which has no statistics;
            names that do not go together.
    """

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        projection: Literal[
            "orthogonal", "orthogonal-frozen", "orthogonal-exp", "linear", "svd", "identity"
        ] = "orthogonal",
        normalise: Literal["whiten", "whiten-iterative", "layernorm", "none"]
        | WhitenDataset = "whiten",
        distance: Literal["squared", "smooth-l1"] = "squared",
        ridge: float = 0.0,
        across_processes: bool = True,
    ):
        super().__init__()
        if normalise == "whiten-dataset":
            raise ValueError(
                "normalise='whiten-dataset' needs statistics: pass WhitenDataset.fit(batches)"
            )
        if projection == "svd" and (normalise, distance) != ("none", "squared"):
            raise ValueError(
                "projection='svd' takes normalise='none' and distance='squared': "
                "it compares the teacher's singular values, which whitening makes all equal"
            )
        if ridge and normalise != "whiten":
            raise ValueError("ridge goes with normalise='whiten' alone")
        target_dim = teacher_dim
        if isinstance(normalise, WhitenDataset):
            self.normalise = normalise
            target_dim = normalise.rank
        elif projection == "svd":
            self.normalise = Centre()
        elif normalise == "whiten":
            self.normalise = Whiten(ridge)
        else:
            self.normalise = _named(NORMALISATIONS, "normalise", normalise)()
        self.projection = _named(PROJECTIONS, "projection", projection)(student_dim, target_dim)
        self.distance = _named(DISTANCES, "distance", distance)
        self.student_dim, self.teacher_dim = student_dim, teacher_dim
        self.across_processes = across_processes
        self.scale = min(student_dim, target_dim)

    def targets(self, teacher_features: torch.Tensor) -> torch.Tensor:
        """Z [B, dt] → normalised targets [B, dt] (or [B, rank]); no gradient.

        With projection="svd", P is fitted to them: `predictions` and `distance_to` are then those
        of this batch, until the next call.
        """
        _check_shape("teacher", teacher_features, self.teacher_dim)
        with torch.no_grad():
            features, own = at_least_float32(teacher_features), slice(None)
            if self.across_processes:
                features, own = global_rows(features)
            targets = self.normalise(features)
            if isinstance(self.projection, SvdProjection):
                targets = self.projection.fit(targets)
            return targets[own]

    def predictions(self, student_features: torch.Tensor) -> torch.Tensor:
        """H [B, ds] → P h [B, dt] (or [B, rank]), h centred where the targets are."""
        _check_shape("student", student_features, self.student_dim)
        h = at_least_float32(student_features)
        if self.normalise.centred:
            h = h - (global_mean(h) if self.across_processes else h.mean(dim=0))
        return self.projection(h)

    def forward(
        self, student_features: torch.Tensor, teacher_features: torch.Tensor
    ) -> torch.Tensor:
        """H [B, ds] and z [B, dt] → scalar.

        Raises:
            ValueError: features of another shape.
        """
        return self.distance_to(student_features, self.targets(teacher_features))

    def distance_to(self, student_features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """H [B, ds] and the `targets` of the same images → scalar, as `forward` gives it."""
        if len(student_features) != len(targets):
            raise ValueError(
                f"features of {len(student_features)} images for the student and of "
                f"{len(targets)} for the teacher: pass those of the same images"
            )
        distances = self.distance(self.predictions(student_features), targets, reduction="sum")
        return distances / (self.scale * len(targets))


def _check_shape(whose: str, features: torch.Tensor, dim: int) -> None:
    """Raises ValueError where features are not [B, dim]."""
    shape = list(features.shape)
    if features.ndim == 2 and shape[1] == dim:
        return
    pool = {3: "tokens: take their mean(dim=1) or one of them", 4: "maps: take their mean((2, 3))"}
    hint = f" (pool {pool[features.ndim]})" if features.ndim in pool else ""
    raise ValueError(f"{whose} features must be [B, {dim}], got {shape}{hint}")


def _named(registry: dict[str, T], argument: str, name: str) -> T:
    if name not in registry:
        raise ValueError(f"{argument}={name!r}: choose one of {', '.join(registry)}")
    return registry[name]
