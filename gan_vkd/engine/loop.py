"""The training loop: iterations, logs, pictures, checkpoints, and a good end; of any task."""

import contextlib
import signal
import time
from dataclasses import dataclass
from types import FrameType
from typing import Literal

from gan_vkd import processes
from gan_vkd.engine.book import Book
from gan_vkd.engine.run_dir import RunDir
from gan_vkd.engine.task import Task
from gan_vkd.progress import Reporter

HANG_UP = getattr(signal, "SIGHUP", None)  # Windows has none
SIGNALS = [number for number in (signal.SIGINT, signal.SIGTERM, HANG_UP) if number]


@dataclass(frozen=True)
class Outcome:
    """How a call of `train` ended.

    Attributes:
        iteration: iterations done since the run began.
        reason: `done`, `time` (the limit was reached) or `signal`.
        signal: the signal's number, 0 without one.
    """

    iteration: int
    reason: Literal["done", "time", "signal"]
    signal: int = 0


class Interruption:
    """Catches the first SIGINT, SIGTERM or SIGHUP, so that the step can end; a second one kills.

    But SIGHUP never kills: when a terminal closes both the shell and the system may send it. And
    what is ignored (as under nohup) stays ignored.
    """

    def __init__(self):
        self.signal = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal = number
        for each in self._before:
            signal.signal(each, signal.SIG_IGN if each == HANG_UP else signal.SIG_DFL)


def train(task: Task, run: RunDir, *, start: int, deadline: float, reporter: Reporter) -> Outcome:
    """Train until the schedule's iterations are done, the time is up, or a signal comes.

    Of several processes all iterate and end at the same iteration; process 0 keeps the book.

    Args:
        task: its state is that after `start` iterations.
        run: where everything goes; under its lock.
        start: iterations already done.
        deadline: on `time.monotonic`'s clock; `math.inf` for none.
        reporter: told how it goes.

    Raises:
        GanVkdError: the numbers went wrong (see `Health`), or processes differ. The last
            checkpoint is from before that.
        OSError: the run can't be written; its checkpoints stay.
    """
    schedule, done = task.schedule, start
    with contextlib.ExitStack() as held:
        interruption = held.enter_context(Interruption())
        book = Book(task, run, start, reporter)
        processes.on_first(held.enter_context, book)
        processes.on_first(book.measure, done)  # where a signal came first
        while done < schedule.iterations:
            number, late = processes.greatest(interruption.signal, time.monotonic() >= deadline)
            if number or late:
                break

            # 1. One iteration.
            logging = (done + 1) % schedule.log_every == 0
            checkpointing = (done + 1) % schedule.checkpoint_every == 0
            terms = task.iterate(done, measure=logging or checkpointing)
            done += 1
            if processes.leading():
                book.count()
            if terms:
                processes.on_first(book.check, done, terms)

            # 2. The log, term by term, with what the task measures beside training.
            if logging:
                processes.on_first(book.log, {"iteration": done, **terms, **task.probe()})

            # 3. Pictures, figures and checkpoints.
            if schedule.sample_every and done % schedule.sample_every == 0:
                processes.on_first(book.draw, done)
            if schedule.evaluates(done):
                processes.on_first(book.measure, done, interruption.signal)
            if checkpointing and done < schedule.iterations:
                _save(task, book, done)

        # 4. Whatever ended it, all is saved.
        _save(task, book, done)
        if done == schedule.iterations:
            processes.on_first(book.measure, done)  # where a signal came first
            return Outcome(done, "done")
        return Outcome(done, "signal", int(number)) if number else Outcome(done, "time")


def _save(task: Task, book: Book, iteration: int) -> None:
    state = task.state_dict()
    what = f"its state after iteration {iteration}"
    processes.require_same(what, processes.digest, state)
    processes.on_first(book.save, iteration, state)
