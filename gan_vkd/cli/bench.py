"""gan-vkd bench."""

import os
from pathlib import Path
from typing import Any

import click

from gan_vkd.cli.plumbing import begin, device_option, preset_option, quiet_option, set_option
from gan_vkd.config.layers import DEFAULT_PRESET, preset_layer, resolve, set_layer, with_layer


def rounds_option(default: int) -> Any:
    """--rounds, whose default depends on how long a measurement takes."""
    return click.option(
        "--rounds",
        type=click.IntRange(min=1),
        default=default,
        show_default=True,
        help="Measurements of each candidate.",
    )


patience_option = click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help="A candidate that takes more seconds than this is left out of later rounds.",
)


class Pair(click.ParamType):
    """`512x2048` → (512, 2048)."""

    name = "AxB"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        """The text as two counts."""
        parts = value.split("x")
        if len(parts) != 2 or not all(part.isdecimal() and int(part) > 1 for part in parts):
            self.fail(f"{value!r} is not a pair of sizes: write 512x2048")
        return int(parts[0]), int(parts[1])


@click.group()
def bench() -> None:
    """Measure speed and memory as ratios, side by side; print Markdown tables."""
    for name, level in (("KINETO_LOG_LEVEL", "99"), ("TORCH_CPP_LOG_LEVEL", "ERROR")):
        os.environ.setdefault(name, level)  # torch's profiler, which counts memory, is talkative


@bench.command("projection")
@click.option(
    "--size", "sizes", type=Pair(), multiple=True, help="Dimensions ds x dt; may be repeated."
)
@click.option(
    "--batch", type=click.IntRange(min=2), default=256, show_default=True, help="Batch size."
)
@rounds_option(7)
@patience_option
@device_option
@quiet_option
def projection(
    sizes: tuple, batch: int, rounds: int, patience: float, device: str, quiet: bool
) -> None:
    """Compare every projection, and torch's orthogonal parametrizations, with a linear layer."""
    picked, reporter = begin(device, quiet)
    from gan_vkd.bench.projection import SIZES, bench_projection

    table = bench_projection(
        sizes or SIZES,
        batch=batch,
        rounds=rounds,
        patience=patience,
        device=picked,
        reporter=reporter,
    )
    click.echo(table)


@bench.command("whitening")
@click.option(
    "--size", "sizes", type=Pair(), multiple=True, help="Batch size x dt; may be repeated."
)
@rounds_option(7)
@patience_option
@device_option
@quiet_option
def whitening(sizes: tuple, rounds: int, patience: float, device: str, quiet: bool) -> None:
    """Compare every normalisation of the targets with layer norm."""
    picked, reporter = begin(device, quiet)
    from gan_vkd.bench.whitening import SIZES, bench_whitening

    table = bench_whitening(
        sizes or SIZES, rounds=rounds, patience=patience, device=picked, reporter=reporter
    )
    click.echo(table)


@bench.command("overhead")
@click.option(
    "--teacher",
    type=click.Choice(["resnet50", "regnety_160"]),
    default="resnet50",
    show_default=True,
    help="The teacher network.",
)
@click.option(
    "--batch", type=click.IntRange(min=2), help="Images per step.  [1024 on a GPU, else 16]"
)
@rounds_option(3)
@device_option
@quiet_option
def overhead(teacher: str, batch: int | None, rounds: int, device: str, quiet: bool) -> None:
    """Time a DeiT-S step with each loss (Table 2 of the paper), and V_kD's share of it."""
    picked, reporter = begin(device, quiet)
    from gan_vkd.bench.overhead import bench_overhead

    table = bench_overhead(
        teacher=teacher,
        batch=batch or (1_024 if picked.type == "cuda" else 16),
        rounds=rounds,
        device=picked,
        reporter=reporter,
    )
    click.echo(table)


