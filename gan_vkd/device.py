"""Where and in which precision to compute."""

import os

import torch

from gan_vkd.errors import GanVkdError

BF16_CAPABILITY = (8, 0)  # NVIDIA's Ampere; older cards only emulate bf16


def pick_device(name: str) -> torch.device:
    """`auto` → the GPU that CUDA (or ROCm) knows, else the CPU; Apple's GPU only as `mps`.

    Under torchrun each process takes a GPU of its own, by its number on the machine.

    Raises:
        GanVkdError: a device that this machine lacks, or that processes can't share.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return _own_device(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError):
        raise GanVkdError(
            f"--device {name}: not available on this machine: use --device auto or --device cpu"
        ) from None
    return device


def _own_device(name: str) -> torch.device:
    """Of a process that torchrun started beside others."""
    if name not in ("auto", "cpu", "cuda"):
        raise GanVkdError(
            f"--device {name}: each process of torchrun takes a GPU of its own: use --device auto, "
            "cuda or cpu; CUDA_VISIBLE_DEVICES chooses among GPUs"
        )
    found = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not found):
        return torch.device("cpu")
    own, count = (int(os.environ.get(f"LOCAL_{key}", "0")) for key in ("RANK", "WORLD_SIZE"))
    if max(own + 1, count) > found:
        raise GanVkdError(
            f"--device {name}: {count} processes on a machine with {found} GPUs: start torchrun "
            f"with --nproc-per-node {max(1, found)}, or use --device cpu"
        )
    device = torch.device("cuda", own)
    torch.cuda.set_device(device)
    return device


def resolve_precision(precision: str, device: torch.device) -> str:
    """`auto` → `bf16` where the device is known to have the instructions for it, else `fp32`."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= BF16_CAPABILITY
    else:
        native = device.type == "cpu" and _cpu_has_bf16()
    return "bf16" if native else "fp32"


def _cpu_has_bf16() -> bool:
    try:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    except (AttributeError, RuntimeError):  # not public: a torch without it, or without mkldnn
        return False


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which networks run in `bf16`; for `fp32` one that turns autocast off."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def asking_waits(device: torch.device) -> bool:
    """Whether Python waits for all that is under way when it asks for a value on this device."""
    return device.type != "cpu"


def to_float64(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float64, where it is; on the CPU if its device (Apple's GPU) has no float64."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def compute_deterministically() -> None:
    """Give the same bits every time on a GPU too (a CPU does so anyway), for the whole process.

    Operations that can't raise RuntimeError. To be called before the GPU multiplies matrices.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
