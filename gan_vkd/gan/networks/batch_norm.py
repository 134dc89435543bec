"""Batch norm, over the batch of one process or of all of them."""

from typing import Any

import torch
from torch import nn

from gan_vkd import processes

DIMS = (0, 2, 3)


class BatchNorm(nn.BatchNorm2d):
    """torch's; where `shared`, its batch in training is that of all processes.

    torch's SyncBatchNorm runs on GPUs alone.
    """

    shared = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] → the same shape and type; B may differ from process to process."""
        if not (self.shared and self.training):
            return super().forward(x)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        y, mean, squares, count = _Standardise.apply(wide, self.eps)
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
            self.running_var.lerp_((squares / (count - 1)).to(self.running_var), self.momentum)
        if self.affine:
            y = y * self.weight[:, None, None] + self.bias[:, None, None]
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
