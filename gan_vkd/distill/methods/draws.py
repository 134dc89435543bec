"""Random numbers as a function of a key, made on any device without waiting for it."""

import torch

# The finalizer of MurmurHash3 for 64 bits (Appleby), as signed numbers.
_FIRST, _SECOND = -0x00AE502812AA7333, -0x3B314601E57A13AD


def uniform_integers(
    key: torch.Tensor, shape: tuple[int, ...], below: torch.Tensor
) -> torch.Tensor:
    """Integers from 0 to `below` - 1, the same on every device.

    Args:
        key: int64 [1].
        shape: of the result.
        below: int64, broadcast over `shape`; under 2³².

    Returns:
        int64 of `shape`.
    """
    count = torch.Size(shape).numel()
    bits = key + torch.arange(count, device=key.device) * -0x61C8864680B583EB  # 2⁶⁴ over φ
    bits = (bits ^ (bits >> 33 & 0x7FFFFFFF)) * _FIRST
    bits = (bits ^ (bits >> 33 & 0x7FFFFFFF)) * _SECOND
    bits = (bits ^ (bits >> 33 & 0x7FFFFFFF)).view(shape)
    return ((bits >> 32 & 0xFFFFFFFF) >> 1) * below >> 31
