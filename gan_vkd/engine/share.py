"""A process's share of each batch, and the whole batch's numbers from all of them."""

from collections.abc import Mapping
from typing import Any

import torch

from gan_vkd import processes
from gan_vkd.errors import GanVkdError


class Share:
    """Which images of every batch are this process's: a contiguous part; no two differ by
    more than one image.

    Gradients: each process differentiates the whole loss, and passes `processes.size()` times the
    gradient on to its own share. The mean over the processes (`processes.average_`) is then the
    gradient of the whole loss, for what is computed from the share and for what every process
    computes from the whole batch.

    Args:
        total: images of a batch, of one kind.

    Attributes:
        own: the rows of this process.

    Raises:
        GanVkdError: fewer images than processes.
    """

    def __init__(self, total: int):
        count = processes.size()
        if total < count:
            raise GanVkdError(
                f"training.batch_size {total}: fewer than the {count} processes: start "
                f"torchrun with --nproc-per-node {total}, or set a larger batch"
            )
        self.sizes, self.own = processes.sizes_of_parts(total), processes.own_part(total)

    def together(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows of this process's images → those of the whole batch, in its order; with gradient.

        Args:
            rows: [k b, ...] for its b images of each of k kinds, one kind behind the other.

        Returns:
            [k B, ...], one kind behind the other.
        """
        return rows if len(self.sizes) == 1 else _Together.apply(rows, self)

    def of_steps(self, drawn: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Of numbers [steps, B, ...] those of this process's images."""
        return {name: numbers[:, self.own] for name, numbers in drawn.items()}


class _Together(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, share: Share) -> torch.Tensor:
        ctx.share, most = share, max(share.sizes)
        mine = share.sizes[processes.rank()]
        ours = rows.unflatten(0, (-1, mine))
        ctx.kinds = len(ours)
        padded = ours.new_zeros(ctx.kinds, most, *rows.shape[1:])
        padded[:, :mine] = ours
        parts = zip(processes.gathered(padded), share.sizes, strict=True)
        return torch.cat([part[:, :count] for part, count in parts], dim=1).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        own = gradient.unflatten(0, (ctx.kinds, -1))[:, ctx.share.own]
        return processes.size() * own.flatten(0, 1), None
