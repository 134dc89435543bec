"""The plan that is printed before training, and the time that it takes."""

import math
import time
from pathlib import Path

import torch

from gan_vkd import processes
from gan_vkd.classification.task import ClassificationTask
from gan_vkd.engine.replay import CALLS_BEFORE
from gan_vkd.gan.sampling import MOST_ROWS
from gan_vkd.gan.task import GanTask
from gan_vkd.progress import Reporter

DAY = 86_400  # seconds
COMPILED = ", compiled (the first iteration takes a minute or more)"
FASTER = "--preset lab (an hour) or --preset tiny (minutes)"


def plan(task: GanTask, start: int, run: Path | None) -> list[str]:
    """The plan in lines; `run` is None for a new numbered folder."""
    recipe, data = task.recipe, task.data
    counts, size = data.train.counts, recipe.data.image_size
    fewest, most = int(counts.min()), int(counts.max())
    a_class = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    grey = ", grey" if data.train.channels == 1 else ""
    validation = data.validation
    kept = "" if validation is None else f", {len(validation):,} more to choose a checkpoint by"
    held_out = "" if data.held_out is None else f"{len(data.held_out):,} images, "
    schedule = recipe.training
    shared = f" over {processes.size()} processes" if processes.size() > 1 else ""
    lines = [
        f"Data           {recipe.data.dataset}, subset {recipe.data.subset:g}: "
        f"{len(data.train):,} images, {len(counts)} classes, {a_class} a class, "
        f"{size}x{size}{grey}{kept}",
        f"Held out       {held_out}{data.held_out_origin}",
        f"Generator      {_millions(task.generator)} parameters",
        f"Discriminator  {_millions(task.discriminator)} parameters{task.discriminator.summary}, "
        f"augmentation {recipe.data.augment}, flips {'on' if recipe.data.flip else 'off'}",
    ]
    if task.view is None:
        lines.append("Teacher        none: plain BigGAN")
    else:
        teacher = task.view.teacher
        lines.append(
            f"Teacher        {teacher.spec}, {teacher.dim} features, "
            f"fed {teacher.image_size} pixels"
        )
    terms = [f" + {term.summary()}" for term in task.terms.values()]
    lines.append(f"Loss           {recipe.gan.loss}{''.join(terms)}")
    if recipe.data.balance == "classes":
        lines.append("Balance        every class is drawn equally often")
    if len(counts) > MOST_ROWS:
        lines.append(f"Pictures       {MOST_ROWS} of {len(counts):,} classes, drawn at random")
    return [
        *lines,
        f"Schedule       iterations {start:,} to {schedule.iterations:,}, each {schedule.d_steps} "
        f"steps of D and one of G, batch {schedule.batch_size}{shared}, "
        f"{schedule.precision}, "
        f"on {task.device}{COMPILED if schedule.compile else ''}",
        f"Results        {run or 'a new numbered folder under runs/'}",
    ]


def _millions(network: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M"


def try_out(
    copies: GanTask | ClassificationTask, start: int, reporter: Reporter, faster: str = FASTER
) -> None:
    """Iterate before anything is written: what memory can't hold is found. Say how long it takes.

    Args:
        copies: of the task, thrown away; their state changes.
        start: iterations that are done.
        reporter: told the time; a quiet one needs no more than one iteration.
        faster: what to use without a GPU where it takes more than a day.
    """
    if processes.told(reporter.quiet):
        copies.iterate(0)
    else:
        reporter.say(_time_needed(copies, start, faster))


def _time_needed(copies: GanTask | ClassificationTask, start: int, faster: str) -> str:
    """Timed once the teacher's features that the iterations need are known."""
    replayed = copies.replay.enabled
    (first,) = processes.greatest(_seconds(copies, 1))
    count = 1 if first > 5 else 8 if replayed else 4
    for _ in range(CALLS_BEFORE + 1 if replayed else 1):
        _seconds(copies, count)
    seconds = _seconds(copies, count) / count
    left = seconds * max(0, copies.schedule.iterations - start)
    text = f"Time           about {_duration(left)} ({seconds:.3g} s an iteration)"
    if left > DAY and copies.device.type == "cpu":
        text += f"; without a GPU use {faster}"
    return text


def _seconds(task: GanTask | ClassificationTask, count: int) -> float:
    start = time.monotonic()
    for iteration in range(count):
        task.iterate(iteration)
    if task.device.type == "cuda":
        torch.cuda.synchronize(task.device)
    return time.monotonic() - start


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    if seconds < 5_400:
        return f"{math.ceil(seconds / 60)} min"
    return f"{seconds / 3_600:.1f} hours" if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"
