"""The training loop: iterations, logs, sample grids, checkpoints, and a good end."""

import json
import math
import os
import signal
import time
from dataclasses import dataclass
from types import FrameType
from typing import Literal, TextIO

from gan_vkd.evaluation.curves import Curve
from gan_vkd.gan.exported import FILE_NAME, ExportedGenerator, export_generator, save_generator
from gan_vkd.paths import replacing
from gan_vkd.progress import Reporter
from gan_vkd.sampling import class_grid
from gan_vkd.training.events import EventFile
from gan_vkd.training.health import Health
from gan_vkd.training.run_dir import RunDir
from gan_vkd.training.trainer import Trainer


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
    """Catches the first SIGINT or SIGTERM, so that the step can end; a second one kills."""

    def __init__(self):
        self.signal = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal = number
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)


def train(
    trainer: Trainer,
    run: RunDir,
    *,
    start: int,
    deadline: float,
    reporter: Reporter,
    curve: Curve | None = None,
) -> Outcome:
    """Train until the recipe's iterations are done, the time is up, or a signal comes.

    Args:
        trainer: its state is that after `start` iterations.
        run: where everything goes; under its lock.
        start: iterations already done.
        deadline: on `time.monotonic`'s clock; `math.inf` for none.
        reporter: told how it goes.
        curve: measures samples every `training.eval_every` iterations. Where the run has
            validation images, the generator of the lowest FID is kept apart.

    Raises:
        GanVkdError: the numbers went wrong (see `Health`). The last checkpoint is from before that.
        OSError: the run can't be written; its checkpoints stay.
    """
    settings = trainer.recipe.training
    log_lines, curve_lines = run.rewind(start)
    health = Health(run, log_lines)
    ticks = _Ticker(settings.batch_size * settings.d_steps)
    with (
        Interruption() as interruption,
        EventFile(run.path, start) as board,
        run.log_path.open("a") as log,
        run.curve_path.open("a") as points,
        reporter.bar("Training", settings.iterations, done=start) as bar,
    ):
        done = start
        figures = _Figures(trainer, run, curve, points, board, curve_lines)
        figures.measure(start)  # where a signal came first
        while done < settings.iterations:
            if interruption.signal or time.monotonic() >= deadline:
                break

            # 1. One iteration: D's steps, G's step, the average.
            logging = (done + 1) % settings.log_every == 0
            checkpointing = (done + 1) % settings.checkpoint_every == 0
            terms = trainer.iterate(done, measure=logging or checkpointing)
            done += 1
            ticks.count()
            health.check_finite(done, terms)

            # 2. The log, term by term, with the overfitting that the method is about.
            status = None
            if logging:
                line = {"iteration": done, **terms, **trainer.probe(), **ticks.speed()}
                health.check_line(line)
                log.write(json.dumps(line) + "\n")
                log.flush()
                board.add(done, line)
                status = _status(line)
            bar.advance(status=status)

            # 3. Samples, figures and checkpoints, all from the averaged generator.
            if done % settings.sample_every == 0:
                grid = class_grid(_export(trainer, done), columns=8)
                run.samples.mkdir(exist_ok=True)
                with replacing(run.samples / f"{done:08d}.png") as temporary:
                    grid.save(temporary, "PNG")
            if not interruption.signal:
                figures.measure(done)
            if checkpointing and done < settings.iterations:
                os.fsync(points.fileno())
                os.fsync(log.fileno())
                _save(trainer, run, done, health)

        # 4. Whatever ended it, all is saved.
        os.fsync(points.fileno())
        os.fsync(log.fileno())
        _save(trainer, run, done, health)
        if done == settings.iterations:
            return Outcome(done, "done")
        if interruption.signal:
            return Outcome(done, "signal", interruption.signal)
        return Outcome(done, "time")


def _export(trainer: Trainer, iteration: int) -> ExportedGenerator:
    train = trainer.data.train
    card = {"dataset": trainer.recipe.data.dataset, "iteration": str(iteration)}
    return export_generator(trainer.average, train.class_names, train.counts, card)


def _save(trainer: Trainer, run: RunDir, iteration: int, health: Health) -> None:
    state = trainer.state_dict()
    health.check_state(iteration, state)
    run.checkpoints.save(iteration, state)
    save_generator(_export(trainer, iteration), run.path / FILE_NAME)


class _Figures:
    """Metrics of samples every `eval_every` iterations, and the generator of the lowest FID.

    Args:
        trainer, run: as `train` has them.
        curve: measures; None for nothing.
        points: the curve's file.
        board: TensorBoard's.
        lines: of the file, up to now.
    """

    def __init__(
        self,
        trainer: Trainer,
        run: RunDir,
        curve: Curve | None,
        points: TextIO,
        board: EventFile,
        lines: list[dict],
    ):
        self.trainer, self.run, self.curve = trainer, run, curve
        self.points, self.board = points, board
        self._measured = max((line["iteration"] for line in lines), default=0)
        known = [line["fid"] for line in lines if isinstance(line.get("fid"), float)]
        self._best = min(known, default=math.inf)

    def measure(self, iteration: int) -> None:
        """Measure, where it is time and was not done yet; keep the generator if it is the best."""
        curve, every = self.curve, self.trainer.recipe.training.eval_every
        if curve is None or iteration % every or iteration <= self._measured:
            return
        generator = _export(self.trainer, iteration)
        found = curve.measure(generator)
        self._measured = iteration
        self.points.write(json.dumps({"iteration": iteration, **curve.protocol, **found}) + "\n")
        self.points.flush()
        name = curve.extractor.name
        self.board.add(iteration, {f"{key}[{name}]": value for key, value in found.items()})
        if self.trainer.data.validation is not None and found["fid"] < self._best:
            self._best = found["fid"]
            generator.card["chosen"] = (
                f"lowest FID[{name}] of {curve.num} samples against "
                f"{curve.protocol['reference_count']} {curve.protocol['reference']}, judged every "
                f"{every} iterations"
            )
            save_generator(generator, self.run.best_path)


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


def _status(line: dict[str, float]) -> str:
    shown = {
        "d_real": "D real",
        "d_fake": "fake",
        "distill_real": "distill",
        "g": "G",
        "overfitting": "overfit",
        "images_per_second": "img/s",
    }
    return "  ".join(f"{text} {line[name]:.3g}" for name, text in shown.items() if name in line)
