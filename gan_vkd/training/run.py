"""From a recipe to a trained run: load, say what is about to happen, train."""

import contextlib
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from gan_vkd.config import Recipe
from gan_vkd.data.images import ImageSet
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import TrainingData, split_training
from gan_vkd.device import resolve_precision
from gan_vkd.distill.teachers import Teacher, load_teacher
from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.curves import Curve
from gan_vkd.evaluation.features import BUNDLED, load_extractor
from gan_vkd.progress import Reporter
from gan_vkd.training.health import device_explained, writing_explained
from gan_vkd.training.loop import Outcome, train
from gan_vkd.training.run_dir import RunDir, create_run_dir, write_config
from gan_vkd.training.trainer import TeacherView, Trainer

DAY = 86_400  # seconds


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
    """Load all a recipe needs, say what is about to happen, and train.

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
            held.enter_context(RunDir(wanted).lock())
        # 1. Everything that can fail, before anything is written.
        checkpoint = None
        if resume:
            _refuse_moved(recipe, wanted)
            checkpoint = _newest_checkpoint(RunDir(wanted), recipe.training.iterations, reporter)
        settings, weights = recipe.data, recipe.teacher.weights
        teacher = load_teacher(
            recipe.teacher.spec,
            recipe.teacher.image_size,
            None if weights is None else Path(weights),
        )
        dataset = load_dataset(
            settings.dataset,
            image_size=settings.image_size,
            data_root=None if settings.data_root is None else Path(settings.data_root),
            skip_bad=settings.skip_bad,
            reporter=reporter,
        )
        if dataset.skipped:
            reporter.say(f"Left out {dataset.skipped} unreadable images of {settings.dataset}")
        recipe = _settled(recipe, dataset.flippable, device)
        seed = recipe.training.seed
        data = split_training(
            dataset, settings.subset, settings.subset_draw, seed, settings.validation
        )
        curve_images = data.train if data.validation is None else data.validation
        data = TrainingData(
            _place(data.train, device),
            None if data.held_out is None else _place(data.held_out, device),
            data.held_out_origin,
            data.validation,
        )
        view = None
        if teacher is not None:
            view = TeacherView(teacher.to(device), data, device, recipe.training.precision)

        # 2. What is about to happen, and how long it will take.
        trainer = Trainer(recipe, data, view, device)
        start = 0 if checkpoint is None else checkpoint[0]
        for line in _plan(trainer, teacher, start, wanted):
            reporter.say(line)
        reporter.say(_time_needed(recipe, data, view, device, start))
        if dry_run:
            return Result(None, None)

        # 3. The state: a checkpoint's, or a new one.
        if checkpoint is not None:
            _restore(trainer, checkpoint[1], wanted)
            reporter.say(f"Going on from iteration {start:,}")
        else:
            if resume:
                reporter.say("No checkpoint yet: starting at iteration 0")
            if view is not None and recipe.distill.normalise == "whiten-dataset":
                rank = trainer.whitening_rank()
                whitening = view.fit_whitening(rank, recipe.data.flip, reporter)
                trainer = Trainer(recipe, data, view, device, whitening)

        curve = _make_curve(recipe, curve_images, data.validation is not None, device, reporter)

        # 4. Train.
        run = RunDir(wanted if resume else create_run_dir(recipe, wanted))
        if not resume:
            held.enter_context(run.lock())
        reporter.say(f"Results go to {run.path}")
        with writing_explained(run):  # all that is read was read before
            if resume:
                write_config(run.path, recipe)  # the iterations may be others
            outcome = train(
                trainer, run, start=start, deadline=deadline, reporter=reporter, curve=curve
            )
        return Result(run.path, outcome)


def _make_curve(
    recipe: Recipe,
    images: ImageSet,
    validating: bool,
    device: torch.device,
    reporter: Reporter,
) -> Curve | None:
    """By the bundled evaluator, which is always there and cheap; None where none is wanted."""
    training, nearest_k = recipe.training, recipe.evaluation.nearest_k
    if training.eval_every == 0:
        return None
    if min(training.eval_num, len(images)) < nearest_k + 2:
        reporter.say("Too few images for a curve of metrics while training")
        return None
    origin = "validation images" if validating else "training images"
    extractor = load_extractor(BUNDLED, None, device)
    return Curve(images, origin, training.eval_num, nearest_k, extractor, reporter)


def _refuse_moved(recipe: Recipe, run: Path) -> None:
    """A run finds its data and weights by absolute paths, which may have moved meanwhile."""
    for field, place in (
        ("data.dataset", recipe.data.dataset),
        ("teacher.weights", recipe.teacher.weights),
        ("teacher.spec", recipe.teacher.spec.removeprefix("file:")),
    ):
        if place is not None and Path(place).is_absolute() and not Path(place).exists():
            raise GanVkdError(
                f"--resume: {place} is gone: put it back, or write its new place into "
                f"{run}/config.yaml ({field})"
            )


def _newest_checkpoint(
    run: RunDir, iterations: int, reporter: Reporter
) -> tuple[int, dict[str, torch.Tensor]] | None:
    found = run.checkpoints.load_newest()
    if found is None:
        return None
    iteration, state, damaged = found
    if iteration > iterations:
        raise GanVkdError(f"--iterations {iterations}: {run.path} has {iteration} behind it")
    for line in damaged:
        reporter.say(f"{line}: going back to iteration {iteration:,}")
    return iteration, state


def _restore(trainer: Trainer, state: dict[str, torch.Tensor], run: Path) -> None:
    try:
        trainer.load_state_dict(state)
    except (RuntimeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise GanVkdError(
            f"--resume: the checkpoint does not fit {run}/config.yaml ({reason}): put the run's "
            "own config back"
        ) from None


def _settled(recipe: Recipe, flippable: bool, device: torch.device) -> Recipe:
    """The recipe with the choices that wait for the data and the device made."""
    precision = resolve_precision(recipe.training.precision, device)
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"flip": recipe.data.flip and flippable}),
            "training": recipe.training.model_copy(update={"precision": precision}),
        }
    )


def _place(images: ImageSet, device: torch.device) -> ImageSet:
    """On the device if the images take less than half of its free memory, else where they are."""
    if device.type == "cuda" and images.images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return images
    return images.to(device)


def _plan(trainer: Trainer, teacher: Teacher | None, start: int, run: Path | None) -> list[str]:
    recipe, data = trainer.recipe, trainer.data
    counts, size = data.train.counts, recipe.data.image_size
    fewest, most = int(counts.min()), int(counts.max())
    a_class = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    validation = data.validation
    kept = "" if validation is None else f", {len(validation):,} more to choose a checkpoint by"
    held_out = "" if data.held_out is None else f"{len(data.held_out):,} images, "
    schedule = recipe.training
    lines = [
        f"Data           {recipe.data.dataset}, subset {recipe.data.subset:g}: "
        f"{len(data.train):,} images, {len(counts)} classes, {a_class} a class, "
        f"{size}x{size}{kept}",
        f"Held out       {held_out}{data.held_out_origin}",
        f"Generator      {_millions(trainer.generator)} parameters",
        f"Discriminator  {_millions(trainer.discriminator)} parameters, "
        f"augmentation {recipe.data.augment}, flips {'on' if recipe.data.flip else 'off'}",
    ]
    if teacher is None:
        lines.append("Teacher        none: plain BigGAN, hinge loss")
    else:
        distill = recipe.distill
        lines += [
            f"Teacher        {teacher.spec}, {teacher.dim} features, "
            f"fed {teacher.image_size} pixels",
            f"Loss           hinge + {distill.weight:g} x {distill.distance} distance to "
            f"{distill.normalise} targets, {distill.projection} projection"
            + (", SHUFFLED as a control" if distill.shuffled else ""),
        ]
    return [
        *lines,
        f"Schedule       iterations {start:,} to {schedule.iterations:,}, each {schedule.d_steps} "
        f"steps of D and one of G, batch {schedule.batch_size}, {schedule.precision}, "
        f"on {trainer.device}",
        f"Results        {run or 'a new numbered folder under runs/'}",
    ]


def _millions(network: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M"


def _time_needed(
    recipe: Recipe,
    data: TrainingData,
    view: TeacherView | None,
    device: torch.device,
    start: int,
) -> str:
    """Time iterations on throw-away copies, once the teacher's features they need are known."""
    copies = Trainer(recipe, data, view, device)
    count = 1 if _seconds(copies, 1) > 5 else 4
    _seconds(copies, count)
    seconds = _seconds(copies, count) / count
    left = seconds * max(0, recipe.training.iterations - start)
    text = f"Time           about {_duration(left)} ({seconds:.3g} s an iteration)"
    if left > DAY and device.type == "cpu":
        text += "; without a GPU use --preset lab (an hour) or --preset tiny (minutes)"
    return text


def _seconds(trainer: Trainer, count: int) -> float:
    start = time.monotonic()
    for iteration in range(count):
        trainer.iterate(iteration)
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    return time.monotonic() - start


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    if seconds < 5_400:
        return f"{math.ceil(seconds / 60)} min"
    return f"{seconds / 3_600:.1f} hours" if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"
