"""The parts that BigGAN's generator and discriminator are made of.

Brock, Donahue and Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis",
ICLR 2019; shapes as in its authors' CIFAR recipe.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from gan_vkd.engine.batch_norm import BatchNorm


class SpectralNorm(nn.Module):
    """W / σ(W) with one power iteration a training forward (Miyato et al., ICLR 2018).

    A parametrization of a weight [out, ...], seen as a matrix with `out` rows; always in fp32.
    """

    def __init__(self, weight: torch.Tensor):
        super().__init__()
        self.register_buffer("u", F.normalize(torch.randn(len(weight)), dim=0))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight, normalised; in training mode `u` takes a step towards convergence."""
        with torch.autocast(weight.device.type, enabled=False):
            with torch.no_grad():
                matrix = weight.flatten(1)
                v, _ = _unit(matrix.T.mv(self.u))
                u, sigma = _unit(matrix.mv(v))
                if self.training:
                    self.u.copy_(u)
            return _OverSigma.apply(weight, u, v, sigma)


def _unit(vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The vector over its length, and the length; zeros stay zeros."""
    length = vector.norm().clamp_min(1e-12)
    return vector / length, length


class _OverSigma(torch.autograd.Function):
    """W / σ for σ = uᵀ W v, u and v constants: its gradient is (g - <g, W / σ> u vᵀ) / σ.

    Where that gradient is differentiated again (by gradient penalties), σ is computed anew from W,
    so that what depends on W through it counts too.
    """

    @staticmethod
    def forward(
        ctx: Any, weight: torch.Tensor, u: torch.Tensor, v: torch.Tensor, sigma: torch.Tensor
    ) -> torch.Tensor:
        normalised = weight / sigma
        ctx.save_for_backward(weight, normalised, u, v, sigma)
        return normalised

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        weight, normalised, u, v, sigma = ctx.saved_tensors
        if torch.is_grad_enabled():
            sigma = u.dot(weight.flatten(1).mv(v))
        along = (gradient * normalised).sum()
        across = torch.outer(u, v * along).view_as(gradient)
        return (gradient - across) / sigma, None, None, None


def initialise(module: nn.Module, spectral_norm: bool) -> None:
    """N(0, 0.02) weights for every convolution, linear layer and embedding; then SpectralNorm."""
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            nn.init.normal_(layer.weight, std=0.02)
            if spectral_norm and not getattr(layer, "modulates", False):
                parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight))


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain and bias are looked up by class (de Vries et al., NeurIPS 2017)."""

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.norm = BatchNorm(channels, affine=False)
        self.gain = nn.Embedding(num_classes, channels)
        self.bias = nn.Embedding(num_classes, channels)
        self.gain.modulates = self.bias.modulates = True  # BigGAN: no spectral norm here

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] and labels → [B, C, H, W], of x's type (bf16 under autocast).

        Labels are int64 [B], or float [B, classes]: each class's share in a mixed embedding.
        """
        gain = 1 + _embedded(self.gain, labels)[:, :, None, None]
        bias = _embedded(self.bias, labels)[:, :, None, None]
        return self.norm(x) * gain.to(x.dtype) + bias.to(x.dtype)


def _embedded(table: nn.Embedding, labels: torch.Tensor) -> torch.Tensor:
    return labels @ table.weight if labels.is_floating_point() else table(labels)


def upsample(x: torch.Tensor) -> torch.Tensor:
    """Nearest neighbour, twice the side."""
    return F.interpolate(x, scale_factor=2)


def upsampled_conv(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """`conv(upsample(x))` for a 3x3 convolution with padding 1: [B, in, H, W] → [B, out, 2H, 2W].

    Equal pixels meet sums of weights, so one transposed 4x4 convolution of stride 2 does it, with
    4 products where the plain way has 9.
    """
    kernel = _widened(conv.weight.flip(-1, -2), 1).transpose(0, 1)
    return F.conv_transpose2d(x, kernel, conv.bias, stride=2, padding=1)


def pooled_conv(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """`avg_pool2d(conv(x), 2)` for a 3x3 convolution with padding 1: [B, out, H/2, W/2].

    One 4x4 convolution of stride 2, with 4 products an input pixel where the plain way has 9.
    """
    return F.conv2d(x, _widened(conv.weight, 4), conv.bias, stride=2, padding=1)


def _widened(weight: torch.Tensor, divisor: int) -> torch.Tensor:
    """[..., 3, 3] → [..., 4, 4], the sum of the four ways to lay one into the other / divisor."""
    return F.avg_pool2d(weight, 2, stride=1, padding=1, divisor_override=divisor)


class GeneratorBlock(nn.Module):
    """Twice the side: norm, ReLU, upsample, 3x3, norm, ReLU, 3x3, plus a 1x1 shortcut."""

    def __init__(self, in_channels: int, out_channels: int, num_classes: int):
        super().__init__()
        self.norm1 = ConditionalBatchNorm(in_channels, num_classes)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = ConditionalBatchNorm(out_channels, num_classes)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """[B, in, H, W] and int64 [B] → [B, out, 2H, 2W]."""
        h = upsampled_conv(self.conv1, F.relu(self.norm1(x, labels)))
        h = self.conv2(F.relu(self.norm2(h, labels)))
        return h + upsample(self.shortcut(x))  # a 1x1 convolution commutes with upsampling


class DiscriminatorBlock(nn.Module):
    """ReLU (not in the first block), 3x3, ReLU, 3x3, average pooling, plus a 1x1 shortcut."""

    def __init__(self, in_channels: int, out_channels: int, *, first: bool, downsample: bool):
        super().__init__()
        self.first, self.downsample = first, downsample
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        learned = downsample or in_channels != out_channels
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if learned else nn.Identity()
        self.norms: nn.ModuleList | None = None

    def normalise(self, layer: Callable[[int], nn.Module]) -> None:
        """Put a layer, made for a number of channels, behind each convolution."""
        convolutions = [c for c in (self.conv1, self.conv2, self.shortcut) if hasattr(c, "weight")]
        self.norms = nn.ModuleList(layer(c.out_channels) for c in convolutions)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, in, H, W] → [B, out, H, W], or half the side."""
        h = self.conv1(x if self.first else F.relu(x))
        if self.norms is not None:
            return self._normalised(h, x)
        h = F.relu(h)
        if self.downsample:
            h, x = pooled_conv(self.conv2, h), F.avg_pool2d(x, 2)
        else:
            h = self.conv2(h)
        return h + self.shortcut(x)  # a 1x1 convolution commutes with average pooling

    def _normalised(self, h: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The rest of `forward`: pooling comes after the layers, which do not commute with it."""
        first, second, *shortcut = self.norms
        h = second(self.conv2(F.relu(first(h))))
        x = self.shortcut(x)
        for norm in shortcut:
            x = norm(x)
        return F.avg_pool2d(h + x, 2) if self.downsample else h + x
