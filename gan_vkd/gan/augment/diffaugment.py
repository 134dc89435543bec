"""DiffAugment's policies: the same random, differentiable changes to real and generated images.

Zhao, Liu, Lin, Zhu and Han, "Differentiable Augmentation for Data-Efficient GAN Training",
NeurIPS 2020; ranges as in their experiments. Each policy draws its random numbers for any number
of images, [*shape, n] with n numbers an image, and applies them to images [B, C, H, W], -1 to 1,
through which gradients flow. `parameters` brings the numbers to 0 to 1.
"""

import torch

from gan_vkd.data.batches import shift

PAPER = "Zhao et al., NeurIPS 2020"


class Color:
    """Brightness ± 0.5, then saturation times 0 to 2, then contrast times 0.5 to 1.5.

    Saturation leaves images of one channel as they are.
    """

    paper = PAPER
    numbers = 3

    @staticmethod
    def parameters(draws: torch.Tensor, size: int) -> torch.Tensor:
        """Draws [B, 3] → the same."""
        return draws

    @staticmethod
    def draw(shape: tuple[int, ...], size: int, generator: torch.Generator) -> torch.Tensor:
        """Float32 [*shape, 3], uniform in 0 to 1; whatever the `size` of the images."""
        return torch.rand(*shape, 3, generator=generator)

    @staticmethod
    def apply(images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] and draws [B, 3] → images, which may leave -1 to 1."""
        brightness, saturation, contrast = draws.to(images.dtype)[:, :, None, None, None].unbind(1)
        images = images + brightness - 0.5
        grey = images.mean(dim=1, keepdim=True)
        images = (images - grey) * (2 * saturation) + grey
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        return (images - mean) * (contrast + 0.5) + mean


class Translation:
    """A shift by up to an eighth of the side each way; new pixels are 0 (grey)."""

    paper = PAPER
    numbers = 2

    @staticmethod
    def parameters(draws: torch.Tensor, size: int) -> torch.Tensor:
        """Draws [B, 2] → float [B, 2]: 0 for the farthest shift upwards or to the left, 1 back."""
        return draws / (2 * (size // 8)) + 0.5

    @staticmethod
    def draw(shape: tuple[int, ...], size: int, generator: torch.Generator) -> torch.Tensor:
        """int64 [*shape, 2]: pixels downwards and to the right, for images of side `size`."""
        reach = size // 8
        return torch.randint(-reach, reach + 1, (*shape, 2), generator=generator)

    @staticmethod
    def apply(images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] and draws [B, 2] → images."""
        return shift(images, draws)


class Cutout:
    """A square of half the side, centred anywhere (so partly outside too), becomes 0 (grey)."""

    paper = PAPER
    numbers = 2

    @staticmethod
    def parameters(draws: torch.Tensor, size: int) -> torch.Tensor:
        """Draws [B, 2] → float [B, 2]: the centre over the last place that it can have."""
        return draws / (size - size // 2 % 2)

    @staticmethod
    def draw(shape: tuple[int, ...], size: int, generator: torch.Generator) -> torch.Tensor:
        """int64 [*shape, 2]: the row and the column of the square's centre."""
        odd = size // 2 % 2  # a square of an odd side has its centre on a pixel
        return torch.randint(0, size + 1 - odd, (*shape, 2), generator=generator)

    @staticmethod
    def apply(images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] and draws [B, 2] → images."""
        rows, columns = (
            _covered(side, centre)
            for side, centre in zip(images.shape[-2:], draws.unbind(1), strict=True)
        )
        hole = rows[:, None, :, None] & columns[:, None, None, :]
        return torch.where(hole, 0.0, images)


def _covered(side: int, centre: torch.Tensor) -> torch.Tensor:
    """Bool [B, side]: what a segment of half the side around `centre` (int64 [B]) covers."""
    start = centre[:, None] - side // 2 // 2
    position = torch.arange(side, device=centre.device)[None]
    return (position >= start) & (position < start + side // 2)
