"""The commands: parse, check, call one function each. Heavy imports wait until they are needed."""

import json
import math
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import click

from gan_vkd import __version__
from gan_vkd.config import (
    DEFAULT_PRESET,
    PRESETS,
    EvaluationSettings,
    continued,
    file_layer,
    preset_layer,
    resolve,
    set_layer,
)
from gan_vkd.errors import GanVkdError

REFERENCES = ("train", "test", "subset")


class OneLineErrors(click.Group):
    """A group whose errors are one line on standard error and exit code 2."""

    def main(self, *args: Any, **kwargs: Any) -> None:
        """Run a command and exit."""
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except click.Abort:
            click.echo("Aborted", err=True)
            sys.exit(130)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(2)
        except click.ClickException as error:
            _fail(error.format_message())
        except (GanVkdError, OSError) as error:
            _fail(str(error))
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    sys.exit(2)


class Duration(click.ParamType):
    """`90s`, `25m`, `2h`, `1h30m` → seconds."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The text as seconds."""
        match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", value.strip())
        if not value.strip() or not match:
            self.fail(f"{value!r} is no duration: write 90s, 25m or 1h30m")
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return float(hours * 3600 + minutes * 60 + seconds)


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gan-vkd")
def cli() -> None:
    """Train a BigGAN on few images with V_kD, sample from it, and measure it."""


def main() -> None:
    """The console script."""
    cli(prog_name="gan-vkd")


quiet_option = click.option("--quiet", is_flag=True, help="No progress and notices.")
device_option = click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
data_root_option = click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    help="Where cifar10 and cifar100 are looked for, and downloaded to.",
)
teacher_weights_option = click.option(
    "--teacher-weights",
    type=click.Path(path_type=Path),
    help="The teacher's weights: safetensors, or a PyTorch state dict.",
)
skip_bad_option = click.option("--skip-bad", is_flag=True, help="Leave unreadable images out.")


def _begin(device: str = "auto", quiet: bool = False) -> tuple[Any, Any]:
    """The device and the reporter of a command that computes."""
    import torch

    from gan_vkd.device import pick_device
    from gan_vkd.progress import Reporter

    torch.set_flush_denormal(True)  # denormals slow a CPU many times over
    return pick_device(device), Reporter(quiet)


@cli.command()
@click.option("--dataset", help="digits, cifar10, cifar100, or a folder or zip of images.")
@click.option("--subset", type=float, help="Share of the training images, 0 < F <= 1.")
@data_root_option
@skip_bad_option
@click.option(
    "--preset",
    type=click.Choice(PRESETS),
    help="Settings.  [cifar; lab where there is neither a GPU nor a --config]",
)
@click.option("--config", type=click.Path(path_type=Path), help="A YAML recipe over the preset.")
@click.option("--set", "assignments", multiple=True, metavar="GROUP.FIELD=VALUE", help="Any field.")
@click.option("--teacher", help="See gan-vkd teacher list; none for plain BigGAN.")
@click.option("--teacher-size", type=int, help="Pixels the teacher is fed.")
@teacher_weights_option
@click.option("--projection", help="orthogonal or linear.")
@click.option("--normalise", help="whiten, whiten-dataset, layernorm or none.")
@click.option("--augment", help="none, or some of color,translation,cutout.")
@click.option("--iterations", type=int, help="Iterations in all.")
@click.option("--seed", type=int, help="Of everything random.")
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
    layers += [("--set", set_layer(assignments)), ("the flags", _flag_layer(flags))]
    picked, reporter = _begin(device, quiet)
    if resume:
        if preset is not None:
            layers.insert(0, (f"--preset {preset}", preset_layer(preset)))
        run_dir = run_dir or _newest(quiet)
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

    from gan_vkd.training.run import run_training

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
    outcome, run = result.outcome, result.run
    click.echo(run)
    if outcome.reason == "done":
        reporter.say(f"Done: {outcome.iteration:,} iterations. gan-vkd sample {run}")
        return 0
    why = "Time is up" if outcome.reason == "time" else "Interrupted"
    reporter.say(
        f"{why}: saved at iteration {outcome.iteration:,}. "
        f"Go on with gan-vkd train --resume --run-dir {run}"
    )
    return 128 + outcome.signal if outcome.signal else 0


