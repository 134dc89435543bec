"""Precision, recall, density and coverage (Naeem et al., ICML 2020)."""

import contextlib
import io

import numpy as np


def compute_prdc(real: np.ndarray, fake: np.ndarray, nearest_k: int) -> dict[str, float]:
    """The four metrics, by the authors' package; without its print to standard output.

    Args:
        real: features [N, d].
        fake: features [M, d].
        nearest_k: k, smaller than N and M.

    Returns:
        `precision`, `recall`, `density`, `coverage`.
    """
    import prdc

    with contextlib.redirect_stdout(io.StringIO()):
        values = prdc.compute_prdc(real, fake, nearest_k)
    return {name: float(value) for name, value in values.items()}


def expected_coverage(real_count: int, fake_count: int, nearest_k: int) -> float:
    """The coverage of two samples of one distribution (Naeem et al., proposition 1).

    1 - (N-1)...(N-k) / ((M+N-1)...(M+N-k)) for N real and M generated images.
    """
    steps = np.arange(1, nearest_k + 1)
    return float(1 - np.prod((real_count - steps) / (real_count + fake_count - steps)))
