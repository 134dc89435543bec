"""Batch norm, over the batch of one process or of all of them."""

from functools import partial
from typing import Any

import torch
from torch import nn

from gan_vkd import processes
from gan_vkd.errors import GanVkdError

DIMS = (0, 2, 3)


class BatchNorm(nn.BatchNorm2d):
    """torch's; where `shared`, its batch in training is that of all processes.

    torch's SyncBatchNorm runs on GPUs alone.
    """

    shared = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] → the same shape and type; B may differ from process to process."""
        return over_all(self, x) if self.shared and self.training else super().forward(x)


class BatchNormApart(BatchNorm):
    """Batch norm that in training takes every `batch_size` images by themselves, in their order.

    Args:
        channels: of a map.
        batch_size: images of a kind; where `shared`, this process's own ones.
    """

    def __init__(self, channels: int, batch_size: int):
        super().__init__(channels)
        self.batch_size = batch_size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] → the same shape and type."""
        normalise = super().forward
        if not self.training:
            return normalise(x)
        return torch.cat([normalise(part) for part in x.split(self.batch_size)])


def share_batch_norms(network: nn.Module) -> None:
    """Let a network's own batch norms, torch's or timm's, go over the batches of all processes.

    Its state dict stays as it is.

    Raises:
        GanVkdError: batch norms of another kind.
    """
    for norm in network.modules():
        if not isinstance(norm, nn.modules.batchnorm._BatchNorm):
            continue
        usual = norm.track_running_stats and norm.momentum is not None
        if type(norm).__name__ not in ("BatchNorm2d", "BatchNormAct2d") or not usual:
            raise GanVkdError(
                f"torchrun: batch norms of this network ({type(norm).__name__}) can't go over the "
                "images of several processes: start one process"
            )
        norm.forward = partial(_forward_over_all, norm)


def _forward_over_all(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    if not norm.training:
        return type(norm).forward(norm, x)
    y = over_all(norm, x)
    return norm.act(norm.drop(y)) if hasattr(norm, "act") else y


def over_all(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    """What `norm` makes of this process's images [B, C, H, W] in training, its batch that of all.

    Its running statistics take their step; B may differ from process to process.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    y, mean, squares, count = _Standardise.apply(wide, norm.eps)
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean.to(norm.running_mean), norm.momentum)
        norm.running_var.lerp_((squares / (count - 1)).to(norm.running_var), norm.momentum)
    if norm.affine:
        y = y * norm.weight[:, None, None] + norm.bias[:, None, None]
    return y.to(x.dtype)


class _Standardise(torch.autograd.Function):
    """x → (x - mean) / √(variance + ε), with mean, squared deviations and count of all processes.

    Means and squared deviations of the processes are put together by the formula of Chan, Golub
    and LeVeque (1979), which loses no digits; the gradient is batch norm's, its two sums over all.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, eps: float) -> tuple[torch.Tensor, ...]:
        mean = x.mean(DIMS)
        squares = (x - mean[:, None, None]).square().sum(DIMS)
        count = torch.full_like(mean, x.numel() / len(mean))
        means, squared, counts = torch.stack(
            processes.gathered(torch.stack([mean, squares, count]))
        ).unbind(1)
        count = counts.sum(0)
        mean = (counts * means).sum(0) / count
        squares = (squared + counts * (means - mean).square()).sum(0)
        scale = (squares / count + eps).rsqrt()[:, None, None]
        y = (x - mean[:, None, None]) * scale
        ctx.save_for_backward(y, scale, count)
        ctx.mark_non_differentiable(mean, squares, count)
        return y, mean, squares, count

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor, *_: None) -> tuple[torch.Tensor, None]:
        y, scale, count = ctx.saved_tensors
        sums = torch.stack([gradient.sum(DIMS), (gradient * y).sum(DIMS)])
        of_ones, of_y = (processes.summed(sums) / count)[:, :, None, None]
        return (gradient - of_ones - y * of_y) * scale, None
