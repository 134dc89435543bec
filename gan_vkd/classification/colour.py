"""Changes of colour while a classifier trains: grey images and tinted ones."""

import torch

from gan_vkd.randomness import generator

GREY, TINTED = 0.2, 0.5  # the shares of images
GAIN, OFFSET = 0.25, 0.2  # a channel's product and sum differ from 1 and 0 by up to these


def draw_colours(batch_size: int, step: int, seed: int) -> torch.Tensor:
    """What happens to the colours of batch `step`.

    Returns:
        Float32 [batch_size, 7] on the CPU: 1 where the image turns grey, else 0; then a gain a
        channel and an offset a channel, 1 and 0 where the image is not tinted.
    """
    draws = torch.rand(batch_size, 8, generator=generator(seed, "colour", step))
    grey, tinted = draws[:, :1] < GREY, draws[:, 1:2] < TINTED
    tint = (2 * draws[:, 2:] - 1) * tinted
    return torch.cat([grey, 1 + GAIN * tint[:, :3], OFFSET * tint[:, 3:]], dim=1)


def recolour(images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Float images [B, 3, H, W], -1 to 1, and draws [B, 7] → images of the same range.

    Grey is luma (ITU-R BT.601) in all three channels. A grey image may be tinted too.
    """
    grey, gain, offset = draws[:, :, None, None].split((1, 3, 3), dim=1)
    red, green, blue = images.split(1, dim=1)
    images = torch.lerp(images, 0.299 * red + 0.587 * green + 0.114 * blue, grey)
    return (images * gain + offset).clamp(-1, 1)
