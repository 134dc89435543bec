"""gan-vkd train."""

import math
import shlex
import time
from pathlib import Path
from typing import Any

import click

from gan_vkd.cli.plumbing import (
    alike_elsewhere,
    begin,
    config_option,
    data_root_option,
    device_option,
    joined,
    newest,
    preset_option,
    quiet_option,
    require_new,
    run_options,
    set_option,
    skip_bad_option,
    stopped,
    teacher_weights_option,
)
from gan_vkd.config.layers import (
    DEFAULT_PRESET,
    continued,
    discriminator_layer,
    file_layer,
    preset_layer,
    resolve,
    set_layer,
    with_layer,
)
from gan_vkd.paths import expanded
from gan_vkd.terminal import printable

PATHS = (  # fields
    ("data", "data_root"),
    ("discriminator", "weights"),
    ("student", "weights"),  # of gan-vkd classify
    ("teacher", "weights"),
    ("training", "init"),
    ("vision-aided", "weights"),  # a term
)

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
@click.option("--dataset", help="digits, cifar10, cifar100, or a folder, archive, .npz or .npy.")
@click.option(
    "--subset", type=float, help="Fraction of the training images to use, 0 < F <= 1.  [1]"
)
@click.option("--size", type=int, help="Image side, pixels: a multiple of 16, up to 256.  [preset]")
@data_root_option
@skip_bad_option
@preset_option
@config_option
@set_option
@click.option("--teacher", help="A teacher of gan-vkd teacher list; none trains a plain BigGAN.")
@click.option("--teacher-size", type=int, help="Side of the teacher's input, pixels.")
@teacher_weights_option
@click.option(
    "--projection", help="orthogonal, orthogonal-exp, orthogonal-frozen, linear, svd or identity."
)
@click.option(
    "--normalise", help="Targets: whiten, whiten-iterative, whiten-dataset, layernorm or none."
)
@click.option(
    "--discriminator",
    metavar="NAME[:FIELD=VALUE,...]",
    help="Discriminator, from gan-vkd methods.  [biggan]",
)
@click.option("--loss", help="Adversarial loss, from gan-vkd methods.  [hinge]")
@click.option(
    "--with",
    "additions",
    multiple=True,
    metavar="NAME[:FIELD=VALUE,...]",
    help="Add a term of gan-vkd methods; may be repeated. --teacher adds vkd.",
)
@click.option("--augment", help="From color,translation,cutout (DiffAugment), ada, flip; or none.")
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    help="Start from the weights of this run or generator.safetensors.",
)
@click.option("--iterations", type=int, help="Total number of iterations.")
@run_options("runs/")
@device_option
@quiet_option
def train(
    preset: str | None,
    configs: tuple[Path, ...],
    assignments: tuple[str, ...],
    discriminator: str | None,
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

    Later settings override earlier ones: preset, --config, --set, --with, other flags. The run
    directory is printed on standard output, all other text on standard error.
    """
    began = time.monotonic()
    deadline = math.inf if time_limit is None else began + time_limit
    with joined() as settling_together:
        with settling_together:
            layers = []
            layers += [(f"--config {config}", file_layer(config)) for config in configs]
            layers.append(("--set", set_layer(assignments)))
            if discriminator is not None:
                where = f"--discriminator {discriminator}"
                layers.append((where, discriminator_layer(discriminator)))
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
                    if picked.type == "cpu" and not configs:
                        preset = "lab"
                        reporter.say("Preset         lab, the default without a GPU")
                recipe = resolve([(f"--preset {preset}", preset_layer(preset)), *layers])
                require_new(run_dir)

        from gan_vkd.device import compute_deterministically
        from gan_vkd.training.run import run_training

        training = recipe.training
        # Compiled, a CPU's threads add gradients of embeddings in any order.
        if training.deterministic or (training.compile and picked.type == "cpu"):
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
    outcome = result.outcome
    if not alike_elsewhere():
        click.echo(printable(str(result.run)))
    if outcome.reason == "done":
        reporter.say(
            f"Done: {outcome.iteration:,} iterations. Draw samples with gan-vkd sample "
            f"{shlex.quote(str(result.run))}"
        )
        return 0
    return stopped("train", result.run, outcome, reporter)


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
        if group == "terms" and isinstance(value, dict):
            return {name: absolute(field, name, own) for name, own in value.items()}
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
