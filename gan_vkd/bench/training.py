"""The speed of a GAN iteration: in total, by parts, and its waits for the host."""

from collections.abc import Callable
from pathlib import Path

import torch

from gan_vkd.bench.measure import Timing, interleaved, peak_bytes, timed
from gan_vkd.bench.operations import device_rate, multiplications_of, operations_of
from gan_vkd.bench.table import machine, markdown
from gan_vkd.config.core import Recipe
from gan_vkd.data.images import ImageSet, to_float
from gan_vkd.data.subsets import TrainingData
from gan_vkd.device import resolve_precision
from gan_vkd.distill.teachers import load_teacher
from gan_vkd.distill.view import TeacherView
from gan_vkd.engine.draws import to_device
from gan_vkd.engine.replay import CALLS_BEFORE, Replay
from gan_vkd.gan.ema import update_average
from gan_vkd.gan.networks.biggan import at_least_fp32
from gan_vkd.gan.steps import Real, generator_loss
from gan_vkd.gan.task import GanTask
from gan_vkd.progress import QUIET, Reporter

IMAGES, CLASSES = 500, 100  # noise: any images cost the same
PERIOD = 8  # iterations after which everything that comes every few steps has come round
FLOAT = {"fp32": torch.float32, "bf16": torch.bfloat16}


def bench_training(
    recipe: Recipe,
    batches: list[int],
    *,
    rounds: int,
    device: torch.device,
    profile: Path | None,
    reporter: Reporter,
) -> str:
    """An iteration without and with the teacher, at each batch size, in turns.

    Args:
        recipe: of the runs; its data set is left aside, its teacher taken.
        batches: images a step.
        rounds: calls of each.
        device: where.
        profile: where a trace of torch's profiler goes (chrome://tracing), or None.
        reporter: shows a bar.

    Returns:
        Two Markdown tables with what they stand for.
    """
    precision = resolve_precision(recipe.training.precision, device)
    rate = device_rate(device, FLOAT[precision], timed)
    rows, parts = [], []
    for batch in batches:
        tasks = {"no teacher": make_task(recipe, batch, precision, device, taught=False)}
        if recipe.teacher.spec != "none":
            tasks[recipe.teacher.spec] = make_task(recipe, batch, precision, device, taught=True)
        rows += _whole(tasks, rate, rounds, device, reporter)
        parts += _parts(tasks, rounds, device, reporter)
    if profile is not None:
        _trace(list(tasks.values())[-1], profile, device)
    first = ["batch", "teacher", "ms an iteration", "images/s", "s / 1,000", "x no teacher"]
    first += ["TFLOP/s", "of the device's", "peak GiB", "operations", "waits"]
    second = ["part", "batch", "teacher", "ms", "share"]
    return (
        f"{markdown(first, rows)}\n\n{markdown(second, parts)}\n\n"
        f"{_legend(recipe, precision, rate, rounds, device)}"
    )


def _legend(recipe: Recipe, precision: str, rate: float, rounds: int, device: torch.device) -> str:
    training = recipe.training
    compiled = ", compiled" if training.compile else ""
    return (
        f"{recipe.data.image_size} pixels, channels {recipe.gan.channels}, {training.d_steps} "
        f"steps of D and one of G, {precision}{compiled}, {rounds} rounds, {machine(device)}. "
        f"An iteration is the mean of {PERIOD}; ms: median ± half the quartiles' distance. "
        "images/s counts the real images that D sees. The device's rate, by a large product of "
        f"matrices in {precision}: {rate / 1e12:.3g} TFLOP/s. Operations and waits (questions "
        "that a GPU's host waits for) are those that Python asks for in an iteration; a replayed "
        "iteration asks for its inputs and one graph. Parts are timed alone, and shares are of "
        "their sum."
    )


def make_task(
    recipe: Recipe, batch: int, precision: str, device: torch.device, taught: bool
) -> GanTask:
    """A run of noise, ready to iterate.

    Args:
        recipe: of the run; its data set is left aside.
        batch: images a step.
        precision: `fp32` or `bf16`.
        device: where.
        taught: whether the recipe's teacher takes part.
    """
    size, numbers = recipe.data.image_size, torch.Generator().manual_seed(0)
    images = torch.randint(256, (IMAGES, 3, size, size), dtype=torch.uint8, generator=numbers)
    names = tuple(map(str, range(CLASSES)))
    noise = ImageSet(images, torch.arange(IMAGES) % CLASSES, names).to(device)
    training = recipe.training.model_copy(update={"batch_size": batch, "precision": precision})
    recipe = recipe.model_copy(update={"training": training})
    view = None
    if taught:
        spec, weights = recipe.teacher, recipe.teacher.weights
        teacher = load_teacher(spec.spec, spec.image_size, weights and Path(weights))
        view = TeacherView(teacher.to(device), noise, device, spec.precision)
    task = GanTask(recipe, TrainingData(noise, None, "none"), view, device)
    task.prepare(QUIET)
    return task


def in_turns(
    tasks: dict[str, GanTask],
    baseline: str,
    first: int,
    rounds: int,
    device: torch.device,
    reporter: Reporter,
) -> dict[str, Timing]:
    """`PERIOD` iterations of each run, from iteration `first` on, in turns, after a warm-up."""

    def period(task: GanTask) -> Callable[[], None]:
        def call() -> None:
            for iteration in range(first, first + PERIOD):
                task.iterate(iteration)

        return call

    calls = {name: period(task) for name, task in tasks.items()}
    with reporter.bar("Iterations", rounds * len(calls)) as bar:
        for name, call in calls.items():  # features of all images, and graphs where there are any
            bar.advance(0, f"{name}: warming up")
            for _ in range(CALLS_BEFORE if tasks[name].replay.enabled else 0):
                call()
        return interleaved(
            calls, baseline, rounds=rounds, patience=float("inf"), device=device, bar=bar
        )


