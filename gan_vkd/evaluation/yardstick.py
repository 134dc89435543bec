"""What real images are measured to be, kept: the next images are judged by the same ones."""

import math
from collections.abc import Callable

import numpy as np
import torch

from gan_vkd.evaluation.features import Features
from gan_vkd.evaluation.frechet import Gaussian
from gan_vkd.evaluation.kept import Tensors, of_real
from gan_vkd.evaluation.metrics import Metric
from gan_vkd.progress import Reporter


def kept_gaussian(features: np.ndarray, device: torch.device, reporter: Reporter) -> Gaussian:
    """`Gaussian.of_features` of real images, [N, d]."""

    def compute() -> Tensors:
        found = Gaussian.of_features(features, device)
        return {name: torch.from_numpy(values) for name, values in vars(found).items()}

    found = of_real("gaussian", (features,), (), device, compute, reporter)
    return Gaussian(**{name: tensor.numpy() for name, tensor in found.items()})


def kept_metrics(
    sides: tuple[tuple[Features, torch.Tensor], ...],
    settings: tuple,
    device: torch.device,
    measure: Callable[[], dict[str, Metric]],
    reporter: Reporter,
) -> dict[str, Metric]:
    """The metrics of real images by other ones.

    Args:
        sides: features and labels of both; what the metrics are computed from.
        settings: what else they depend on.
        device: where they are computed.
        measure: computes them.
        reporter: told about a damaged cache.
    """

    def compute() -> Tensors:
        return {
            f"{place:02} {name}": torch.tensor(
                [math.nan if part is None else part for part in vars(metric).values()],
                dtype=torch.float64,
            )
            for place, (name, metric) in enumerate(measure().items())
        }

    arrays = [
        part.numpy()
        for features, labels in sides
        for part in (features.features, features.logits, labels)
        if part is not None
    ]
    found = of_real("metrics", tuple(arrays), settings, device, compute, reporter)
    return {
        name.partition(" ")[2]: Metric(*(None if math.isnan(x) else x for x in tensor.tolist()))
        for name, tensor in sorted(found.items())
    }
