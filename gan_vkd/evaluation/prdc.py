"""Precision, recall, density and coverage (Naeem et al., ICML 2020)."""

import numpy as np
import torch
from numpy.typing import ArrayLike

from gan_vkd.evaluation.neighbours import Neighbourhoods, neighbourhoods
from gan_vkd.progress import QUIET, Reporter


def compute_prdc(
    real_features: ArrayLike | torch.Tensor,
    fake_features: ArrayLike | torch.Tensor,
    nearest_k: int,
    *,
    device: torch.device | str = "cpu",
    reporter: Reporter = QUIET,
) -> dict[str, float]:
    """Precision, recall, density and coverage: a drop-in for `prdc.compute_prdc`, in float64.

    Naeem et al., ICML 2020, equations 1 to 6. A ball around an image reaches to its k-th nearest
    neighbour within its own set; inside means strictly inside. Memory grows with N + M, not with
    N x M.

    Args:
        real_features: [N, d]; anything like an array of real numbers.
        fake_features: [M, d].
        nearest_k: k, smaller than N and M.
        device: where distances are computed.
        reporter: shows a bar.

    Returns:
        `precision`, `recall`, `density`, `coverage`.

    Raises:
        ValueError: shapes that do not fit, k too large, or features that are not finite numbers.
    """
    found = neighbourhoods(
        real_features, fake_features, nearest_k, device=device, reporter=reporter
    )
    return {name: float(values.mean()) for name, values in prdc_per_image(found).items()}


def prdc_per_image(found: Neighbourhoods) -> dict[str, np.ndarray]:
    """Per-image values, whose means are the metrics.

    Returns:
        `precision` and `density`, [M], of the generated images; `recall` and `coverage`, [N], of
        the real ones.
    """
    return {
        "precision": found.balls > 0,
        "recall": found.recalled,
        "density": found.balls / found.k,
        "coverage": found.hits > 0,
    }


def expected_coverage(real_count: int, fake_count: int, nearest_k: int) -> float:
    """The coverage of two samples of one distribution (Naeem et al., proposition 1).

    1 - (N-1)...(N-k) / ((M+N-1)...(M+N-k)) for N real and M generated images.
    """
    steps = np.arange(1, nearest_k + 1)
    return float(1 - np.prod((real_count - steps) / (real_count + fake_count - steps)))
