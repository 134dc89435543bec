"""From a recipe to a trained run: load, print the plan, train."""

import contextlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gan_vkd import processes
from gan_vkd.config.core import Recipe
from gan_vkd.config.layers import dump
from gan_vkd.data.images import Dataset, placed
from gan_vkd.data.record import FILE_NAME as RECORD_NAME
from gan_vkd.data.record import Record, in_order_of, read_record, record_of, require_same
from gan_vkd.data.subsets import split_training
from gan_vkd.device import resolve_precision
from gan_vkd.distill.teachers import load_teacher
from gan_vkd.distill.view import TeacherView
from gan_vkd.engine.health import device_explained, writing_explained
from gan_vkd.engine.loop import Outcome, train
from gan_vkd.engine.resume import newest_checkpoint, restore
from gan_vkd.engine.run_dir import RunDir, create_run_dir, write_config
from gan_vkd.gan.exported import FILE_NAME as GENERATOR_NAME
from gan_vkd.gan.exported import load_generator
from gan_vkd.gan.task import GanTask
from gan_vkd.progress import Reporter
from gan_vkd.training.images import dataset_of, refuse_moved, write_down
from gan_vkd.training.initial import read_initial, start_from
from gan_vkd.training.judge import make_judge
from gan_vkd.training.plan import plan, try_out


@dataclass(frozen=True)
class Result:
    """Where a run is, and how training ended there (None after a dry run)."""

    run: Path | None
    outcome: Outcome | None


def run_training(
    recipe: Recipe,
    *,
    device: torch.device,
    wanted: Path | None,
    resume: bool,
    dry_run: bool,
    deadline: float,
    reporter: Reporter,
) -> Result:
    """Load everything that a recipe needs, print the plan, and train.

    The run's directory appears once everything has loaded.

    Args:
        recipe: of the run; a resumed run's own.
        device: where to train.
        wanted: the run's directory; None for the next number under runs/.
        resume: go on in `wanted`, which exists.
        dry_run: stop before training.
        deadline: on `time.monotonic`'s clock.
        reporter: told everything.

    Raises:
        GanVkdError: data, teacher or directory are not as they should be.
    """
    with contextlib.ExitStack() as held:
        held.enter_context(
            device_explained(recipe.training.batch_size, "gan.channels or --teacher-size")
        )
        if resume and not dry_run:
            processes.on_first(held.enter_context, RunDir(wanted).lock())
        # 1. Everything that can fail, before anything is written.
        with processes.failing_together():
            checkpoint = began = initial = None
            if resume:
                refuse_moved(recipe, wanted)
                checkpoint = newest_checkpoint(RunDir(wanted), recipe.training.iterations, reporter)
                began = _began_on(wanted, reporter)
            if checkpoint is None and recipe.training.init is not None:
                initial = read_initial(Path(recipe.training.init))
            settings, weights = recipe.data, recipe.teacher.weights
            teacher = processes.in_turns(
                load_teacher,
                recipe.teacher.spec,
                recipe.teacher.image_size,
                None if weights is None else Path(weights),
            )
            dataset = processes.in_turns(dataset_of, settings, reporter)
            if began is not None:
                dataset = in_order_of(dataset, began.class_names)
            recipe = _settled(recipe, dataset, device)
            seed = recipe.training.seed
            data = split_training(
                dataset, settings.subset, settings.subset_draw, seed, settings.validation
            )
            skipped = dataset.skipped
            del dataset  # what the split left out is not kept in memory
            if began is not None:
                require_same(f"--resume: {settings.dataset}", began, data.train)
            record = began if began is not None and began.sha256 else record_of(data.train)
            judge = None
            if not dry_run:
                judge = processes.in_turns(make_judge, recipe, data, device, reporter)
            data = replace(data, train=placed(data.train, device))
            view = None
            if teacher is not None:
                precision = recipe.teacher.precision
                view = TeacherView(teacher.to(device), data.train, device, precision)
            task = GanTask(recipe, data, view, device, judge=judge)
            started = None if initial is None else start_from(task, initial)
            start = 0 if checkpoint is None else checkpoint[0]
        alike = repr((dump(recipe), record, start))
        processes.require_same("settings, images or checkpoint", str, alike)

        # 2. What is about to happen, and how long it will take.
        for line in plan(task, start, wanted):
            reporter.say(line)
        if started is not None:
            reporter.say(started)
        try_out(GanTask(recipe, data, view, device), start, reporter)
        if dry_run:
            return Result(None, None)

        # 3. The state: a checkpoint's, or a new one.
        if checkpoint is not None:
            with processes.failing_together():
                restore(task, checkpoint[1], wanted)
            reporter.say(f"Continuing from iteration {start:,}")
        else:
            if resume:
                reporter.say("No checkpoint yet: starting at iteration 0")
            task.prepare(reporter)

        # 4. Train.
        path = wanted
        if not resume:
            made = processes.on_first(create_run_dir, run_name(recipe), dump(recipe), wanted)
            path = processes.told(made)
        run = RunDir(path)
        if not resume:
            processes.on_first(held.enter_context, run.lock())
        reporter.say(f"Results go to {run.path}")
        with writing_explained(run, "train"):  # all that is read was read before
            processes.on_first(_write_down, run.path, recipe, record, skipped, resume, reporter)
            outcome = train(task, run, start=start, deadline=deadline, reporter=reporter)
        return Result(run.path, outcome)


def _write_down(
    run: Path,
    recipe: Recipe,
    record: Record,
    skipped: tuple[str, ...],
    resume: bool,
    reporter: Reporter,
) -> None:
    """What is known of a run before it trains."""
    if resume:
        write_config(run, dump(recipe))  # the iterations may be others
    write_down(run, record, skipped, reporter)


def _began_on(run: Path, reporter: Reporter) -> Record | None:
    """The record of a run's training images; earlier versions have class names and counts only."""
    if (record := read_record(run)) is not None:
        return record
    reporter.say(
        f"This run is of an earlier version, or lacks its {RECORD_NAME}: whether the training "
        "images are the same cannot be checked"
    )
    if not (run / GENERATOR_NAME).is_file():
        return None
    generator = load_generator(run)
    return Record(generator.class_names, tuple(generator.class_counts.tolist()), None)


def _settled(recipe: Recipe, dataset: Dataset, device: torch.device) -> Recipe:
    """The recipe with the choices that wait for the data and the device made."""
    precision = resolve_precision(recipe.training.precision, device)
    data = {"flip": recipe.data.flip and dataset.flippable, "channels": dataset.train.channels}
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update=data),
            "training": recipe.training.model_copy(update={"precision": precision}),
        }
    )


def run_name(recipe: Recipe) -> str:
    """The name of a run directory, without its number."""
    dataset = re.sub(r"[^\w.-]+", "-", Path(recipe.data.dataset).stem) or "images"
    method = "biggan" if recipe.teacher.spec == "none" else recipe.distill.method
    return "-".join([dataset, f"{recipe.data.subset:g}", method, *recipe.terms])
