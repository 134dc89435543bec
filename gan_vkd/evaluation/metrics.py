"""The seven figures, from features."""

from dataclasses import asdict, dataclass

import numpy as np
import torch

from gan_vkd.data.subsets import balanced_draw
from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.features import Features
from gan_vkd.evaluation.frechet import frechet_distance, moments
from gan_vkd.evaluation.prdc import compute_prdc
from gan_vkd.progress import Reporter

INCEPTION_SPLITS = 10
KID_SUBSET = 1_000
SEED = 0  # of every draw of the protocol


@dataclass(frozen=True)
class Metric:
    """A value and its 95 % interval; None for what is not known."""

    value: float | None
    low: float | None = None
    high: float | None = None


def compute_metrics(
    judged: Features,
    judged_labels: torch.Tensor,
    reference: Features,
    reference_labels: torch.Tensor,
    nearest_k: int,
    *,
    device: torch.device,
    reporter: Reporter,
) -> dict[str, Metric]:
    """FID, KID against the whole reference; PRDC against as many real as judged images.

    Args:
        judged: N images' features; their labels int64 [N] serve the stratified draw.
        judged_labels: as above.
        reference: M real images' features.
        reference_labels: int64 [M].
        nearest_k: k of PRDC.
        device: where PRDC's distances are computed.
        reporter: shows a bar.

    Raises:
        GanVkdError: fewer than k + 2 images on a side, or features that are not finite.
    """
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    fewest = min(len(judged_labels), len(reference_labels))
    if fewest < nearest_k + 2:
        raise GanVkdError(
            f"{fewest} images are too few for k = {nearest_k}: at least {nearest_k + 2} on each "
            "side (more images, or --set evaluation.nearest_k)"
        )
    for features in (judged.features, reference.features):
        if not torch.isfinite(features).all():
            raise GanVkdError("the extractor gave features that are not finite")

    ours, theirs = judged.features.numpy(), reference.features.numpy()
    values = {
        "fid": frechet_distance(*moments(ours), *moments(theirs)),
        "inception_score": isc_features_to_metric(
            judged.logits, min(INCEPTION_SPLITS, len(judged_labels)), rng_seed=SEED
        )[KEY_METRIC_ISC_MEAN],
        "kid": kid_features_to_metric(
            judged.features.double(),
            reference.features.double(),
            kid_subset_size=min(KID_SUBSET, fewest),
            rng_seed=SEED,
            verbose=False,
        )[KEY_METRIC_KID_MEAN],
    }
    drawn = [
        side[balanced_draw(labels, fewest, SEED)]
        for side, labels in ((theirs, reference_labels), (ours, judged_labels))
    ]
    values |= compute_prdc(*drawn, nearest_k, device=device, reporter=reporter)
    return {name: Metric(value if np.isfinite(value) else None) for name, value in values.items()}


def as_json(metrics: dict[str, Metric]) -> dict[str, dict[str, float | None]]:
    """Plain dictionaries of value, low and high."""
    return {name: asdict(metric) for name, metric in metrics.items()}
