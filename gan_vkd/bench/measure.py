"""Time and memory of calls that are compared with each other."""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from gan_vkd.progress import Bar

Call = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Seconds of a call, and how they compare with the baseline's of the same rounds.

    Attributes:
        seconds: of every call, in the order of the rounds it took part in.
        ratio: median over its rounds of its time over the baseline's; 1 for the baseline.
    """

    seconds: list[float]
    ratio: float

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, seconds; 0 for one call."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / 2


def interleaved(
    cases: dict[str, Call],
    baseline: str,
    *,
    rounds: int,
    patience: float,
    device: torch.device,
    bar: Bar,
) -> dict[str, Timing]:
    """Time all cases in turn, round after round, so that a busy moment hits them alike.

    Each case is called once before, untimed; each round starts with another case. A case whose
    calls have taken `patience` seconds in all sits out the rounds after that; the baseline never
    does. The bar advances by one a case and round, whether it sat out or not.
    """
    for name, call in cases.items():
        bar.advance(0, f"{name}: first call")
        call()
    seconds: dict[str, dict[int, float]] = {name: {} for name in cases}
    names = list(cases)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            bar.advance(1, f"round {turn + 1}" if name == names[first] else None)
            taken = seconds[name].values()
            if name == baseline or not taken or sum(taken) < patience:
                seconds[name][turn] = timed(cases[name], device)
    return {
        name: Timing(
            list(taken.values()),
            statistics.median(t / seconds[baseline][turn] for turn, t in taken.items()),
        )
        for name, taken in seconds.items()
    }


def ranked(
    calls: dict[str, Call],
    baseline: str,
    *,
    memory: Callable[[int, int], str],
    quality: Callable[[str], str],
    rounds: int,
    patience: float,
    device: torch.device,
    bar: Bar,
) -> list[list[str]]:
    """Compare calls: one row each, the fastest first.

    Args:
        calls, baseline, rounds, patience, device, bar: as in `interleaved`.
        memory: a call's peak bytes and the baseline's → a cell.
        quality: a call's name → a cell, once all have run.

    Returns:
        Rows: name, milliseconds, ratio to the baseline, memory, quality, number of calls.
    """
    timings = interleaved(calls, baseline, rounds=rounds, patience=patience, device=device, bar=bar)
    peaks = {name: peak_bytes(call, device) for name, call in calls.items()}
    return [
        [
            name,
            f"{timing.median * 1e3:.3g} ± {timing.spread * 1e3:.2g}",
            f"{timing.ratio:.3g}",
            memory(peaks[name], peaks[baseline]),
            quality(name),
            str(len(timing.seconds)),
        ]
        for name, timing in sorted(timings.items(), key=lambda item: item[1].ratio)
    ]


def timed(call: Call, device: torch.device) -> float:
    """Seconds of one call, the device's work included."""
    _wait(device)
    start = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_bytes(call: Call, device: torch.device) -> int:
    """The peak memory of torch's tensors during a call, above that before it."""
    if device.type == "cuda":
        _wait(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        _wait(device)
        return torch.cuda.max_memory_allocated(device) - before
    cpu = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[cpu], profile_memory=True) as profile:
        call()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    changes = [(e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]"]
    held = peak = 0
    for _, change in sorted(changes, key=lambda pair: pair[0]):
        held += change
        peak = max(peak, held)
    return peak


def standing_bytes(*holders: torch.nn.Module | torch.optim.Optimizer) -> int:
    """The memory of modules' parameters and buffers and of optimisers' moments."""
    tensors = []
    for holder in holders:
        if isinstance(holder, torch.optim.Optimizer):
            moments = [value for state in holder.state.values() for value in state.values()]
            tensors += [value for value in moments if torch.is_tensor(value)]
        else:
            tensors += [*holder.parameters(), *holder.buffers()]
    return sum(tensor.nbytes for tensor in tensors)
