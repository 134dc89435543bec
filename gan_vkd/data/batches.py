"""The order in which images are seen, as a function of (seed, step): nothing to save or restore."""

from collections.abc import Sequence
from functools import lru_cache

import torch

from gan_vkd.randomness import generator


@lru_cache(maxsize=4)
def _epoch_order(count: int, seed: int, epoch: int) -> torch.Tensor:
    return torch.randperm(count, generator=generator(seed, "order", epoch))


@lru_cache(maxsize=4_096)
def _class_order(count: int, seed: int, label: int, epoch: int) -> list[int]:
    return torch.randperm(count, generator=generator(seed, "order of", label, epoch)).tolist()


@lru_cache(maxsize=4_096)
def _round_order(count: int, seed: int, number: int) -> list[int]:
    return torch.randperm(count, generator=generator(seed, "round", number)).tolist()


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


def balanced_indices(
    members: Sequence[torch.Tensor], batch_size: int, step: int, seed: int
) -> torch.Tensor:
    """The images of one batch where every class is shown equally often.

    The stream of images consists of rounds. A round shows one image of every class, in an order of
    its own; a class's images come in an order anew each time that all of them have been shown. The
    stream is cut into batches.

    Args:
        members: of each class, the images that it has: int64 [n], n ≥ 1.
        batch_size: images per batch.
        step: number of the batch, from 0.
        seed: of the orders.

    Returns:
        int64 [batch_size], values out of `members`.
    """
    rows = []
    for position in range(step * batch_size, (step + 1) * batch_size):
        number, place = divmod(position, len(members))
        label = _round_order(len(members), seed, number)[place]
        epoch, turn = divmod(number, len(members[label]))
        rows.append(members[label][_class_order(len(members[label]), seed, label, epoch)[turn]])
    return torch.stack(rows)


def flip_coins(batch_size: int, step: int, seed: int) -> torch.Tensor:
    """Bool [batch_size]: which images of batch `step` are mirrored, each with probability ½."""
    return torch.rand(batch_size, generator=generator(seed, "flip", step)) < 0.5


def mirror(images: torch.Tensor, coins: torch.Tensor) -> torch.Tensor:
    """Mirror left and right the images ([B, C, H, W], any type) whose coin (bool [B]) is True."""
    return torch.where(coins.to(images.device)[:, None, None, None], images.flip(-1), images)


def shift(images: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Shift every image by its own number of pixels; new pixels are 0.

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
