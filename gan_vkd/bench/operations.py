"""Counts of a call's torch operations, and of those that make the host wait for a GPU."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Operations whose result, or whose shape, the host has to know before it can go on.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim")
WAITING += ("_linalg_eigh", "linalg_cholesky", "linalg_inv", "equal")


class Operations(TorchDispatchMode):
    """Counts what is dispatched while it is entered, autograd's own calls and views included.

    Attributes:
        counts: by the operation's name, as in `mm`.
        waits: those for which the host would wait on a GPU; counted on any device.
    """

    def __init__(self):
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.waits = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if operation.namespace == "aten":
            name = operation.overloadpacket.__name__
            self.counts[name] += 1
            self.waits += name in WAITING or (name.startswith("index") and _by_mask(args))
        return operation(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        """All of them."""
        return self.counts.total()


def _by_mask(args: tuple) -> bool:
    """Whether an indexing takes the places where a mask is true: as many as there are."""
    indices = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ()
    return any(index is not None and index.dtype is torch.bool for index in indices)


def operations_of(call: Callable[[], object]) -> Operations:
    """Those of one call."""
    with Operations() as found:
        call()
    return found


def multiplications_of(call: Callable[[], object]) -> int:
    """Floating-point operations of a call's products and convolutions, two a multiplication."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def device_rate(device: torch.device, dtype: torch.dtype, timed: Callable[..., float]) -> float:
    """What a large product of matrices reaches here, operations a second; the best of five.

    Args:
        device: where.
        dtype: of the matrices.
        timed: a call and a device → seconds.
    """
    size = 8_192 if device.type == "cuda" else 1_024
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = [timed(lambda: one @ other, device) for _ in range(6)]
    return 2 * size**3 / min(seconds[1:])
