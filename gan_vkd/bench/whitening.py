"""The cost of normalisations of the targets, and how white their results are."""

from collections.abc import Callable

import torch

from gan_vkd.bench.measure import ranked
from gan_vkd.bench.table import machine, markdown
from gan_vkd.distill.normalise import NORMALISATIONS, WhitenDataset
from gan_vkd.progress import Reporter

SIZES = ((50, 1280), (50, 512), (256, 384), (1024, 384), (1024, 2048))  # B, dt


def bench_whitening(
    sizes: tuple[tuple[int, int], ...],
    *,
    rounds: int,
    patience: float,
    device: torch.device,
    reporter: Reporter,
) -> str:
    """Time and peak memory of normalising a batch, and the spread of the singular values after.

    Args:
        sizes: pairs (B, dt).
        rounds: calls of each.
        patience: seconds after which a normalisation sits out the other rounds.
        device: where.
        reporter: shows a bar.

    Returns:
        A Markdown table.
    """
    rows = []
    names = [*(name for name in NORMALISATIONS if name != "none"), "whiten-dataset", "by svd"]
    with reporter.bar("Normalisations", len(sizes) * rounds * len(names)) as bar:
        for batch, dim in sizes:
            features = _features(batch, dim, device)
            functions = {name: _function(name, features) for name in names}
            calls = {name: _call(function, features) for name, function in functions.items()}
            found = ranked(
                calls,
                "layernorm",
                memory=lambda peak, _: f"{peak / 2**20:.1f}",
                quality=lambda name, x=features, made=functions: _spread(made[name](x)),
                rounds=rounds,
                patience=patience,
                device=device,
                bar=bar,
            )
            rows += [[f"{batch} x {dim}", *row] for row in found]
    header = ["B x dt", "normalise", "ms", "x layernorm", "peak MiB", "σ₁ / σᵣ", "calls"]
    return f"{markdown(header, rows)}\n\n{machine(device)}. {_LEGEND}"


_LEGEND = (
    "ms: median ± half the quartiles' distance. Ratios are medians over rounds. "
    "σ₁ / σᵣ: largest over smallest singular value of the centred targets that is not zero "
    "(1 is white). Features are random with a power-law spectrum; whiten-dataset has rank dt/8. "
    "by svd: torch.linalg.svd of the centred batch, U Vᵀ."
)


def _features(batch: int, dim: int, device: torch.device) -> torch.Tensor:
    draws = torch.Generator().manual_seed(0)
    spectrum = torch.arange(1, dim + 1).float().pow(-0.5)
    return (torch.randn(batch, dim, generator=draws) * spectrum + 1).to(device)


def _function(name: str, features: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    if name == "whiten-dataset":
        rank = max(1, min(features.shape[1] // 8, len(features) - 1))
        return WhitenDataset.fit([features], rank)
    return _polar if name == "by svd" else NORMALISATIONS[name]()


def _polar(features: torch.Tensor) -> torch.Tensor:
    u, s, v = torch.linalg.svd(features - features.mean(dim=0), full_matrices=False)
    kept = s > 1e-3 * s[0]
    return u[:, kept] @ v[kept] * (features.numel() / kept.sum()).sqrt()


def _call(
    function: Callable[[torch.Tensor], torch.Tensor], features: torch.Tensor
) -> Callable[[], object]:
    def call() -> torch.Tensor:
        with torch.no_grad():
            return function(features)

    return call


def _spread(targets: torch.Tensor) -> str:
    values = torch.linalg.svdvals((targets - targets.mean(dim=0)).double())
    kept = values[values > 1e-3 * values[0]]
    return f"{(kept[0] / kept[-1]).item():.3g}"
