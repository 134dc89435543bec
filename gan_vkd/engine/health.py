"""Health checks: training that fails is stopped, and the reason is named."""

import math
import shlex
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from gan_vkd.engine.run_dir import RunDir
from gan_vkd.errors import GanVkdError
from gan_vkd.processes import LostProcess

LINES_IN_A_ROW = 3


@dataclass(frozen=True)
class Limit:
    """A limit on a logged value, below which training has failed.

    Attributes:
        name: the value's.
        least: it counts as gone wrong below this, in three log lines in a row.
        meaning: what has happened then, in words.
    """

    name: str
    least: float
    meaning: str


class Health:
    """Stops a run whose numbers are no longer those of a training.

    A loss, a gradient's norm or any other value of a log line that is not finite stops it at once;
    a value below the task's limit in three log lines in a row, then. And before a checkpoint every
    number in it is finite.

    Args:
        run: named in the message, with its last good checkpoint.
        history: the log so far: a run that was cut is judged as if it had not been.
        limits: the task's.
        remedy: what to change in a new run, in words that follow "with".
    """

    def __init__(self, run: RunDir, history: list[dict], limits: tuple[Limit, ...], remedy: str):
        self.run, self.limits, self.remedy = run, limits, remedy
        self._recent = deque(history[-LINES_IN_A_ROW:], maxlen=LINES_IN_A_ROW)

    def check_finite(self, iteration: int, values: dict[str, float]) -> None:
        """Refuse a value that is not finite.

        Raises:
            GanVkdError: names it.
        """
        for name, value in values.items():
            if not math.isfinite(value):
                self._stop(f"{name} is {value} at iteration {iteration}")

    def check_line(self, line: dict[str, float]) -> None:
        """Refuse a value that is not finite, or stays below its limit.

        Raises:
            GanVkdError: names the iteration, the value and the rule.
        """
        self.check_finite(line["iteration"], line)
        self._recent.append(line)
        for limit in self.limits:
            values = [recent.get(limit.name, math.inf) for recent in self._recent]
            if len(values) == LINES_IN_A_ROW and max(values) < limit.least:
                self._stop(
                    f"{limit.meaning} at iteration {line['iteration']}: {limit.name} is "
                    f"{values[-1]:.2g}, below {limit.least:g} in {LINES_IN_A_ROW} log lines"
                )

    def check_state(self, iteration: int, state: dict[str, torch.Tensor]) -> None:
        """Refuse a state with a number that is not finite: it must not become a checkpoint.

        Raises:
            GanVkdError: names the tensor.
        """
        for name, tensor in state.items():
            if not torch.isfinite(tensor).all():
                self.check_finite(iteration, {f"an entry of {name}": math.nan})

    def _stop(self, what: str) -> None:
        raise GanVkdError(
            f"{self.run.path}: {what}; {last_good(self.run)}: start again with {self.remedy}"
        )


def last_good(run: RunDir) -> str:
    """Which checkpoint is the last one, in words."""
    iterations = run.checkpoints.iterations()
    if not iterations:
        return "there is no checkpoint yet"
    return f"the last good checkpoint is of iteration {iterations[-1]}"


@contextmanager
def device_explained(batch_size: int, smaller: str) -> Iterator[None]:
    """Turns errors of a device into one line with the setting to change.

    Args:
        batch_size: of the run.
        smaller: settings that take less memory too, in words that follow "a smaller".

    Raises:
        GanVkdError: its memory is too small for the batch, or it has no deterministic kernel.
    """
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if "does not have a deterministic implementation" in str(error):
            operation = str(error).split()[0]
            raise GanVkdError(
                f"--deterministic: {operation} has no deterministic kernel here: drop the flag"
            ) from None
        where = "GPU" if isinstance(error, torch.OutOfMemoryError) else "CPU"
        if where == "CPU" and "can't allocate memory" not in str(error):
            raise
        raise GanVkdError(
            f"out of memory on the {where} with training.batch_size {batch_size}: start a run with "
            f"--set training.batch_size={max(2, batch_size // 2)}, or with a smaller {smaller}"
        ) from None


@contextmanager
def writing_explained(run: RunDir, command: str) -> Iterator[None]:
    """Turns a write that fails, or another process that does, into a line that says how to go on.

    Args:
        run: that is written.
        command: of gan-vkd, that trains it.

    Raises:
        GanVkdError: the disk is full, a quota is used up, or the folder can't be written.
        LostProcess: as `processes` says, with the run.
    """
    on = f"gan-vkd {command} --resume --run-dir {shlex.quote(str(run.path))}"
    try:
        yield
    except LostProcess as error:
        raise LostProcess(
            f"--run-dir {run.path}: {error}; {last_good(run)}: continue with {on}, under torchrun "
            "with as many processes as you like"
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise GanVkdError(
            f"--run-dir {run.path}: can't be written ({reason}); {last_good(run)}: free some "
            f"space, then continue with {on}"
        ) from None
