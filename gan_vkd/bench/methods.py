"""An iteration with each method of the field, beside the same iteration without it."""

import torch

from gan_vkd.bench.operations import operations_of
from gan_vkd.bench.table import machine, markdown
from gan_vkd.bench.training import PERIOD, in_turns, make_task
from gan_vkd.config.core import Recipe
from gan_vkd.config.layers import resolve, with_layer
from gan_vkd.config.registry import DISCRIMINATORS, DISTILLATIONS, LOSSES, TERMS
from gan_vkd.device import resolve_precision
from gan_vkd.progress import Reporter

PLAIN = "none"
LATE = 10**6  # an iteration at which every method has begun


def methods_beside(recipe: Recipe, teacher: str) -> dict[str, tuple[str, dict]]:
    """Name → its flags, and what they set in the recipe, of methods that the recipe is without."""
    found: dict[str, tuple[str, dict]] = {
        "no-augment": ("--augment none", {"data": {"augment": "none"}}),
        "ada": ("--augment ada", {"data": {"augment": "ada"}}),
    }
    for name in LOSSES:
        found[name] = (f"--loss {name}", {"gan": {"loss": name}})
    for name in DISCRIMINATORS:
        found[name] = (f"--discriminator {name}", {"discriminator": {"kind": name}})
    for name in TERMS:
        found[name] = (f"--with {name}", with_layer(name))
    for name in DISTILLATIONS:
        taught = {**with_layer(name), "teacher": {"spec": teacher}}
        found[name] = (f"--with {name} --teacher {teacher}", taught)
    for already in (recipe.gan.loss, recipe.discriminator.kind, "adaptive"):
        del found[already]  # adaptive comes with ada
    return found


def bench_methods(
    layers: list[tuple[str, dict]],
    names: tuple[str, ...],
    *,
    teacher: str,
    batch: int | None,
    rounds: int,
    device: torch.device,
    reporter: Reporter,
) -> str:
    """An iteration of noise with each method alone, in turns.

    Args:
        layers: of the recipe that methods are added to, without a teacher.
        names: the methods, of `methods_beside`; all where there are none.
        teacher: of those that distil.
        batch: images a step; the recipe's where it is None.
        rounds: calls of each.
        device: where.
        reporter: shows a bar.

    Returns:
        A Markdown table with what it stands for.

    Raises:
        GanVkdError: methods that the recipe refuses.
    """
    recipe = resolve(layers)
    precision = resolve_precision(recipe.training.precision, device)
    batch = batch or recipe.training.batch_size
    known = methods_beside(recipe, teacher)
    chosen = {PLAIN: ("", {})} | {name: known[name] for name in names or known}
    tasks = {}
    for name, (flags, sets) in chosen.items():
        reporter.say(f"Preparing {flags or 'the recipe without methods'}")
        own = resolve([*layers, (flags, sets)])
        tasks[name] = make_task(own, batch, precision, device, own.teacher.spec != "none")
    timings = in_turns(tasks, PLAIN, LATE, rounds, device, reporter)
    rows = []
    for name, timing in timings.items():
        asked = operations_of(lambda task=tasks[name]: task.iterate(LATE + 1))
        cost = f"{1e3 * timing.median / PERIOD:.4g} ± {1e3 * timing.spread / PERIOD:.2g}"
        rows.append([chosen[name][0] or "-", cost, f"{timing.ratio:.2f}", str(asked.total)])
    training = recipe.training
    return (
        f"{markdown(['method', 'ms an iteration', 'x without', 'operations'], rows)}\n\n"
        f"{recipe.data.image_size} pixels, channels {recipe.gan.channels}, batch {batch}, "
        f"{training.d_steps} steps of D and one of G, augmentation {recipe.data.augment}, "
        f"{precision}, {rounds} rounds in turns, {machine(device)}. An iteration is the mean of "
        f"{PERIOD}, from iteration {LATE:,} on. x without: median over rounds. Operations are "
        "those that Python asks torch for."
    )
