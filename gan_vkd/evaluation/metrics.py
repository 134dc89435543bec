"""The seven figures, from features."""

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch

from gan_vkd.data.subsets import balanced_draw
from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.features import Features
from gan_vkd.evaluation.frechet import frechet_distance, moments
from gan_vkd.evaluation.intervals import (
    NORMAL,
    frechet_standard_error,
    kid_standard_error,
    of_mean,
)
from gan_vkd.evaluation.neighbours import neighbourhoods
from gan_vkd.evaluation.prdc import prdc_per_image
from gan_vkd.progress import Reporter

INCEPTION_SPLITS = 10
KID_SUBSET = 1_000
SEED = 0  # of every draw of the protocol
SATURATED = 0.02  # so near 0 or 1 a share's standard error says nothing


@dataclass(frozen=True)
class Metric:
    """A value and its 95 % interval; None for what is not known.

    The interval covers the sampling of images, not the training seed.
    """

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
    from torch_fidelity.metric_isc import (
        KEY_METRIC_ISC_MEAN,
        KEY_METRIC_ISC_STD,
        isc_features_to_metric,
    )
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    fewest = min(len(judged_labels), len(reference_labels))
    if fewest < nearest_k + 2:
        raise GanVkdError(
            f"{fewest} images are too few for k = {nearest_k}: at least {nearest_k + 2} on each "
            "side (more images, or a smaller --nearest-k)"
        )
    for features in (judged.features, reference.features):
        if not torch.isfinite(features).all():
            raise GanVkdError("the extractor gave features that are not finite")

    ours, theirs = judged.features.numpy(), reference.features.numpy()
    gaussians = (*moments(ours), *moments(theirs))
    splits = min(INCEPTION_SPLITS, len(judged_labels))
    inception = isc_features_to_metric(judged.logits, splits, rng_seed=SEED)
    kid = kid_features_to_metric(
        judged.features.double(),
        reference.features.double(),
        kid_subset_size=min(KID_SUBSET, fewest),
        rng_seed=SEED,
        verbose=False,
    )
    metrics = {
        "fid": _metric(frechet_distance(*gaussians), frechet_standard_error(ours, *gaussians)),
        "inception_score": _metric(
            inception[KEY_METRIC_ISC_MEAN], inception[KEY_METRIC_ISC_STD] / splits**0.5
        ),
        "kid": _metric(kid[KEY_METRIC_KID_MEAN], kid_standard_error(ours, theirs)),
    }
    drawn = [
        side[balanced_draw(labels, fewest, SEED)]
        for side, labels in ((theirs, reference_labels), (ours, judged_labels))
    ]
    found = neighbourhoods(*drawn, nearest_k, device=device, reporter=reporter)
    for name, values in prdc_per_image(found).items():
        value = float(values.mean())
        saturated = name != "density" and not SATURATED < value < 1 - SATURATED
        metrics[name] = _metric(value, math.nan if saturated else of_mean(values))
    return metrics


def _metric(value: float, standard_error: float) -> Metric:
    """With its 95 % interval, where there is one: images that are all alike show no spread."""
    if not np.isfinite(value):
        return Metric(None)
    if not standard_error > 0:
        return Metric(float(value))
    width = NORMAL * standard_error
    return Metric(float(value), float(value - width), float(value + width))


def as_json(metrics: dict[str, Metric]) -> dict[str, dict[str, float | None]]:
    """Plain dictionaries of value, low and high."""
    return {name: asdict(metric) for name, metric in metrics.items()}
