"""The processes of one command, as torchrun starts them: who they are, what they do together.

With one process, which needs no launcher, all of this does nothing. Several compute on GPUs over
NCCL, on CPUs over gloo; what the host alone decides goes over gloo in both cases.
"""

import hashlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from gan_vkd.errors import EndedElsewhere, GanVkdError

TIMEOUT = timedelta(minutes=30)  # process 0 may evaluate that long, while the others wait
CPU = torch.device("cpu")

T = TypeVar("T")
_apart = False  # whether this process acts alone, while others wait or do the same


class LostProcess(GanVkdError):
    """Another process has ended, or can't be reached."""


def size() -> int:
    """How many processes act together; 1 in what `on_first` and `in_turns` call."""
    together = dist.is_available() and dist.is_initialized() and not _apart
    return dist.get_world_size() if together else 1


def rank() -> int:
    """The number of this one, from 0."""
    return dist.get_rank() if size() > 1 else 0


def leading() -> bool:
    """Whether this is process 0, which writes and speaks for all."""
    return rank() == 0


@contextmanager
def joined() -> Iterator[None]:
    """Among the processes that torchrun started, each of which comes here.

    Raises:
        GanVkdError: the others can't be reached.
        EndedElsewhere: another process has said why all of them end.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        store, own, count = next(dist.rendezvous("env://", timeout=TIMEOUT))
        dist.init_process_group(backend, store=store, rank=own, world_size=count, timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise GanVkdError(f"torchrun: the processes can't reach each other ({reason})") from None
    try:
        yield
    except BaseException as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's: the error is to be said first
        to_be_said = isinstance(error, GanVkdError) and not isinstance(error, EndedElsewhere)
        if to_be_said and _said_before(store):
            raise EndedElsewhere(str(error)) from None
        raise
    dist.destroy_process_group()  # after an error others may not answer any more


def _said_before(store: Any) -> bool:
    try:
        return store.add("an error is said", 1) > 1
    except RuntimeError:  # the process that kept the store is the one that is lost
        return False


@contextmanager
def _alone() -> Iterator[None]:
    global _apart
    before, _apart = _apart, True
    try:
        yield
    finally:
        _apart = before


# What is computed together.


def sizes_of_parts(total: int) -> list[int]:
    """Of `total` rows each process's number, in their order: no two differ by more than one."""
    starts = [total * number // size() for number in range(size() + 1)]
    return [end - start for start, end in pairwise(starts)]


def own_part(total: int) -> slice:
    """Which of `total` rows are this process's: a contiguous part."""
    start = sum(sizes_of_parts(total)[: rank()])
    return slice(start, start + sizes_of_parts(total)[rank()])


def whole(part: torch.Tensor, total: int) -> torch.Tensor:
    """The rows [total, ...] of which each process has its own part, in order. No gradient."""
    if size() == 1:
        return part
    sizes = sizes_of_parts(total)
    padded = part.new_zeros(max(sizes), *part.shape[1:])
    padded[: len(part)] = part
    parts = zip(gathered(padded), sizes, strict=True)
    return torch.cat([rows[:count] for rows, count in parts])


def gathered(tensor: torch.Tensor) -> list[torch.Tensor]:
    """This tensor of every process, in their order; all are of one shape. No gradient."""
    parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(size())]
    _run(dist.all_gather, parts, tensor.contiguous())
    return parts


def summed(tensor: torch.Tensor) -> torch.Tensor:
    """The sum over the processes, a new tensor. No gradient."""
    total = tensor.clone(memory_format=torch.contiguous_format)
    _run(dist.all_reduce, total)
    return total


def average_(gradients: Iterable[torch.Tensor]) -> None:
    """Replace each by its mean over the processes: all in one flat buffer."""
    if size() > 1:
        _flat_(gradients, lambda flat: _run(dist.all_reduce, flat.div_(size())))


def copy_first_(tensors: Iterable[torch.Tensor]) -> None:
    """Replace each by what process 0 has there."""
    if size() > 1:
        _flat_(tensors, lambda flat: _run(dist.broadcast, flat, 0))


@torch.no_grad()
def _flat_(tensors: Iterable[torch.Tensor], change: Callable[[torch.Tensor], object]) -> None:
    tensors = list(tensors)
    if not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    change(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


# What is decided together.


def greatest(*values: float) -> list[float]:
    """The greatest of each over the processes: the same everywhere."""
    if size() == 1:
        return list(values)
    both = torch.tensor(values, dtype=torch.float64)
    _run(dist.all_reduce, both, dist.ReduceOp.MAX)
    return both.tolist()


def told(value: T) -> T:
    """What process 0 passes; the others' values count for nothing."""
    if size() == 1:
        return value
    box = [value]
    _run(dist.broadcast_object_list, box, 0, device=CPU)
    return box[0]


@contextmanager
def failing_together() -> Iterator[None]:
    """What one process raises in here ends all, and the lowest of those that raise says it.

    All processes pass through it, and nothing in it waits for another process but what fails
    together itself.

    Raises:
        EndedElsewhere: another process has raised something.
    """
    raised = None
    try:
        yield
    except Exception as error:
        if size() == 1 or isinstance(error, LostProcess) or getattr(error, "all_know", False):
            raise
        raised = error
    (last,) = greatest(0 if raised is None else size() - rank())
    if not last:
        return
    teller = size() - int(last)
    error = raised if teller == rank() else EndedElsewhere(f"process {teller} has ended")
    error.all_know = True
    raise error


def on_first(function: Callable[..., T], *arguments: object) -> T | None:
    """Process 0 calls it while the others, which get None, wait; what it raises ends all."""
    with failing_together():
        if leading():
            with _alone():
                return function(*arguments)
    return None


def in_turns(function: Callable[..., T], *arguments: object, **named: object) -> T:
    """First one process a machine calls it, then the others: what it downloads is there for them.

    Its result is each process's own; what it raises ends all.
    """
    if size() == 1:
        return function(*arguments, **named)
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    for turn in (True, False):
        with failing_together():
            if first == turn:
                with _alone():
                    result = function(*arguments, **named)
    return result


def require_same(what: str, find: Callable[..., object], *arguments: object) -> None:
    """Refuse to go on where processes differ.

    Args:
        what: is compared, in words for the error.
        find: gives it, for these arguments; called only where there are several processes.

    Raises:
        GanVkdError: names the first process that differs from process 0.
    """
    if size() == 1:
        return
    ours = find(*arguments)
    first = told(ours)
    with failing_together():
        if ours != first:
            raise GanVkdError(
                f"process {rank()} of {size()} differs from process 0 in {what}: all need the "
                "same files and software, and processors of one kind"
            )


def digest(state: Mapping[str, torch.Tensor]) -> str:
    """A hash of named tensors on the CPU: of their names, types, shapes and bits."""
    found = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(state.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        found.update(tensor.contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()


def _run(collective: Callable[..., object], *arguments: Any, **named: Any) -> None:
    try:
        collective(*arguments, **named)
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if "closed by peer" in text or "reset by peer" in text:
            text = "it has ended"
        elif "imed out" in text:
            text = f"no answer in {TIMEOUT.total_seconds() / 60:g} minutes"
        raise LostProcess(f"another of the {size()} processes is lost ({text[:200]})") from None
