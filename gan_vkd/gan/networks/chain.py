"""CHAIN's layer: features over their root mean square, as steep as they were at most."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from gan_vkd import processes

DECAY, EPSILON = 0.9, 1e-5  # of the running statistics; as in the authors' code
REAL = 0  # the kind; 1: generated


class Passing:
    """What the layers of one D share: which pass it is, and what they find in it.

    Attributes:
        p: gives the probability that a feature map is normalised, a scalar.
        kinds: 2 in a step of D, which sees real images, then generated ones; 1 in G's.
        numbers: [b, 2, C of all layers], 0 to 1: a map of an image is normalised where its kind's
            number is below p.
        means: [k b, C], each layer's maps averaged over their places, before it.
    """

    def __init__(self, p: Callable[[], torch.Tensor]):
        self.p, self.kinds = p, 0
        self.numbers = torch.empty(0)
        self.means: list[torch.Tensor] = []

    def begin(self, kinds: int, numbers: torch.Tensor) -> None:
        """A new pass of D."""
        self.kinds, self.numbers, self.means = kinds, numbers, []


class Chain(nn.Module):
    """Each feature map, with probability p, becomes x · min_c ψ_c / ψ of its channel.

    ψ² = E x² over images and places of one kind, followed by a running average. Without centring
    and with the smallest ψ as a constant no map's slope grows. The gradient is that of ψ's square
    root with running averages in place of the batch's: (g - s y) / ψ for y = x / ψ and the running
    average s of E g y, kept for real and generated images of D's step and for G's step apart.

    Ni and Koniusz, "CHAIN: Enhancing Generalization in Data-Efficient GANs via lipsCHitz continuity
    constrAIned Normalization", CVPR 2024 (their adaptive root mean square normalization).

    In eval mode, where images are real ones, nothing is drawn: a map is the mean of what it may be.

    Args:
        channels: of a map.
        place: which of `Passing.numbers` are this layer's.
        passing: shared by D's layers.
    """

    def __init__(self, channels: int, place: slice, passing: Passing):
        super().__init__()
        self.place, self.passing = place, passing
        self.register_buffer("squares", torch.ones(2, channels))  # ψ² of each kind
        self.register_buffer("slopes", torch.zeros(3, channels))  # s of each kind, and in G's step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[k b, C, H, W] of k kinds → the same shape and type; computed in fp32 or float64."""
        passing, wide = self.passing, x.to(torch.promote_types(x.dtype, torch.float32))
        if not self.training:
            scale = self.squares[REAL].amin().sqrt() * (self.squares[REAL] + EPSILON).rsqrt()
            return (wide * (1 + passing.p() * (scale - 1))[:, None, None]).to(x.dtype)
        passing.means.append(wide.mean(dim=(2, 3)))
        kinds = passing.kinds
        slopes = self.slopes[:2] if kinds == 2 else self.slopes[2:]
        apart = wide.unflatten(0, (kinds, -1))
        normalised = _OverRunning.apply(apart, self.squares[-kinds:], slopes)
        drawn = passing.numbers[:, :kinds, self.place].transpose(0, 1)
        chosen = (drawn < passing.p())[..., None, None]
        return torch.where(chosen, normalised, apart).flatten(0, 1).to(x.dtype)


class _OverRunning(torch.autograd.Function):
    """[k, b, C, H, W] of k kinds → each kind over its running ψ, times the channels' least one.

    Both statistics, [k, C], take a step: `squares` now, `slopes` when the gradient comes. Sums are
    over all processes; each of n passes n times the gradient on to its images (engine/share.py).
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, squares: torch.Tensor, slopes: torch.Tensor
    ) -> torch.Tensor:
        ctx.slopes = slopes
        squares.lerp_(_mean(x.square()), 1 - DECAY)
        scale = (squares + EPSILON).rsqrt()[:, None, :, None, None]
        least = squares.amin(dim=1).sqrt()[:, None, None, None, None]
        y = x * scale
        ctx.save_for_backward(y, scale, least)
        return y * least

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        y, scale, least = ctx.saved_tensors
        times, gradient = processes.size(), gradient * least
        ctx.slopes.lerp_(_mean(gradient * y) / times, 1 - DECAY)
        return (gradient - times * ctx.slopes[:, None, :, None, None] * y) * scale, None, None


def _mean(values: torch.Tensor) -> torch.Tensor:
    """[k, b, C, H, W] → [k, C], the mean over the images of all processes and their places."""
    kinds, images, channels, height, width = values.shape
    if processes.size() == 1:
        return values.mean(dim=(1, 3, 4))
    places = values.new_full((kinds, 1), images * height * width)
    sums = processes.summed(torch.cat([values.sum(dim=(1, 3, 4)), places], dim=1))
    return sums[:, :channels] / sums[:, channels:]
