"""gan-vkd teacher."""

from pathlib import Path

import click

from gan_vkd.cli.plumbing import (
    begin,
    data_root_option,
    device_option,
    quiet_option,
    skip_bad_option,
    teacher_weights_option,
)
from gan_vkd.errors import GanVkdError
from gan_vkd.terminal import printable


@click.group()
def teacher() -> None:
    """List, inspect and train teachers, the frozen networks that D learns from."""


@teacher.command("list")
def list_teachers() -> None:
    """List the available teachers."""
    from gan_vkd.distill.teachers import KINDS

    for name, kind in KINDS.items():
        click.echo(f"{name:20} {kind.description}")
    click.echo(f"{'none':20} no teacher: plain BigGAN")


@teacher.command("describe")
@click.argument("spec")
@click.option(
    "--teacher-size", type=click.IntRange(16, 1024), help="Side of the teacher's input, pixels."
)
@teacher_weights_option
def describe_teacher(spec: str, teacher_size: int | None, teacher_weights: Path | None) -> None:
    """Load a teacher and print its features, input size and parameters."""
    from gan_vkd.distill.teachers import load_teacher, teacher_kind

    if spec == "none":
        raise GanVkdError("none is not a teacher: name one of gan-vkd teacher list")
    loaded = load_teacher(spec, teacher_size, teacher_weights)
    parameters = sum(p.numel() for p in loaded.parameters())
    click.echo(printable(f"{spec}: {teacher_kind(spec).description}"))
    click.echo(f"features   {loaded.dim}, {loaded.pooling}")
    click.echo(f"input      {loaded.image_size}x{loaded.image_size} pixels")
    click.echo(f"parameters {parameters / 1e6:.2f} M, frozen")


@teacher.command("fit")
@click.option("--dataset", required=True, help="Labelled images, as in gan-vkd train.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="File to write, .safetensors."
)
@click.option("--epochs", type=click.IntRange(min=1), default=20, help="Epochs.  [20]")
@click.option(
    "--image-size",
    type=click.Choice(["16", "32", "64"]),
    default="32",
    help="Side of the images, pixels.  [32]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Random seed.  [0]")
@data_root_option
@skip_bad_option
@device_option
@quiet_option
def fit_teacher(
    dataset: str,
    out: Path,
    epochs: int,
    image_size: str,
    seed: int,
    data_root: Path | None,
    skip_bad: bool,
    device: str,
    quiet: bool,
) -> None:
    """Train a small classifier on labelled images, for use as --teacher file:OUT."""
    if out.suffix != ".safetensors":
        raise click.UsageError(f"--out {out}: the name must end in .safetensors")
    if out.exists():
        raise GanVkdError(f"--out {out}: already exists: choose another name, or remove it")
    picked, reporter = begin(device, quiet)
    from gan_vkd.classification.fit import FitSettings, fit_file

    accuracy = fit_file(
        dataset,
        out,
        FitSettings(epochs=epochs, seed=seed),
        image_size=int(image_size),
        data_root=data_root,
        skip_bad=skip_bad,
        device=picked,
        reporter=reporter,
    )
    measured = "no held-out images" if accuracy is None else f"held-out top-1 {accuracy:.1%}"
    click.echo(printable(f"{out}: {measured}"))