def _flag_layer(flags: dict[str, Any]) -> dict:
    """The flags that were given, as settings."""
    fields = {
        "dataset": ("data", "dataset"),
        "subset": ("data", "subset"),
        "data_root": ("data", "data_root"),
        "skip_bad": ("data", "skip_bad"),
        "augment": ("data", "augment"),
        "teacher": ("teacher", "spec"),
        "teacher_size": ("teacher", "image_size"),
        "teacher_weights": ("teacher", "weights"),
        "projection": ("distill", "projection"),
        "normalise": ("distill", "normalise"),
        "iterations": ("training", "iterations"),
        "seed": ("training", "seed"),
    }
    layer: dict = {}
    for flag, value in flags.items():
        if value is None or value is False:
            continue
        group, field = fields[flag]
        if isinstance(value, Path):
            value = str(value.absolute())  # the run may be resumed from elsewhere
        layer.setdefault(group, {})[field] = value
    return layer


def _newest(quiet: bool) -> Path:
    from gan_vkd.training.run_dir import newest_run

    run = newest_run()
    if not quiet:
        click.echo(f"The newest run: {run}", err=True)
    return run


@cli.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--grid", type=click.Path(path_type=Path), help="The grid's file (PNG).")
@click.option("--out", type=click.Path(path_type=Path), help="Write single images here instead.")
@click.option("--num", type=click.IntRange(min=1), help="Images in all, with --out.  [64]")
@click.option("--classes", help="Names or numbers, as in 3,7,apple; default all.")
@click.option("--columns", type=click.IntRange(1, 1000), default=10, help="Images a row.")
@click.option("--truncation", type=click.FloatRange(min=0, min_open=True), help="Such as 0.8.")
@click.option("--interpolate", is_flag=True, help="Each row walks from one latent to another.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the latents.")
@device_option
@quiet_option
def sample(
    run: Path | None,
    grid: Path | None,
    out: Path | None,
    num: int | None,
    classes: str | None,
    columns: int,
    truncation: float | None,
    interpolate: bool,
    seed: int,
    device: str,
    quiet: bool,
) -> None:
    """Draw images: a grid with a row a class, or single images with --out.

    RUN is a run directory or a generator.safetensors; default the newest run.
    """
    for flag, given in (("--grid", grid), ("--interpolate", interpolate)):
        if out is not None and given:
            raise click.UsageError(f"{flag} and --out exclude each other: drop one")
    if num is not None and out is None:
        raise click.UsageError("--num goes with --out; for a grid use --columns")
    run = run or _newest(quiet)
    picked, reporter = _begin(device, quiet)
    from gan_vkd import sampling
    from gan_vkd.gan.exported import load_generator

    generator = load_generator(run).to(picked)
    chosen = None if classes is None else _parse_classes(classes, generator.class_names)
    options = {"classes": chosen, "seed": seed, "truncation": truncation}
    if out is not None:
        sampling.write_images(generator, out, num or 64, reporter=reporter, **options)
        click.echo(out)
        return
    draw = sampling.interpolation_grid if interpolate else sampling.class_grid
    picture = draw(generator, columns=columns, **options)
    name = "walk" if interpolate else "grid"
    place = run / "samples" / f"{name}.png" if run.is_dir() else run.with_name(f"{name}.png")
    grid = grid or place
    grid.parent.mkdir(parents=True, exist_ok=True)
    picture.save(grid, "PNG")
    click.echo(grid)


def _parse_classes(text: str, names: tuple[str, ...]) -> list[int]:
    number = {name: label for label, name in enumerate(names)}
    chosen = []
    for part in text.split(","):
        part = part.strip()
        label = number.get(part, int(part) if part.isdecimal() else -1)
        if not 0 <= label < len(names):
            raise GanVkdError(
                f"--classes {part}: this generator has {len(names)} classes, "
                f"0 ({names[0]}) to {len(names) - 1} ({names[-1]})"
            )
        chosen.append(label)
    return chosen


