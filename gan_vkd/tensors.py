"""safetensors files: mapped with their header, written whole."""

import json
import struct
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

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

DTYPES = {  # the format's names
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


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
    path.open("rb").close()  # safetensors calls whatever it may not open "no such file"
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
    with replacing(path) as temporary:
        save_file(tensors, temporary, header)


def save_file(tensors: dict[str, torch.Tensor], path: Path, header: dict[str, str]) -> None:
    """Write a file of the format: the header's length, the header as JSON, the tensors' bytes.

    The same tensors and header always give the same bytes, and the file gets the mode that new
    files get; safetensors' own writer keeps neither an order of the header nor the user's umask.
    Large elements come first, so that all are aligned.
    """
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    entries: dict = {"__metadata__": header}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.nbytes
        kind, shape = DTYPES[tensor.dtype], list(tensor.shape)
        entries[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in ordered:
            file.write(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
