"""gan-vkd train."""

import math
import os
import shlex
import time
from pathlib import Path
from typing import Any

import click

from gan_vkd.cli.plumbing import (
    Duration,
    begin,
    config_option,
    data_root_option,
    device_option,
    newest,
    preset_option,
    quiet_option,
    set_option,
    skip_bad_option,
    teacher_weights_option,
)
from gan_vkd.config.layers import (
    DEFAULT_PRESET,
    continued,
    file_layer,
    preset_layer,
    resolve,
    set_layer,
    with_layer,
)
from gan_vkd.errors import GanVkdError
from gan_vkd.paths import expanded
from gan_vkd.terminal import printable

PATHS = (("data", "data_root"), ("teacher", "weights"), ("training", "init"))  # fields
PATHS += (("student", "weights"),)  # of gan-vkd classify

FIELDS = {
    "dataset": ("data", "dataset"),
    "subset": ("data", "subset"),
    "size": ("data", "image_size"),
    "data_root": ("data", "data_root"),
    "skip_bad": ("data", "skip_bad"),
    "augment": ("data", "augment"),
    "loss": ("gan", "loss"),
    "teacher": ("teacher", "spec"),
    "teacher_size": ("teacher", "image_size"),
    "teacher_weights": ("teacher", "weights"),
    "projection": ("distill", "projection"),
    "normalise": ("distill", "normalise"),
    "iterations": ("training", "iterations"),
    "init": ("training", "init"),
    "seed": ("training", "seed"),
    "deterministic": ("training", "deterministic"),
}


@click.command()
@click.option("--dataset", help="digits, cifar10, cifar100, or a folder, zip or tar of images.")
@click.option("--subset", type=float, help="Share of the training images, 0 < F <= 1.")
@click.option("--size", type=int, help="Pixels of a side: a multiple of 16, to 256.  [preset's]")
@data_root_option
@skip_bad_option
@preset_option
@config_option
@set_option
@click.option("--teacher", help="See gan-vkd teacher list; none for plain BigGAN.")
@click.option("--teacher-size", type=int, help="Pixels the teacher is fed.")
@teacher_weights_option
@click.option("--projection", help="P; orthogonal-frozen, linear, ...: see the README.")
@click.option("--normalise", help="whiten, whiten-iterative, whiten-dataset, layernorm or none.")
@click.option("--loss", help="The adversarial loss: see gan-vkd methods.  [hinge]")
@click.option(
    "--with",
    "additions",
    multiple=True,
    metavar="NAME[:FIELD=VALUE,...]",
    help="A term of gan-vkd methods; may be repeated. vkd comes with --teacher by itself.",
)
@click.option("--augment", help="none, or some of color,translation,cutout.")
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    help="A run, or a generator.safetensors, whose weights training starts from.",
)
@click.option("--iterations", type=int, help="Iterations in all.")
@click.option("--seed", type=int, help="Of everything random.")
@click.option("--deterministic", is_flag=True, help="The same bits every time, on a GPU too.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Default: numbered, under runs/.")
@click.option("--resume", is_flag=True, help="Go on with --run-dir, or the newest run.")
@click.option("--time-limit", type=Duration(), help="Stop and save after, say, 25m.")
@click.option("--dry-run", is_flag=True, help="Say what would happen and how long it would take.")
@device_option
@quiet_option
def train(
    preset: str | None,
    config: Path | None,
    assignments: tuple[str, ...],
    additions: tuple[str, ...],
    run_dir: Path | None,
    resume: bool,
    time_limit: float | None,
    dry_run: bool,
    device: str,
    quiet: bool,
    **flags: Any,
) -> int:
    """Train a BigGAN whose discriminator learns from a teacher.

    Settings are laid over each other: preset, --config, --set, then the other flags. The run's
    directory is printed on standard output, everything else on standard error.
    """
    began = time.monotonic()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise GanVkdError("this version trains in one process: start it without torchrun")
    deadline = math.inf if time_limit is None else began + time_limit
    layers = []
    if config is not None:
        layers.append((f"--config {config}", file_layer(config)))
    layers.append(("--set", set_layer(assignments)))
    layers += [(f"--with {text}", with_layer(text)) for text in additions]
    layers.append(("the flags", flag_layer(flags, FIELDS)))
    layers = [(where, absolute_paths(layer)) for where, layer in layers]
    picked, reporter = begin(device, quiet)
    if resume:
        if preset is not None:
            layers.insert(0, (f"--preset {preset}", preset_layer(preset)))
        run_dir = run_dir or newest(quiet)
        recipe = continued(run_dir, layers)
    else:
        if preset is None:
            preset = DEFAULT_PRESET
            if picked.type == "cpu" and config is None:
                preset = "lab"
                reporter.say("Preset         lab, the default without a GPU")
        recipe = resolve([(f"--preset {preset}", preset_layer(preset)), *layers])
        if run_dir is not None and run_dir.exists():
            raise GanVkdError(
                f"--run-dir {run_dir}: exists: go on with --resume, or choose another name"
            )

    from gan_vkd.device import compute_deterministically
    from gan_vkd.training.run import run_training

    if recipe.training.deterministic:
        compute_deterministically()
    result = run_training(
        recipe,
        device=picked,
        wanted=run_dir,
        resume=resume,
        dry_run=dry_run,
        deadline=deadline,
        reporter=reporter,
    )
    if result.outcome is None:
        return 0
    outcome, run = result.outcome, shlex.quote(str(result.run))
    click.echo(printable(str(result.run)))
    if outcome.reason == "done":
        reporter.say(f"Done: {outcome.iteration:,} iterations. gan-vkd sample {run}")
        return 0
    why = "Time is up" if outcome.reason == "time" else "Interrupted"
    reporter.say(
        f"{why}: saved at iteration {outcome.iteration:,}. "
        f"Go on with gan-vkd train --resume --run-dir {run}"
    )
    return 128 + outcome.signal if outcome.signal else 0


def flag_layer(flags: dict[str, Any], fields: dict[str, tuple[str, str]]) -> dict:
    """The flags that were given, as settings; `fields` has the group and field of each."""
    layer: dict = {}
    for flag, value in flags.items():
        if value is None or value is False:
            continue
        group, field = fields[flag]
        if isinstance(value, Path):
            value = str(value)
        layer.setdefault(group, {})[field] = value
    return layer


def absolute_paths(layer: dict) -> dict:
    """The layer with absolute paths: the run may be resumed from elsewhere."""
    from gan_vkd.data.sources import NAMES

    def absolute(group: str, field: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        place = expanded(value)
        if (group, field) in PATHS:
            return str(place.absolute())
        if (group, field) == ("data", "dataset") and value not in NAMES and place.exists():
            return str(place.absolute())
        if (group, field) == ("teacher", "spec") and value.startswith("file:"):
            return f"file:{expanded(value.removeprefix('file:')).absolute()}"
        return value

    return {
        group: {field: absolute(group, field, value) for field, value in fields.items()}
        if isinstance(fields, dict)
        else fields
        for group, fields in layer.items()
    }