@bench.command("metrics")
@click.option(
    "--count",
    "counts",
    type=click.IntRange(min=10),
    multiple=True,
    help="Real, and generated, images; may be repeated.  [5000, 10000, 50000]",
)
@click.option(
    "--dim", type=click.IntRange(min=2), default=2_048, show_default=True, help="Feature dimension."
)
@rounds_option(1)
@device_option
@quiet_option
def metrics(counts: tuple, dim: int, rounds: int, device: str, quiet: bool) -> None:
    """Compare PRDC and the Fréchet distance with prdc and scipy."""
    picked, reporter = begin(device, quiet)
    from gan_vkd.bench.metrics import COUNTS, bench_metrics

    table = bench_metrics(
        counts or COUNTS, dim=dim, rounds=rounds, device=picked, reporter=reporter
    )
    click.echo(table)


@bench.command("train")
@preset_option
@set_option
@click.option(
    "--teacher",
    default="efficientnet-lite0",
    show_default=True,
    help="The teacher; none compares nothing.",
)
@click.option(
    "--with",
    "additions",
    multiple=True,
    metavar="NAME[:FIELD=VALUE,...]",
    help="Add a term to D's loss.",
)
@click.option(
    "--batch",
    "batches",
    type=click.IntRange(min=2),
    multiple=True,
    help="Images per step; may be repeated.  [the recipe's]",
)
@rounds_option(3)
@click.option(
    "--profile",
    type=click.Path(path_type=Path),
    help="Write a trace of torch's profiler to this file.",
)
@device_option
@quiet_option
def train(
    preset: str | None,
    assignments: tuple[str, ...],
    teacher: str,
    additions: tuple[str, ...],
    batches: tuple[int, ...],
    rounds: int,
    profile: Path | None,
    device: str,
    quiet: bool,
) -> None:
    """Time a GAN iteration with and without its teacher, its parts and its waits for the host."""
    picked, reporter = begin(device, quiet)
    preset = preset or DEFAULT_PRESET
    layers = [(f"--preset {preset}", preset_layer(preset)), ("--set", set_layer(assignments))]
    layers += [(f"--with {text}", with_layer(text)) for text in additions]
    recipe = resolve([*layers, ("--teacher", {"teacher": {"spec": teacher}})])

    from gan_vkd.bench.training import bench_training

    table = bench_training(
        recipe,
        list(batches) or [recipe.training.batch_size],
        rounds=rounds,
        device=picked,
        profile=profile,
        reporter=reporter,
    )
    click.echo(table)


@bench.command("methods")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@preset_option
@set_option
@click.option(
    "--teacher",
    default="efficientnet-lite0",
    show_default=True,
    help="The teacher of methods that distil.",
)
@click.option("--batch", type=click.IntRange(min=2), help="Images per step.  [the recipe's]")
@rounds_option(3)
@device_option
@quiet_option
def methods(
    names: tuple[str, ...],
    preset: str | None,
    assignments: tuple[str, ...],
    teacher: str,
    batch: int | None,
    rounds: int,
    device: str,
    quiet: bool,
) -> None:
    """Time a GAN iteration with each method of the field alone, beside one without.

    NAME is a term, a loss or a discriminator as gan-vkd methods lists it, ada or no-augment;
    default: all of them.
    """
    picked, reporter = begin(device, quiet)
    preset = preset or DEFAULT_PRESET
    layers = [(f"--preset {preset}", preset_layer(preset)), ("--set", set_layer(assignments))]
    layers.append(("--teacher none", {"teacher": {"spec": "none"}}))
    from gan_vkd.bench.methods import bench_methods, methods_beside

    known = methods_beside(resolve(layers), teacher)
    for name in names:
        if name not in known:
            raise click.UsageError(f"{name!r}: no such method; known: {', '.join(known)}")
    table = bench_methods(
        layers,
        names,
        teacher=teacher,
        batch=batch,
        rounds=rounds,
        device=picked,
        reporter=reporter,
    )
    click.echo(table)
