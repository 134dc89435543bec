"""The nine metrics, from features."""

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch

from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.clipped import clipped_per_image
from gan_vkd.evaluation.features import Features
from gan_vkd.evaluation.frechet import CPU, Gaussian, frechet_and_transport
from gan_vkd.evaluation.intervals import (
    NORMAL,
    frechet_standard_error,
    of_mean,
)
from gan_vkd.evaluation.kid import kernel_distance, kid_standard_error
from gan_vkd.evaluation.neighbours import Neighbourhoods
from gan_vkd.evaluation.prdc import prdc_per_image

INCEPTION_SPLITS = 10
INCEPTION_FEWEST = 100  # images: a split's score is at most its number of images
KID_SUBSET = 1_000
SEED = 0  # of every draw of the protocol
SATURATED = 0.02  # so near 0 or 1 a share's standard error says nothing


@dataclass(frozen=True)
class Metric:
    """A value and its 95 % interval; None if unknown.

    The interval covers the sampling of images, not the training seed.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


def require_enough(fewest: int, nearest_k: int, where: str = "") -> None:
    """Neighbours need k + 2 images on each side.

    Raises:
        GanVkdError: `fewest`, which lie at `where`, are less.
    """
    if fewest < nearest_k + 2:
        remedy = "more images, or a smaller --nearest-k" if nearest_k > 1 else "more images"
        raise GanVkdError(
            f"{where}{': ' if where else ''}{fewest} images are too few for k = {nearest_k}: at "
            f"least {nearest_k + 2} on each side ({remedy})"
        )


def frechet_metric(judged: torch.Tensor, reference: Gaussian, device: torch.device = CPU) -> Metric:
    """The Fréchet distance, which is FID on Inception features.

    Args:
        judged: features [N, d].
        reference: fitted to real ones, taken as it is: the interval is for fresh judged images.
        device: where products and decompositions are computed.
    """
    ours = judged.numpy()
    gaussians = Gaussian.of_features(ours, device), reference
    distance, transport = frechet_and_transport(*gaussians, device)
    return with_error(distance, frechet_standard_error(ours, *gaussians, transport))


def inception_score(judged: Features) -> Metric:
    """torch-fidelity's, over 10 splits.

    Unknown where the extractor gives no class scores, or of fewer than 100 images.
    """
    from torch_fidelity.metric_isc import (
        KEY_METRIC_ISC_MEAN,
        KEY_METRIC_ISC_STD,
        isc_features_to_metric,
    )

    if judged.logits is None or len(judged.logits) < INCEPTION_FEWEST:
        return Metric(None)
    found = isc_features_to_metric(judged.logits, INCEPTION_SPLITS, rng_seed=SEED)
    return with_error(found[KEY_METRIC_ISC_MEAN], found[KEY_METRIC_ISC_STD] / INCEPTION_SPLITS**0.5)


def kid_metric(judged: torch.Tensor, reference: torch.Tensor, device: torch.device = CPU) -> Metric:
    """The kernel Inception distance on torch-fidelity's subsets; features [N, d] and [M, d]."""
    subset = min(KID_SUBSET, len(judged), len(reference))
    value = kernel_distance(judged, reference, subset=subset, seed=SEED, device=device)
    return with_error(value, kid_standard_error(judged, reference, device))


def neighbour_metrics(found: Neighbourhoods) -> dict[str, Metric]:
    """Precision, recall, density, coverage, and the two clipped ones."""
    metrics = {}
    for name, values in prdc_per_image(found).items():
        value = float(values.mean())
        saturated = name != "density" and not SATURATED < value < 1 - SATURATED
        metrics[name] = with_error(value, math.nan if saturated else of_mean(values))
    for name, (values, calibrate) in clipped_per_image(found).items():
        mean, width = values.mean(), NORMAL * of_mean(values)
        value, low, high = calibrate(mean), calibrate(mean - width), calibrate(mean + width)
        known = SATURATED < value < 1 - SATURATED and low < value < high
        metrics[name] = Metric(value, low, high) if known else Metric(value)
    return metrics


def with_error(value: float, standard_error: float) -> Metric:
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
