"""The batch of all processes of a torch.distributed run, each of which holds as many images."""

from typing import Any

import torch
import torch.distributed as dist


def _alone() -> bool:
    return not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)


def global_rows(rows: torch.Tensor) -> tuple[torch.Tensor, slice]:
    """[B, d] → the rows of all processes [B·world, d], without gradient, and where ours are."""
    if _alone():
        return rows, slice(None)
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.detach().contiguous())
    start = dist.get_rank() * len(rows)
    return torch.cat(parts), slice(start, start + len(rows))


def global_mean(rows: torch.Tensor) -> torch.Tensor:
    """[B, d] → the mean [d] over the rows of all processes, with gradients to all of them."""
    mean = rows.mean(dim=0)
    return mean if _alone() else _SumOfAll.apply(mean) / dist.get_world_size()


class _SumOfAll(torch.autograd.Function):
    """The sum over processes; the gradient of each term is the sum of all processes' gradients."""

    @staticmethod
    def forward(ctx: Any, term: torch.Tensor) -> torch.Tensor:
        return _all_reduced(term)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _all_reduced(gradient)


def _all_reduced(tensor: torch.Tensor) -> torch.Tensor:
    total = tensor.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total
