"""From a recipe to a trained classifier: load, say what is about to happen, train, sum up."""

import contextlib
import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gan_vkd import processes
from gan_vkd.classification.students import SLOW, make_student, make_teacher
from gan_vkd.classification.task import RESULT_NAME, ClassificationTask
from gan_vkd.config.classification import ClassificationRecipe
from gan_vkd.config.layers import dump
from gan_vkd.data.images import Dataset, placed
from gan_vkd.data.record import read_record, record_of, require_same
from gan_vkd.data.subsets import TrainingData, split_training
from gan_vkd.device import resolve_precision
from gan_vkd.engine.health import device_explained, writing_explained
from gan_vkd.engine.loop import Outcome, train
from gan_vkd.engine.resume import newest_checkpoint, restore
from gan_vkd.engine.run_dir import RUNS, RunDir, create_run_dir, read_lines
from gan_vkd.errors import GanVkdError
from gan_vkd.paths import replacing
from gan_vkd.progress import Reporter
from gan_vkd.randomness import seed_for
from gan_vkd.training.images import dataset_of, refuse_moved, write_down
from gan_vkd.training.plan import try_out

CLASSIFIERS = RUNS / "classify"  # where numbered runs are
RATE, SLOW_RATE = 0.05, 0.01  # the benchmark's
DEIT_RATE = 5e-4 / 512  # an image of the batch


@dataclass(frozen=True)
class Classified:
    """Where a run is, how training ended (None after a dry run), and what came out (or None)."""

    run: Path | None
    outcome: Outcome | None
    result: dict | None


def run_classification(
    recipe: ClassificationRecipe,
    *,
    device: torch.device,
    wanted: Path | None,
    resume: bool,
    dry_run: bool,
    deadline: float,
    reporter: Reporter,
) -> Classified:
    """Load all a recipe needs, say what is about to happen, and train.

    The run's directory appears once everything has loaded.

    Args:
        recipe: of the run; a resumed run's own.
        device: where to train.
        wanted: the run's directory; None for the next number under runs/classify/.
        resume: go on in `wanted`, which exists.
        dry_run: stop before training.
        deadline: on `time.monotonic`'s clock.
        reporter: told everything.

    Raises:
        GanVkdError: data, student, teacher or directory are not as they should be.
    """
    with contextlib.ExitStack() as held:
        held.enter_context(
            device_explained(recipe.training.batch_size, "--student or --teacher-size")
        )
        if resume and not dry_run:
            processes.on_first(held.enter_context, RunDir(wanted).lock())
        # 1. Everything that can fail, before anything is written.
        settings = recipe.data
        with processes.failing_together():
            if resume:
                refuse_moved(recipe, wanted)
            dataset = processes.in_turns(dataset_of, settings, reporter)
            recipe = _settled(recipe, dataset, device)
            seed = recipe.training.seed
            data = split_training(
                dataset, settings.subset, settings.subset_draw, seed, settings.validation
            )
            skipped = dataset.skipped
            del dataset  # what the split left out is not kept in memory
            began = read_record(wanted) if resume else None
            if began is not None:
                require_same(f"--resume: {settings.dataset}", began, data.train)
            record = record_of(data.train)
            names = data.train.class_names
            if len(names) < 2:
                raise GanVkdError(
                    f"--dataset {settings.dataset}: one class, of which there is nothing to learn: "
                    "put each class's images into a folder of its own"
                )
            teacher = processes.in_turns(make_teacher, recipe.teacher, names)
            if teacher is not None:
                teacher.to(device, memory_format=torch.channels_last)
            data = _on_device(data, device)

            def make_task() -> ClassificationTask:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(seed_for(seed, "student"))
                    student = processes.in_turns(
                        make_student, recipe.student, names, settings.image_size
                    )
                return ClassificationTask(recipe, data, student, teacher, device)

            task = make_task()
            checkpoint = None
            if resume:
                checkpoint = newest_checkpoint(RunDir(wanted), task.schedule.iterations, reporter)
            start = 0 if checkpoint is None else checkpoint[0]
        alike = repr((dump(recipe), record, start))
        processes.require_same("settings, images or checkpoint", str, alike)

        # 2. What is about to happen, and how long it will take.
        for line in plan(task, start, wanted):
            reporter.say(line)
        if start < task.schedule.iterations:
            try_out(make_task(), start, reporter, faster="--config configs/classify/lab.yaml")
        if dry_run:
            return Classified(None, None, None)

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
            name = run_name(recipe)
            made = processes.on_first(create_run_dir, name, dump(recipe), wanted, CLASSIFIERS)
            path = processes.told(made)
        run = RunDir(path)
        if not resume:
            processes.on_first(held.enter_context, run.lock())
        reporter.say(f"Results go to {run.path}")
        with writing_explained(run, "classify"):
            processes.on_first(write_down, run.path, record, skipped, reporter)
            outcome = train(task, run, start=start, deadline=deadline, reporter=reporter)
            done = outcome.reason == "done"
            result = processes.on_first(_sum_up, task, run) if done else None
        return Classified(run.path, outcome, result)


