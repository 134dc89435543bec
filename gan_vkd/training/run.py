"""From a recipe to a trained run: load, print the plan, train."""

import contextlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gan_vkd import processes
from gan_vkd.config.core import Recipe
from gan_vkd.config.layers import dump
from gan_vkd.data.images import Dataset, ImageSet
from gan_vkd.data.record import FILE_NAME as RECORD_NAME
from gan_vkd.data.record import (
    Record,
    in_order_of,
    read_record,
    record_of,
    require_same,
    write_record,
)
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.device import resolve_precision
from gan_vkd.distill.teachers import load_teacher
from gan_vkd.distill.view import TeacherView
from gan_vkd.engine.health import device_explained, writing_explained
from gan_vkd.engine.loop import Outcome, train
from gan_vkd.engine.run_dir import RunDir, create_run_dir, write_config
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.exported import FILE_NAME as GENERATOR_NAME
from gan_vkd.gan.exported import load_generator
from gan_vkd.gan.task import GanTask
from gan_vkd.paths import replacing
from gan_vkd.progress import Reporter
from gan_vkd.terminal import printable
from gan_vkd.training.initial import read_initial, start_from
from gan_vkd.training.judge import make_judge
from gan_vkd.training.plan import plan, time_needed

SKIPPED_NAME = "skipped.txt"


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
        held.enter_context(device_explained(recipe.training.batch_size))
        if resume and not dry_run:
            processes.on_first(held.enter_context, RunDir(wanted).lock())
        # 1. Everything that can fail, before anything is written.
        with processes.failing_together():
            checkpoint = began = initial = None
            if resume:
                _refuse_moved(recipe, wanted)
                checkpoint = _newest_checkpoint(
                    RunDir(wanted), recipe.training.iterations, reporter
                )
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
            dataset = processes.in_turns(
                load_dataset,
                settings.dataset,
                image_size=settings.image_size,
                data_root=None if settings.data_root is None else Path(settings.data_root),
                skip_bad=settings.skip_bad,
                channels=settings.channels,
                reporter=reporter,
            )
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
            data = replace(data, train=_place(data.train, device))
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
        reporter.say(time_needed(GanTask(recipe, data, view, device), start))
        if dry_run:
            return Result(None, None)

        # 3. The state: a checkpoint's, or a new one.
        if checkpoint is not None:
            with processes.failing_together():
                _restore(task, checkpoint[1], wanted)
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
        with writing_explained(run):  # all that is read was read before
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
    write_record(run, record)
    if skipped:
        _list_skipped(run, skipped, reporter)


def _refuse_moved(recipe: Recipe, run: Path) -> None:
    """A run finds its data and weights by absolute paths, which may have moved meanwhile."""
    for field, place in (
        ("data.dataset", recipe.data.dataset),
        ("teacher.weights", recipe.teacher.weights),
        ("teacher.spec", recipe.teacher.spec.removeprefix("file:")),
    ):
        if place is not None and Path(place).is_absolute() and not Path(place).exists():
            raise GanVkdError(
                f"--resume: {place} is missing: put it back, or write its new place into "
                f"{run}/config.yaml ({field})"
            )


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


def _list_skipped(run: Path, skipped: tuple[str, ...], reporter: Reporter) -> None:
    with replacing(run / SKIPPED_NAME) as temporary:
        temporary.write_text("".join(f"{printable(line)}\n" for line in skipped), encoding="utf-8")
    reporter.say(f"{len(skipped):,} skipped files are listed in {SKIPPED_NAME}")


def _newest_checkpoint(
    run: RunDir, iterations: int, reporter: Reporter
) -> tuple[int, dict[str, torch.Tensor]] | None:
    found = run.checkpoints.load_newest()
    if found is None:
        return None
    iteration, state, damaged = found
    if iteration > iterations:
        raise GanVkdError(
            f"--iterations {iterations}: {run.path} is at iteration {iteration} already"
        )
    for line in damaged:
        reporter.say(f"{line}: going back to iteration {iteration:,}")
    return iteration, state


def _restore(task: GanTask, state: dict[str, torch.Tensor], run: Path) -> None:
    try:
        task.load_state_dict(state)
    except (RuntimeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise GanVkdError(
            f"--resume: the checkpoint does not fit {run}/config.yaml ({reason}): put the run's "
            "own config back"
        ) from None


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


def _place(images: ImageSet, device: torch.device) -> ImageSet:
    """On the device if the images take less than half of its free memory, else where they are."""
    if device.type == "cuda" and images.images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return images
    return images.to(device)