@cli.command("eval")
@click.argument("target", required=False, type=click.Path(path_type=Path))
@click.option("--reference", help="train, test or subset of the run's data; or SPEC[:train|test].")
@click.option("--num", type=click.IntRange(min=2), help="Images judged.  [5000]")
@click.option("--nearest-k", type=click.IntRange(min=1), help="k of PRDC.  [5]")
@click.option("--json", "json_file", help="Write the figures here too; - for standard output.")
@click.option(
    "--extractor", type=click.Choice(["inception", "bundled-1"]), help="Default: at hand."
)
@click.option("--inception-weights", type=click.Path(path_type=Path), help="torch-fidelity's file.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the latents.")
@data_root_option
@device_option
@quiet_option
def evaluate(
    target: Path | None,
    reference: str | None,
    num: int | None,
    nearest_k: int | None,
    json_file: str | None,
    extractor: str | None,
    inception_weights: Path | None,
    seed: int,
    data_root: Path | None,
    device: str,
    quiet: bool,
) -> None:
    """FID, IS, KID, precision, recall, density and coverage of a run, or of a folder of images.

    TARGET is a run directory (default the newest), or a folder or zip of images.
    """
    target = target or _newest(quiet)
    picked, reporter = _begin(device, quiet)
    from rich.console import Console

    from gan_vkd.evaluation import judged
    from gan_vkd.evaluation.features import load_extractor
    from gan_vkd.evaluation.report import metrics_table
    from gan_vkd.paths import replacing

    given = {"num": num, "nearest_k": nearest_k}
    given = {name: value for name, value in given.items() if value is not None}
    loaded = load_extractor(extractor, inception_weights, picked)
    if judged.is_run(target):
        result = judged.judge_run(
            target,
            reference=reference,
            overrides=given,
            seed=seed,
            data_root=data_root,
            extractor=loaded,
            device=picked,
            reporter=reporter,
        )
    else:
        result = judged.judge_images(
            target,
            reference=reference,
            settings=EvaluationSettings(**given),
            data_root=data_root,
            extractor=loaded,
            reporter=reporter,
        )
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    places = [judged.result_path(target, result)] if judged.is_run(target) else []
    if json_file not in (None, "-"):
        places.append(Path(json_file))
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as temporary:
            temporary.write_text(text)
        reporter.say(f"Written to {place}")
    if json_file == "-":
        click.echo(text, nl=False)
    Console(stderr=json_file == "-", quiet=quiet and json_file == "-").print(metrics_table(result))


@cli.group()
def data() -> None:
    """Data sets."""


@data.command("describe")
@click.argument("spec")
@data_root_option
@skip_bad_option
@quiet_option
def describe_data(spec: str, data_root: Path | None, skip_bad: bool, quiet: bool) -> None:
    """What a data set holds, before anything is trained."""
    _, reporter = _begin(quiet=quiet)
    from gan_vkd.data.sources import describe, load_dataset

    dataset = load_dataset(
        spec, image_size=32, data_root=data_root, skip_bad=skip_bad, reporter=reporter
    )
    for line in describe(dataset):
        click.echo(line)


@cli.group()
def teacher() -> None:
    """Teachers: the frozen networks that the discriminator learns from."""


@teacher.command("list")
def list_teachers() -> None:
    """The teachers there are."""
    from gan_vkd.distill.teachers import KINDS

    for name, kind in KINDS.items():
        click.echo(f"{name:20} {kind.description}")
    click.echo(f"{'none':20} no teacher: plain BigGAN")


@teacher.command("describe")
@click.argument("spec")
@click.option("--teacher-size", type=click.IntRange(16, 1024), help="Pixels it is fed.")
@teacher_weights_option
def describe_teacher(spec: str, teacher_size: int | None, teacher_weights: Path | None) -> None:
    """Load a teacher and say what it is."""
    from gan_vkd.distill.teachers import load_teacher, teacher_kind

    if spec == "none":
        raise GanVkdError("teacher none: there is nothing to describe")
    loaded = load_teacher(spec, teacher_size, teacher_weights)
    parameters = sum(p.numel() for p in loaded.parameters())
    click.echo(f"{spec}: {teacher_kind(spec).description}")
    click.echo(f"features   {loaded.dim}, {loaded.pooling}")
    click.echo(f"input      {loaded.image_size}x{loaded.image_size} pixels")
    click.echo(f"parameters {parameters / 1e6:.2f} M, frozen")


@teacher.command("fit")
@click.option("--dataset", required=True, help="Labelled images: as for train.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A .safetensors file.")
@click.option("--epochs", type=click.IntRange(min=1), default=20)
@click.option("--image-size", type=click.Choice(["16", "32", "64"]), default="32")
@click.option("--seed", type=click.IntRange(min=0), default=0)
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
    """Train a small classifier on labelled images; use it with --teacher file:OUT."""
    if out.suffix != ".safetensors":
        raise click.UsageError(f"--out {out}: the name must end in .safetensors")
    if out.exists():
        raise GanVkdError(f"--out {out}: exists: choose another name, or remove it")
    picked, reporter = _begin(device, quiet)
    from gan_vkd.classification.fit import fit_file

    accuracy = fit_file(
        dataset,
        out,
        epochs=epochs,
        image_size=int(image_size),
        seed=seed,
        data_root=data_root,
        skip_bad=skip_bad,
        device=picked,
        reporter=reporter,
    )
    measured = "no held-out images" if accuracy is None else f"held-out top-1 {accuracy:.1%}"
    click.echo(f"{out}: {measured}")