def _settled(
    recipe: ClassificationRecipe, dataset: Dataset, device: torch.device
) -> ClassificationRecipe:
    """The recipe with the choices that wait for the data, the student and the device made."""
    training = recipe.training
    rate = training.lr
    if rate is None:
        rate = SLOW_RATE if recipe.student.name in SLOW else RATE
        if training.optimiser == "adamw":
            rate = DEIT_RATE * training.batch_size
    precision = resolve_precision(training.precision, device)
    flip = recipe.data.flip and dataset.flippable
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"flip": flip}),
            "training": training.model_copy(update={"lr": rate, "precision": precision}),
        }
    )


def _on_device(data: TrainingData, device: torch.device) -> TrainingData:
    """All images, where they fit: accuracy is measured every epoch."""
    held_out, validation = (
        None if images is None else placed(images, device)
        for images in (data.held_out, data.validation)
    )
    return replace(data, train=placed(data.train, device), held_out=held_out, validation=validation)


def plan(task: ClassificationTask, start: int, run: Path | None) -> list[str]:
    """What is about to happen, in lines for people; `run` None for a new numbered folder."""
    recipe, data, training = task.recipe, task.data, task.recipe.training
    counts, size = data.train.counts, recipe.data.image_size
    fewest, most = int(counts.min()), int(counts.max())
    a_class = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    held_out = "" if data.held_out is None else f"{len(data.held_out):,} images, "
    millions = sum(p.numel() for p in task.student.parameters()) / 1e6
    flips = "on" if recipe.data.flip else "off"
    settings = recipe.distill
    parts = [f"{settings.ce_weight:g} x cross-entropy"]
    if settings.kd_weight:
        parts.append(f"{settings.kd_weight:g} x KL (T = {settings.temperature:g})")
    if settings.weight:
        parts.append(f"{settings.weight:g} x {settings.method}")
    shared = f" over {processes.size()} processes" if processes.size() > 1 else ""
    how = f"SGD .9 {training.schedule}" if training.optimiser == "sgd" else "AdamW"
    return [
        f"Data           {recipe.data.dataset}, subset {recipe.data.subset:g}: "
        f"{len(data.train):,} images, {len(counts)} classes, {a_class} a class, {size}x{size}, "
        f"augmentation {recipe.data.augment}, flips {flips}",
        f"Held out       {held_out}{data.held_out_origin}",
        f"Student        {recipe.student.name}, {millions:.2f} M parameters, fed "
        f"{task.student.shape.image_size} pixels",
        f"Teacher        {recipe.teacher.spec}",
        f"Loss           {' + '.join(parts)}",
        f"Best epoch     chosen on {task.selected_on}",
        f"Schedule       iterations {start:,} to {task.schedule.iterations:,} "
        f"({training.epochs} epochs of {task.per_epoch:,}), batch {training.batch_size}{shared}, "
        f"{how}, rate {training.lr:g}, {training.precision}, on {task.device}",
        f"Results        {run or f'a new numbered folder under {CLASSIFIERS}/'}",
    ]


def run_name(recipe: ClassificationRecipe) -> str:
    """What follows the number in the name of a run's directory."""
    dataset = Path(recipe.data.dataset).stem
    parts = (dataset, f"{recipe.data.subset:g}", recipe.student.name, recipe.distill.method)
    return "-".join(re.sub(r"[^\w.+-]+", "-", part) or "images" for part in parts)


def _sum_up(task: ClassificationTask, run: RunDir) -> dict | None:
    """Write RUN/result.json: the last epoch, and the best with what it was chosen by."""
    points = read_lines(run.curve_path)
    if not points:
        return None
    best = min(points, key=lambda point: point.get("selection_error", math.inf))
    result = {
        "last": _figures(points[-1], task.per_epoch),
        "best": _figures(best, task.per_epoch) | {"selected_on": task.selected_on},
        "held_out": task.data.held_out_origin,
        "held_out_images": 0 if task.data.held_out is None else len(task.data.held_out),
    }
    with replacing(run.path / RESULT_NAME) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def _figures(point: dict, per_epoch: int) -> dict:
    names = ("top1", "top5", "cross_entropy", "validation_top1")
    known = {name: point[name] for name in names if name in point}
    return {"epoch": point["iteration"] / per_epoch, **known}
