"""What depends on real images alone: computed once, kept by content in the user's cache."""

import hashlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from gan_vkd import __version__, processes
from gan_vkd.cache import mark_used, prune
from gan_vkd.paths import cache_dir
from gan_vkd.progress import Reporter
from gan_vkd.tensors import UNREADABLE, read_tensors, write_tensors

Tensors = dict[str, torch.Tensor]


def kept(
    folder: str,
    key: object,
    compute: Callable[[], Tensors],
    reporter: Reporter,
    whole: Callable[[Tensors], bool] = lambda _: True,
) -> Tensors:
    """What `compute` returns, from the cache where it was computed before.

    A damaged entry is computed again; a cache that can't be written is said, and no error.
    Several processes compute it together if one of them lacks it.

    Args:
        folder: of the cache, one a kind of entry.
        key: all that the result depends on; its `repr` is what counts.
        compute: makes the tensors.
        reporter: told about a damaged cache.
        whole: whether an entry is one that `compute` could have made.
    """
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:32]
    entry = cache_dir() / folder / f"{digest}.safetensors"
    found = _read(entry, whole)
    if found is None and entry.exists():
        reporter.say(f"The {folder} cache {entry} is damaged; it is computed again")
    (lacking,) = processes.greatest(found is None)
    if not lacking:
        mark_used(entry)
        return found
    found = compute()
    try:
        write_tensors(entry, found, {})
        prune(entry.parent, keep=entry)
    except OSError as error:
        reporter.say(f"The {folder} cache {entry.parent} cannot be written ({error})")
    return found


def _read(entry: Path, whole: Callable[[Tensors], bool]) -> Tensors | None:
    try:
        found = read_tensors(entry)[0]
        return found if whole(found) else None
    except UNREADABLE:
        return None


def of_real(
    what: str,
    arrays: tuple[np.ndarray, ...],
    settings: tuple,
    device: torch.device,
    compute: Callable[[], Tensors],
    reporter: Reporter,
) -> Tensors:
    """`kept`, for a quantity of real images; its key is the arrays' content.

    Args:
        what: the quantity's name.
        arrays: what it is computed from: features, pixels.
        settings: what else it depends on.
        device: where it is computed; another kind of device may give other last bits.
        compute, reporter: as above.
    """
    versions = (__version__, *(version(name) for name in ("torch", "numpy", "scipy")))
    contents = [(array.shape, str(array.dtype), _sha256(array)) for array in arrays]
    key = (what, contents, settings, device.type, versions)
    return kept("reference", key, compute, reporter)


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()