def _whole(
    tasks: dict[str, GanTask], rate: float, rounds: int, device: torch.device, reporter: Reporter
) -> list[list[str]]:
    timings = in_turns(tasks, "no teacher", 0, rounds, device, reporter)
    rows = []
    for name, timing in timings.items():
        task, seconds = tasks[name], timing.median / PERIOD
        asked = operations_of(lambda task=task: task.iterate(1))
        done = multiplications_of(lambda task=task: _plain(task, 0)) / seconds
        rows.append(
            [
                str(task.recipe.training.batch_size),
                name,
                f"{seconds * 1e3:.4g} ± {timing.spread / PERIOD * 1e3:.2g}",
                f"{task.images_per_iteration / seconds:.4g}",
                f"{1_000 * seconds / task.images_per_iteration:.3g}",
                f"{timing.ratio:.2f}",
                f"{done / 1e12:.3g}",
                f"{done / rate:.0%}",
                f"{peak_bytes(lambda task=task: task.iterate(0), device) / 2**30:.2f}",
                str(asked.total),
                str(asked.waits),
            ]
        )
    return rows


def _plain(task: GanTask, iteration: int) -> None:
    """An iteration, operation by operation."""
    drawn = task.draws.of_iteration(iteration)
    task._compute({**to_device(drawn, task.device), **task._shown(drawn)}, iteration, False)


def _parts(
    tasks: dict[str, GanTask], rounds: int, device: torch.device, reporter: Reporter
) -> list[list[str]]:
    rows = []
    for name, task in tasks.items():
        calls = _part_calls(task)
        with reporter.bar(f"Parts, {name}", rounds * len(calls)) as bar:
            timings = interleaved(
                {part: call for part, (call, _) in calls.items()},
                next(iter(calls)),
                rounds=rounds,
                patience=float("inf"),
                device=device,
                bar=bar,
            )
        spent = {part: timings[part].median * count for part, (_, count) in calls.items()}
        rows += [
            [
                part,
                str(task.recipe.training.batch_size),
                name,
                f"{seconds * 1e3:.3g}",
                f"{seconds / sum(spent.values()):.1%}",
            ]
            for part, seconds in spent.items()
        ]
    return rows


def _part_calls(task: GanTask) -> dict[str, tuple[Callable[[], object], float]]:
    """Name → (a call of the part, how often it comes an iteration)."""
    device, steps = task.device, task.recipe.training.d_steps
    drawn = task.draws.of_iteration(0)
    inputs = {**to_device(drawn, device), **task._shown(drawn)}
    of_d, of_g = task.draws.by_step(inputs)[0], task.draws.by_step(inputs)[-1]
    real = to_float(inputs["images"][0])
    labels = torch.cat([inputs["real labels"][0], of_d.labels])
    rivals = (Real(real, inputs["real labels"][0]),) if task.game.adversarial.paired else ()

    def moved() -> None:
        to_device(task.draws.of_iteration(0), device)
        task._shown(drawn)

    def drawing() -> torch.Tensor:
        with torch.no_grad(), task._autocast():
            return at_least_fp32(task.game.generator(of_d.latents, of_d.labels))

    def augmenting() -> torch.Tensor:
        return torch.cat([task.game.augment(real, of_d.real), task.game.augment(fake, of_d.fake)])

    def judging() -> None:
        for term in task.terms.values():
            term.begin(of_d, "d")
        with task._autocast():
            logits, h = task.game.discriminator(shown, labels)
            loss = sum(task.game.adversarial.discriminator(*logits.chunk(2)).values())
        (loss + 0 * h.sum()).backward()

    def pleasing() -> None:
        with task._autocast():
            loss, _ = generator_loss(task.game, of_g, *rivals)
        loss.backward()

    def averaging() -> None:
        update_average(task.average, task.generator, 0.999)

    fake = drawing()
    shown = augmenting()
    calls = {
        "D: forward, backward": (judging, steps),
        "images of G for D": (drawing, steps),
        "G: forward through D, backward": (pleasing, 1),
        "augmentation for D": (augmenting, steps),
        "D's Adam": (task.d_player.optimiser.step, steps),
        "G's Adam": (task.g_player.optimiser.step, 1),
        "average": (averaging, 1),
    }
    if task.view is not None and "vkd" in task.terms:
        distill, often = task.terms["vkd"], 1 / task.recipe.distill.generated_every
        h = torch.randn(len(fake), distill.loss.student_dim, device=device, requires_grad=True)
        z = task.game.teacher(fake)
        calls["teacher on generated images"] = (lambda: task.game.teacher(fake), steps * often)
        calls["projection, whitening, distance"] = (
            lambda: distill.loss(h, z).backward(),
            steps * (1 + often),
        )
    replayed = {
        part: (_replayed(call, task) if task.replay.enabled else call, count)
        for part, (call, count) in calls.items()
    }
    return {**replayed, "draws, and what is moved": (moved, 1)}


def _replayed(call: Callable[[], object], task: GanTask) -> Callable[[], object]:
    """As in a replayed iteration: without the host between the operations."""

    def compute(_: dict) -> dict:
        call()
        return {}

    replay = Replay(compute, task.device, enabled=True)
    for _ in range(CALLS_BEFORE + 1):
        replay(None, {})
    return lambda: replay(None, {})


def _trace(task: GanTask, path: Path, device: torch.device) -> None:
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        for iteration in range(2):
            task.iterate(iteration)
    profile.export_chrome_trace(str(path))
