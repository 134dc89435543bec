"""Numbers that go wrong: what is no longer training is stopped, and named."""

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gan_vkd.errors import GanVkdError
from gan_vkd.training.run_dir import RunDir

LINES_IN_A_ROW = 3
DEAD_LOGIT_STD = 1e-5
COLLAPSED_SPREAD = 0.01


class Health:
    """Stops a run whose numbers are no longer those of a GAN in training.

    Where the log is measured:

    - *Not finite*: a loss, a gradient's norm or any other value of the line. At once.
    - *Dead discriminator*: the standard deviation of its logits on up to 256 training images is
      below 1e-5: it tells no image from another, and G's gradient says nothing. In three log lines
      in a row.
    - *Collapsed generator*: the images of a generated batch differ from each other by less than
      1 % of what real ones do (`spread`), whatever their latents and classes. In three log lines
      in a row.

    And before a checkpoint: every number in it is finite.

    Args:
        run: named in the message, with its last good checkpoint.
        history: the log so far: a run that was cut is judged as if it had not been.
    """

    def __init__(self, run: RunDir, history: list[dict]):
        self.run = run
        self._recent = deque(history[-LINES_IN_A_ROW:], maxlen=LINES_IN_A_ROW)

    def check_finite(self, iteration: int, values: dict[str, float]) -> None:
        """Refuse a value that is not finite.

        Raises:
            GanVkdError: names it.
        """
        for name, value in values.items():
            if not math.isfinite(value):
                self._stop(
                    f"{name} is {value} at iteration {iteration}",
                    "start again with a lower learning rate (--set training.d_lr=...)",
                )

    def check_line(self, line: dict[str, float]) -> None:
        """Refuse a dead discriminator and a collapsed generator.

        Raises:
            GanVkdError: names the iteration, the value and the rule.
        """
        self.check_finite(line["iteration"], line)
        self._recent.append(line)
        advice = "start again with lower learning rates (--set training.d_lr=...) or another --seed"
        for name, limit, what in (
            ("logit_std_train", DEAD_LOGIT_STD, "the discriminator is dead"),
            ("spread", COLLAPSED_SPREAD, "the generator has collapsed"),
        ):
            values = [recent.get(name, math.inf) for recent in self._recent]
            if len(values) == LINES_IN_A_ROW and max(values) < limit:
                self._stop(
                    f"{what} at iteration {line['iteration']}: {name} is {values[-1]:.2g}, below "
                    f"{limit:g} in {LINES_IN_A_ROW} log lines",
                    advice,
                )

    def check_state(self, iteration: int, state: dict[str, torch.Tensor]) -> None:
        """Refuse a state with a number that is not finite: it must not become a checkpoint.

        Raises:
            GanVkdError: names the tensor.
        """
        for name, tensor in state.items():
            if not torch.isfinite(tensor).all():
                self.check_finite(iteration, {f"an entry of {name}": math.nan})

    def _stop(self, what: str, advice: str) -> None:
        raise GanVkdError(f"{self.run.path}: {what}; {last_good(self.run)}: {advice}")


def last_good(run: RunDir) -> str:
    """Which checkpoint is the last one, in words."""
    iterations = run.checkpoints.iterations()
    if not iterations:
        return "there is no checkpoint yet"
    return f"the last good checkpoint is of iteration {iterations[-1]}"


@contextmanager
def device_explained(batch_size: int) -> Iterator[None]:
    """Turns what a device can't do into a line with what to set.

    Raises:
        GanVkdError: its memory is too small for the batch, or it has no deterministic kernel.
    """
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if "does not have a deterministic implementation" in str(error):
            operation = str(error).split()[0]
            raise GanVkdError(
                f"--deterministic: {operation} has no deterministic kernel here: leave it out"
            ) from None
        where = "GPU" if isinstance(error, torch.OutOfMemoryError) else "CPU"
        if where == "CPU" and "can't allocate memory" not in str(error):
            raise
        raise GanVkdError(
            f"out of memory on the {where} with training.batch_size {batch_size}: start a run with "
            f"--set training.batch_size={max(2, batch_size // 2)}, or with a smaller gan.channels "
            "or --teacher-size"
        ) from None


@contextmanager
def writing_explained(run: RunDir) -> Iterator[None]:
    """Turns a write that fails into a line that names the run and how to go on.

    Raises:
        GanVkdError: the disk is full, a quota is used up, or the folder can't be written.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise GanVkdError(
            f"--run-dir {run.path}: can't be written ({reason}); {last_good(run)}: make room, "
            f"then go on with gan-vkd train --resume --run-dir {run.path}"
        ) from None
