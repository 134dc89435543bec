"""Affine warps of images without aliasing: up, sample, down, at twice the resolution."""

import functools
import math
from typing import Any

import torch
import torch.nn.functional as F

# The scaling filter of the symlet of 12 taps, sum √2 (Daubechies, "Ten Lectures on Wavelets").
SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
    *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
    *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
)
TAPS = len(SYM6)
MARGIN = TAPS // 4  # pixels that the filter reaches beyond an image's edge


def warp(images: torch.Tensor, transform: torch.Tensor) -> torch.Tensor:
    """Move images by affine maps; what comes in is their reflection at the edges, then 0.

    Images are doubled by the filter, sampled bilinearly and halved by the filter's mirror image
    (Karras et al., NeurIPS 2020, appendix B). Linear in the images and differentiable by them any
    number of times; not by the transform.

    Args:
        images: float [B, C, S, S].
        transform: [B, 3, 3], homogeneous, from pixels of the result to pixels of the image, x to
            the right and y downwards, 0 at the centre.

    Returns:
        [B, C, S, S].
    """
    side = images.shape[-1]
    up, down = _filters_on(side, images.device, images.dtype)
    doubled = up @ images @ up.T
    # In the doubled images' units, half their side, whose pixels' centres lie half a pixel off.
    inner, outer = 2 * (side + 2 * MARGIN), len(up)
    turn, shift = transform[:, :2, :2], transform[:, :2, 2]
    place = (turn.sum(-1) / 2 + 2 * shift - 0.5) * (2 / outer)
    theta = torch.cat([turn * (inner / outer), place[..., None]], dim=-1).to(images.dtype)
    shape = (len(images), images.shape[1], inner, inner)
    grid = F.affine_grid(theta, shape, align_corners=False)
    return down @ _Sampled.apply(doubled, grid) @ down.T


@functools.cache
def _filters_on(
    side: int, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """`filters`, moved once: a graph that is recorded must not wait for the host."""
    up, down = filters(side)
    return up.to(device, dtype), down.to(device, dtype)


@functools.cache
def filters(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Doubling, with reflected edges, and halving along one axis, as matrices in float64.

    Returns:
        [2 (3 side - 2), side]: to the image that its reflections surround on all sides, doubled;
        [side, 2 (side + 2 MARGIN)]: from the doubled image with its margin.
    """
    taps = [tap / math.fsum(SYM6) for tap in SYM6]
    around = side - 1
    whole = side + 2 * around
    up = torch.zeros(2 * whole, side, dtype=torch.float64)
    for row in range(2 * whole):
        for k, tap in enumerate(taps):
            place, odd = divmod(row + TAPS // 2 - 1 - k, 2)
            if not odd and 0 <= place < whole:
                up[row, _reflected(place - around, side)] += 2 * tap
    down = torch.zeros(side, 2 * (side + 2 * MARGIN), dtype=torch.float64)
    for row in range(side):
        for k, tap in enumerate(taps):
            down[row, 2 * row + k + 1] = tap
    return up, down


def _reflected(place: int, side: int) -> int:
    """The pixel of 0 to side - 1 that shows at a place outside; the edge itself shows once."""
    place = abs(place)
    return place if place < side else 2 * (side - 1) - place


class _Sampled(torch.autograd.Function):
    """Bilinear sampling, 0 outside; linear in the images, so its gradient is sampled again.

    torch's own has no second derivative.
    """

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return F.grid_sample(images, grid, align_corners=False)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _Scattered.apply(gradient, grid, ctx.shape), None


class _Scattered(torch.autograd.Function):
    """The transpose of `_Sampled`."""

    @staticmethod
    def forward(
        ctx: Any, gradient: torch.Tensor, grid: torch.Tensor, shape: torch.Size
    ) -> torch.Tensor:
        ctx.save_for_backward(grid)
        images = gradient.new_zeros(1).expand(shape)  # of which the shape alone counts
        return torch.ops.aten.grid_sampler_2d_backward(
            gradient.contiguous(), images, grid, 0, 0, False, [True, False]
        )[0]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Sampled.apply(gradient, grid), None, None
