"""The batch of all processes of a torch.distributed run, each of which holds as many images."""

from typing import Any

import torch

from gan_vkd import processes


def global_rows(rows: torch.Tensor) -> tuple[torch.Tensor, slice]:
    """[B, d] → the rows of all processes [B·world, d], without gradient, and where ours are."""
    if processes.size() == 1:
        return rows, slice(None)
    start = processes.rank() * len(rows)
    return torch.cat(processes.gathered(rows.detach())), slice(start, start + len(rows))


def global_mean(rows: torch.Tensor) -> torch.Tensor:
    """[B, d] → the mean [d] over the rows of all processes, with gradients to all of them."""
    mean = rows.mean(dim=0)
    return mean if processes.size() == 1 else _SumOfAll.apply(mean) / processes.size()


class _SumOfAll(torch.autograd.Function):
    """The sum over processes; the gradient of each term is the sum of all processes' gradients."""

    @staticmethod
    def forward(ctx: Any, term: torch.Tensor) -> torch.Tensor:
        return processes.summed(term)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return processes.summed(gradient)
