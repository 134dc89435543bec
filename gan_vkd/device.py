"""Where and in which precision to compute."""

import os

import torch

from gan_vkd.errors import GanVkdError


def pick_device(name: str) -> torch.device:
    """`auto` → the GPU where there is one, else the CPU.

    Raises:
        GanVkdError: a device that this machine lacks.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise GanVkdError(
            f"--device {name}: not on this machine: use --device auto, or --device cpu"
        ) from None
    return device


def resolve_precision(precision: str, device: torch.device) -> str:
    """`auto` → `bf16` on a GPU, and on a CPU only where it has the instructions; else `fp32`."""
    if precision != "auto":
        return precision
    if device.type == "cpu":
        return "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"
    return "bf16"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which networks run in `bf16`; for `fp32` one that turns autocast off."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def compute_deterministically() -> None:
    """Give the same bits every time on a GPU too (a CPU does so anyway), for the whole process.

    Operations that can't raise RuntimeError. To be called before the GPU multiplies matrices.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
