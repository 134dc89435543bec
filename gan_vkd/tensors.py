"""safetensors files: mapped with their header, written whole."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gan_vkd.paths import replacing

UNREADABLE = (  # what reading, and making sense of, a file from anywhere can raise
    SafetensorError,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
)


def read_tensors(path: Path, kind: str | None = None) -> tuple[dict[str, torch.Tensor], dict]:
    """The tensors of a file and its header's entries.

    safetensors maps the file and checks its size against its header without reading the tensors:
    memory is taken where they are looked at, and the system may take it back. Written to in place
    they change in this process alone, never in the file. Meanwhile the file may be replaced or
    removed, but not cut short.

    Args:
        path: a safetensors file.
        kind: what the header's `format` must say, or None for anything.

    Raises:
        one of UNREADABLE: not a whole file, or of another kind.
    """
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    if kind is not None and header.get("format") != kind:
        raise ValueError(f"its header does not say {kind}")
    return tensors, header


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], header: dict[str, str]) -> None:
    """Write a file; it appears, or is replaced, whole. Contiguous tensors are not copied.

    Raises:
        OSError: the folder can't be made or written.
    """
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(contiguous, temporary, header)
        except SafetensorError as error:  # how it reports a full disk
            raise OSError(f"{path}: {error}") from None
