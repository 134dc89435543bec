"""The cost of projections: a training step of each, compared with a linear layer."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils.parametrizations import orthogonal

from gan_vkd.bench.measure import ranked
from gan_vkd.bench.table import machine, markdown
from gan_vkd.distill.projections import PROJECTIONS
from gan_vkd.progress import Reporter

SIZES = ((256, 512), (384, 768), (512, 2048), (1024, 768))  # ds, dt


def bench_projection(
    sizes: tuple[tuple[int, int], ...],
    *,
    batch: int,
    rounds: int,
    patience: float,
    device: torch.device,
    reporter: Reporter,
) -> str:
    """Time and peak memory of forward, backward and an SGD step, and PᵀP - I after the last.

    Args:
        sizes: pairs (ds, dt).
        batch: B.
        rounds: calls of each.
        patience: seconds after which a projection sits out the other rounds.
        device: where.
        reporter: shows a bar.

    Returns:
        A Markdown table.
    """
    rows = []
    idle = ("identity", "orthogonal-frozen")  # no step to take
    names = [name for name in PROJECTIONS if name not in idle] + list(_TORCH)
    with reporter.bar("Projections", len(sizes) * rounds * len(names)) as bar:
        for student_dim, teacher_dim in sizes:
            modules = {name: _make(name, student_dim, teacher_dim).to(device) for name in names}
            steps = {
                name: _step(module, batch, student_dim, teacher_dim, device)
                for name, module in modules.items()
            }
            found = ranked(
                steps,
                "linear",
                memory=lambda peak, of_linear: f"{peak / of_linear:.2f}",
                quality=lambda name, made=modules: _error(made[name]),
                rounds=rounds,
                patience=patience,
                device=device,
                bar=bar,
            )
            rows += [[f"{student_dim} → {teacher_dim}", *row] for row in found]
    header = ["ds → dt", "projection", "ms", "x linear", "memory x linear", "error", "calls"]
    return f"{markdown(header, rows)}\n\nBatch {batch}, {machine(device)}. {_LEGEND}"


_LEGEND = (
    "ms: median ± half the quartiles' distance of a forward, a backward and an SGD step. "
    "Ratios are medians over rounds. Memory: the most during a step. "
    "error: the largest entry of |PᵀP - I| (|PPᵀ - I| for dt < ds) after the last step."
)

_TORCH = {f"torch {name}": name for name in ("householder", "matrix_exp", "cayley")}


def _make(name: str, student_dim: int, teacher_dim: int) -> nn.Module:
    if name in _TORCH:  # torch.nn.utils.parametrizations.orthogonal, as in the authors' code
        linear = nn.Linear(student_dim, teacher_dim, bias=False)
        return orthogonal(linear, orthogonal_map=_TORCH[name])
    return PROJECTIONS[name](student_dim, teacher_dim)


def _step(
    module: nn.Module, batch: int, student_dim: int, teacher_dim: int, device: torch.device
) -> Callable[[], None]:
    h = torch.randn(batch, student_dim, device=device, requires_grad=True)
    z = torch.randn(batch, teacher_dim, device=device)
    z = z - z.mean(dim=0)
    parameters = list(module.parameters())
    optimiser = torch.optim.SGD(parameters, 0.01) if parameters else None
    fit = getattr(module, "fit", lambda targets: targets)  # svd's

    def step() -> None:
        h.grad = None
        targets = fit(z)
        (module(h) - targets).square().mean().backward()
        if optimiser is not None:
            optimiser.step()
            optimiser.zero_grad()

    return step


@torch.no_grad()
def _error(module: nn.Module) -> str:
    if type(module) is PROJECTIONS["linear"]:
        return "-"
    p = module.matrix() if hasattr(module, "matrix") else module.weight
    p = p[:, p.any(dim=0)]  # svd's columns past the batch's rank are zero
    gram = (p.T @ p if p.shape[0] >= p.shape[1] else p @ p.T).cpu()
    return f"{(gram - torch.eye(len(gram))).abs().max().item():.0e}"
