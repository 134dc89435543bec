"""Progress bars and notices on standard error, silent when asked to be."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from gan_vkd.terminal import printable

T = TypeVar("T")

MINUTE = 60.0  # seconds between two lines of a log file


class Reporter:
    """Prints notices, and progress bars for long work.

    Args:
        quiet: print nothing (errors are not its business and are printed all the same).
    """

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self.console = Console(stderr=True, quiet=quiet, highlight=False)

    def say(self, text: str) -> None:
        """Print one line; neither markup nor escape sequences in it do anything."""
        self.console.print(printable(text), markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, description: str, total: int, done: int = 0) -> Iterator["Bar"]:
        """A progress bar with `total` units of work, `done` of them behind us."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}", markup=False),
        )
        with Progress(*columns, console=self.console, disable=self.quiet) as progress:
            task = progress.add_task(printable(description), total=total, completed=done, status="")
            yield Bar(progress, task)

    def track(self, items: Iterable[T], description: str, total: int) -> Iterator[T]:
        """Iterate over `items` behind a bar."""
        with self.bar(description, total) as bar:
            for item in items:
                yield item
                bar.advance()


class Bar:
    """One running progress bar."""

    def __init__(self, progress: Progress, task: TaskID):
        self._progress, self._id = progress, task
        self._told = time.monotonic()

    def advance(self, steps: int = 1, status: str | None = None) -> None:
        """Count `steps` units as done; `status` replaces the text after the bar.

        Where no bar can be drawn (a log file), each new status is a line of its own, and there is a
        line a minute.
        """
        fields = {} if status is None else {"status": status}
        self._progress.update(self._id, advance=steps, **fields)
        console = self._progress.console
        if console.is_terminal:
            return
        now = time.monotonic()
        if status is not None or now - self._told >= MINUTE:
            self._told, task = now, self._progress.tasks[self._id]
            line = f"{task.description} {task.completed:.0f}/{task.total:.0f}  {status or ''}"
            console.print(line.rstrip(), markup=False, soft_wrap=True)


QUIET = Reporter(quiet=True)
