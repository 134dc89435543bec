"""The training loop: iterations, logs, pictures, checkpoints, and a good end; of any task."""

import json
import math
import os
import signal
import time
from dataclasses import dataclass
from types import FrameType
from typing import Literal, TextIO

from gan_vkd.engine.events import EventFile
from gan_vkd.engine.health import Health
from gan_vkd.engine.run_dir import RunDir
from gan_vkd.engine.task import Task
from gan_vkd.paths import replacing
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

    Args:
        task: its state is that after `start` iterations.
        run: where everything goes; under its lock.
        start: iterations already done.
        deadline: on `time.monotonic`'s clock; `math.inf` for none.
        reporter: told how it goes.

    Raises:
        GanVkdError: the numbers went wrong (see `Health`). The last checkpoint is from before that.
        OSError: the run can't be written; its checkpoints stay.
    """
    schedule = task.schedule
    log_lines, curve_lines = run.rewind(start)
    health = Health(run, log_lines, task.limits, task.remedy)
    ticks = _Ticker(task.images_per_iteration)
    with (
        Interruption() as interruption,
        EventFile(run.path, start) as board,
        run.log_path.open("a") as log,
        run.curve_path.open("a") as points,
        reporter.bar("Training", schedule.iterations, done=start) as bar,
    ):
        done = start
        curve = _Curve(task, run, points, board, curve_lines)
        curve.measure(start)  # where a signal came first
        while done < schedule.iterations:
            if interruption.signal or time.monotonic() >= deadline:
                break

            # 1. One iteration.
            logging = (done + 1) % schedule.log_every == 0
            checkpointing = (done + 1) % schedule.checkpoint_every == 0
            terms = task.iterate(done, measure=logging or checkpointing)
            done += 1
            ticks.count()
            health.check_finite(done, terms)

            # 2. The log, term by term, with what the task measures beside training.
            status = None
            if logging:
                line = {"iteration": done, **terms, **task.probe(), **ticks.speed()}
                health.check_line(line)
                log.write(json.dumps(line) + "\n")
                log.flush()
                board.add(done, line)
                status = _status(line, task.shown)
            bar.advance(status=status)

            # 3. Pictures, figures and checkpoints.
            if schedule.sample_every and done % schedule.sample_every == 0:
                _draw(task, run, done)
            if not interruption.signal:
                curve.measure(done)
            if checkpointing and done < schedule.iterations:
                os.fsync(points.fileno())
                os.fsync(log.fileno())
                _save(task, run, done, health)

        # 4. Whatever ended it, all is saved.
        os.fsync(points.fileno())
        os.fsync(log.fileno())
        _save(task, run, done, health)
        if done == schedule.iterations:
            return Outcome(done, "done")
        if interruption.signal:
            return Outcome(done, "signal", interruption.signal)
        return Outcome(done, "time")


def _draw(task: Task, run: RunDir, iteration: int) -> None:
    picture = task.picture(iteration)
    if picture is not None:
        run.samples.mkdir(exist_ok=True)
        with replacing(run.samples / f"{iteration:08d}.png") as temporary:
            picture.save(temporary, "PNG")


def _save(task: Task, run: RunDir, iteration: int, health: Health) -> None:
    state = task.state_dict()
    health.check_state(iteration, state)
    run.checkpoints.save(iteration, state)
    task.export(iteration, run.path / task.artefact)


class _Curve:
    """The task's figures every `eval_every` iterations, and the best state by its score.

    Args:
        task, run: as `train` has them.
        points: the curve's file.
        board: TensorBoard's.
        lines: of the file, up to now.
    """

    def __init__(
        self, task: Task, run: RunDir, points: TextIO, board: EventFile, lines: list[dict]
    ):
        self.task, self.run, self.points, self.board = task, run, points, board
        self._lines = lines

    def measure(self, iteration: int) -> None:
        """Measure, where it is time and was not done yet; keep the state if it is the best."""
        every = self.task.schedule.eval_every
        measured = max((line["iteration"] for line in self._lines), default=0)
        if not every or iteration % every or iteration <= measured:
            return
        point = self.task.point(iteration)
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
