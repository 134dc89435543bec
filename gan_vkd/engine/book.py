"""What a run writes while it trains: log, pictures, figures, checkpoints."""

import contextlib
import json
import math
import os
import time
from typing import TextIO

import torch

from gan_vkd.engine.events import EventFile
from gan_vkd.engine.health import Health
from gan_vkd.engine.run_dir import RunDir
from gan_vkd.engine.task import Task
from gan_vkd.paths import replacing
from gan_vkd.progress import Reporter


class Book:
    """The files of a run in training, and its progress bar; a context manager.

    Args:
        task, run, start, reporter: as `train` has them.
    """

    def __init__(self, task: Task, run: RunDir, start: int, reporter: Reporter):
        self.task, self.run, self.start, self.reporter = task, run, start, reporter

    def __enter__(self) -> "Book":
        """Back to iteration `start`, and open.

        Raises:
            OSError: the run can't be written.
        """
        task, run, start = self.task, self.run, self.start
        log_lines, curve_lines = run.rewind(start)
        self.health = Health(run, log_lines, task.limits, task.remedy)
        self._ticks = _Ticker(task.images_per_iteration)
        with contextlib.ExitStack() as opened:
            self._board = opened.enter_context(EventFile(run.path, start))
            self._log = opened.enter_context(run.log_path.open("a"))
            self._points = opened.enter_context(run.curve_path.open("a"))
            total = task.schedule.iterations
            self._bar = opened.enter_context(self.reporter.bar("Training", total, done=start))
            self._opened = opened.pop_all()
        self._curve = _Curve(task, run, self.health, self._points, self._board, curve_lines)
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.__exit__(*error)

    def count(self) -> None:
        """One iteration more."""
        self._ticks.count()
        self._bar.advance()

    def check(self, iteration: int, values: dict[str, float]) -> None:
        """Raises GanVkdError where a value is not finite."""
        self.health.check_finite(iteration, values)

    def log(self, values: dict[str, float]) -> None:
        """A line of the log.

        Raises:
            GanVkdError: see `Health.check_line`.
            OSError: it can't be written.
        """
        line = {**values, **self._ticks.speed()}
        self.health.check_line(line)
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()
        self._board.add(line["iteration"], line)
        self._bar.advance(0, status=_status(line, self.task.shown))

    def draw(self, iteration: int) -> None:
        """A picture of the state, where the task has one."""
        picture = self.task.picture(iteration)
        if picture is not None:
            self.run.samples.mkdir(exist_ok=True)
            with replacing(self.run.samples / f"{iteration:08d}.png") as temporary:
                picture.save(temporary, "PNG")

    def measure(self, iteration: int, signal: int = 0) -> None:
        """A point of the curve, where it is time, there is none yet, and no signal has come."""
        if not signal:
            self._curve.measure(iteration)

    def save(self, iteration: int, state: dict[str, torch.Tensor]) -> None:
        """A checkpoint, and what is handed out.

        Raises:
            GanVkdError: a number in the state is not finite.
            OSError: it can't be written.
        """
        os.fsync(self._points.fileno())
        os.fsync(self._log.fileno())
        self.health.check_state(iteration, state)
        self.run.checkpoints.save(iteration, state)
        self.task.export(iteration, self.run.path / self.task.artefact)


class _Curve:
    """The task's figures every `eval_every` iterations, and the best state by its score.

    Args:
        task, run: as `train` has them.
        health: refuses figures that are not finite.
        points: the curve's file.
        board: TensorBoard's.
        lines: of the file, up to now.
    """

    def __init__(
        self,
        task: Task,
        run: RunDir,
        health: Health,
        points: TextIO,
        board: EventFile,
        lines: list[dict],
    ):
        self.task, self.run, self.health, self.points, self.board = task, run, health, points, board
        self._lines = lines

    def measure(self, iteration: int) -> None:
        """Measure, where it is time and was not done yet; keep the state if it is the best.

        Raises:
            GanVkdError: a figure is not finite.
        """
        measured = max((line["iteration"] for line in self._lines), default=0)
        if not self.task.schedule.evaluates(iteration) or iteration <= measured:
            return
        point = self.task.point(iteration)
        defined = {name: value for name, value in point.figures.items() if value is not None}
        self.health.check_finite(iteration, defined)
        line = {"iteration": iteration, **point.protocol, **point.figures}
        self.points.write(json.dumps(line) + "\n")
        self.points.flush()
        figures = {f"{name}[{point.source}]": value for name, value in point.figures.items()}
        self.board.add(iteration, figures)
        if point.score is not None:
            comparable = [
                before for before in self._lines if point.protocol.items() <= before.items()
            ]
            known = [before.get(point.score) for before in comparable]
            best = min((value for value in known if isinstance(value, float)), default=math.inf)
            if line[point.score] < best:
                point.keep(self.run.best_path)
        self._lines.append(line)


class _Ticker:
    """Counts iterations between two log lines and turns them into images a second."""

    def __init__(self, images_per_iteration: int):
        self._images, self._iterations = images_per_iteration, 0
        self._start = self._last = time.monotonic()

    def count(self) -> None:
        self._iterations += 1

    def speed(self) -> dict[str, float]:
        """Real images a second since the last call, and seconds since the start."""
        now = time.monotonic()
        rate = self._iterations * self._images / max(now - self._last, 1e-9)
        self._iterations, self._last = 0, now
        return {"images_per_second": round(rate, 1), "seconds": round(now - self._start, 1)}


def _status(line: dict[str, float], shown: dict[str, str]) -> str:
    named = {**shown, "images_per_second": "img/s"}
    return "  ".join(f"{text} {line[name]:.3g}" for name, text in named.items() if name in line)
