"""The order in which images are seen, as a function of (seed, step): nothing to save or restore."""

from functools import lru_cache

import torch

from gan_vkd.randomness import generator


@lru_cache(maxsize=4)
def _epoch_order(count: int, seed: int, epoch: int) -> torch.Tensor:
    return torch.randperm(count, generator=generator(seed, "order", epoch))


def batch_indices(count: int, batch_size: int, step: int, seed: int) -> torch.Tensor:
    """The images of one batch: the epochs' orders laid end to end, cut into batches.

    Every image comes once an epoch. A batch may reach over the end of an epoch, and, where
    `count` < `batch_size`, over several.

    Args:
        count: number of images.
        batch_size: images a batch.
        step: number of the batch, from 0.
        seed: of the orders.

    Returns:
        int64 [batch_size], values in 0..count-1.
    """
    position, wanted, parts = step * batch_size, batch_size, []
    while wanted:
        epoch, start = divmod(position, count)
        part = _epoch_order(count, seed, epoch)[start : start + wanted]
        parts.append(part)
        position, wanted = position + len(part), wanted - len(part)
    return torch.cat(parts)


def flip_coins(batch_size: int, step: int, seed: int) -> torch.Tensor:
    """Bool [batch_size]: which images of batch `step` are mirrored, each with probability ½."""
    return torch.rand(batch_size, generator=generator(seed, "flip", step)) < 0.5


def mirror(images: torch.Tensor, coins: torch.Tensor) -> torch.Tensor:
    """Mirror left and right the images ([B, C, H, W], any type) whose coin (bool [B]) is True."""
    return torch.where(coins.to(images.device)[:, None, None, None], images.flip(-1), images)


def shift(images: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Shift every image by pixels of its own; what comes in is 0.

    A shift is a product with a matrix that has ones on one off-diagonal: exact, and with a
    gradient that is a matrix product too.

    Args:
        images: float [B, C, H, W].
        offsets: int64 [B, 2], rows downwards and columns to the right.

    Returns:
        As `images`.
    """

    def shifter(side: int, offset: torch.Tensor) -> torch.Tensor:
        """[B, 1, side, side]: row i has its one in column i - offset."""
        position = torch.arange(side, device=images.device)
        ones = position[None, :, None] == position[None, None, :] + offset[:, None, None]
        return ones.to(images.dtype)[:, None]

    rows, columns = (
        shifter(side, offset)
        for side, offset in zip(images.shape[-2:], offsets.unbind(1), strict=True)
    )
    with torch.autocast(images.device.type, enabled=False):
        return rows @ images @ columns.transpose(-1, -2)
