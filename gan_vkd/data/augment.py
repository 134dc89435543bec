"""DiffAugment: the same random, differentiable changes to real and generated images.

Zhao, Liu, Lin, Zhu and Han, "Differentiable Augmentation for Data-Efficient GAN Training",
NeurIPS 2020; ranges as in their experiments.
"""

import torch


def diff_augment(
    images: torch.Tensor, policies: tuple[str, ...], generator: torch.Generator
) -> torch.Tensor:
    """Apply the policies in the order given, with draws of its own for every image.

    Args:
        images: float [B, 3, H, W], -1 to 1; gradients flow through.
        policies: any of `gan_vkd.config.AUGMENTATIONS`.
        generator: a CPU generator, so that the draws are the same on every device.

    Returns:
        float [B, 3, H, W], of the input's type (`color` may leave -1 to 1).
    """
    for policy in policies:
        images = _AUGMENTATIONS[policy](images, generator)
    return images


def _uniform(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """[B, 1, 1, 1], uniform in 0..1."""
    return torch.rand(len(images), 1, 1, 1, generator=generator).to(images)


def _color(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Brightness ± 0.5, then saturation times 0..2, then contrast times 0.5..1.5."""
    images = images + _uniform(images, generator) - 0.5
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * (2 * _uniform(images, generator)) + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (_uniform(images, generator) + 0.5) + mean


def _translation(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift by up to an eighth of the side each way; what comes in is 0 (grey).

    A shift is a product with a matrix that has ones on one off-diagonal: exact, and with a
    gradient that is a matrix product too.
    """
    batch, _, height, width = images.shape

    def shifts(side: int) -> torch.Tensor:
        reach = side // 8
        offset = torch.randint(-reach, reach + 1, (batch, 1, 1), generator=generator)
        position = torch.arange(side)
        return (position[None, :, None] + offset == position[None, None, :]).to(images)[:, None]

    with torch.autocast(images.device.type, enabled=False):
        return shifts(height) @ images @ shifts(width).transpose(-1, -2)


def _cutout(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Set a square of half the side, centred anywhere (so partly outside too), to 0 (grey)."""
    batch, _, height, width = images.shape

    def covered(side: int) -> torch.Tensor:
        size = side // 2
        start = torch.randint(0, side + 1 - size % 2, (batch, 1), generator=generator) - size // 2
        position = torch.arange(side)[None]
        return (position >= start) & (position < start + size)

    hole = covered(height)[:, None, :, None] & covered(width)[:, None, None, :]
    return images * (~hole).to(images)


_AUGMENTATIONS = {"color": _color, "translation": _translation, "cutout": _cutout}
