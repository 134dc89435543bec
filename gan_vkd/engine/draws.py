"""Random numbers on their way to the device: all of one iteration in one transfer."""

import math

import torch

ALIGNMENT = 16  # bytes: of every tensor's start in the packed buffer


def to_device(draws: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """The same named tensors on `device`.

    On a GPU they travel together, packed in one pinned buffer that is copied asynchronously.

    Args:
        draws: on the CPU, of any types and shapes.
        device: where to.
    """
    if device.type == "cpu":
        return draws
    packed = pack(draws)
    if device.type == "cuda":
        packed = packed.pin_memory()
    return unpack(packed.to(device, non_blocking=True), draws)


def pack(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """The tensors' bytes behind each other: uint8 [total], each padded to the alignment."""
    packed = torch.zeros(sum(map(_room, tensors.values())), dtype=torch.uint8)
    start = 0
    for tensor in tensors.values():
        flat = tensor.contiguous().flatten().view(torch.uint8)
        packed[start : start + len(flat)] = flat
        start += _room(tensor)
    return packed


def unpack(packed: torch.Tensor, like: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Views of a packed buffer, with the names, types and shapes of `like`."""
    found, start = {}, 0
    for name, tensor in like.items():
        part = packed[start : start + tensor.nbytes]
        found[name] = part.view(tensor.dtype).view(tensor.shape)
        start += _room(tensor)
    return found


def _room(tensor: torch.Tensor) -> int:
    return math.ceil(tensor.nbytes / ALIGNMENT) * ALIGNMENT
