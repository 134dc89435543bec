"""gan-vkd sample."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gan_vkd.cli.plumbing import (
    begin,
    device_option,
    joined,
    newest,
    quiet_option,
    say_result,
)
from gan_vkd.errors import GanVkdError

if TYPE_CHECKING:
    import torch

    from gan_vkd.gan.exported import ExportedGenerator
    from gan_vkd.progress import Reporter


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--grid",
    type=click.Path(path_type=Path),
    help="File of the grid: .png, .jpg, ...  [RUN/samples/grid.png]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write single images to this folder, all images to this .npz or .npy, or a walk to this "
    ".gif.",
)
@click.option("--num", type=click.IntRange(min=1), help="Total number of images, with --out.  [64]")
@click.option("--classes", help='Class names or numbers, as in 3,7,apple,"a, b".  [all]')
@click.option("--columns", type=click.IntRange(1, 1000), help="Images per row.  [10; in walks 6]")
@click.option(
    "--truncation",
    type=click.FloatRange(min=0, min_open=True),
    help="Truncate the latents at this value, such as 0.8.  [none]",
)
@click.option(
    "--interpolate", is_flag=True, help="Show in each row the way from one latent to another."
)
@click.option(
    "--walk",
    type=click.Choice(["latents", "classes"]),
    help="Write a GIF that loops through latents, or through classes.",
)
@click.option(
    "--frames",
    type=click.IntRange(1, 1000),
    help="Frames of a walk from one latent or class to the next.  [12]",
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the latents.  [0]")
@click.option("--seeds", help="Draw one image per seed and class, as in 3,17.")
@click.option(
    "--latents",
    "latents_file",
    type=click.Path(path_type=Path),
    help="Draw one image per latent and class; a .npy or .npz of [N, z_dim].",
)
@device_option
@quiet_option
def sample(
    run: Path | None,
    grid: Path | None,
    out: Path | None,
    num: int | None,
    classes: str | None,
    columns: int | None,
    truncation: float | None,
    interpolate: bool,
    walk: str | None,
    frames: int | None,
    seed: int | None,
    seeds: str | None,
    latents_file: Path | None,
    device: str,
    quiet: bool,
) -> None:
    """Draw images: a grid with one row per class, single images with --out, or a walk with --walk.

    RUN is a run directory or a generator.safetensors (default: the newest run).
    """
    given = {"--grid": grid, "--interpolate": interpolate or None, "--columns": columns}
    given |= {"--seed": seed, "--num": num, "--truncation": truncation, "--seeds": seeds}
    given |= {"--latents": latents_file}
    given = [flag for flag, value in given.items() if value is not None]
    if walk is not None:
        _exclude("--walk", given, "--grid", "--interpolate", "--num", "--seeds", "--latents")
        if out is not None and out.suffix.lower() != ".gif":
            raise click.UsageError(f"--out {out}: a walk's name must end in .gif")
        if out is not None and out.exists():
            raise GanVkdError(f"--out {out}: already exists: choose a new name")
    elif frames is not None:
        raise click.UsageError("--frames needs --walk")
    elif out is not None:
        _exclude("--out", given, "--grid", "--interpolate", "--columns")
    for flag, value in (("--seeds", seeds), ("--latents", latents_file)):
        if value is not None:
            _exclude(flag, given, "--seed", "--num", "--columns", "--interpolate")
    if latents_file is not None:
        _exclude("--latents", given, "--seeds", "--truncation")
    if num is not None and out is None:
        raise click.UsageError("--num needs --out; for a grid use --columns")
    kind = _picture_format(grid)
    run = run or newest(quiet)
    with joined() as settling_together:
        with settling_together:
            picked, reporter = begin(device, quiet)
            from gan_vkd import processes
            from gan_vkd.gan.exported import load_generator
            from gan_vkd.gan.latents import latents_of_seeds, read_latents
            from gan_vkd.gan.sampling import write_images, write_latents

            generator = load_generator(run).to(picked)
            chosen = None if classes is None else _parse_classes(classes, generator)
            seed, z, z_dim = seed or 0, None, generator.network.shape["z_dim"]
            if seeds is not None:
                z = latents_of_seeds(_parse_seeds(seeds), z_dim, truncation)
            elif latents_file is not None:
                z = read_latents(latents_file, z_dim)
        options = {"classes": chosen, "seed": seed, "truncation": truncation}
        if walk is not None:
            place = out or _beside(run, "walk.gif")
            options |= {"columns": columns or 6, "frames": frames or 12}
            processes.on_first(_write_walk, generator, walk, place, options, reporter)
        elif out is not None:
            place = out
            if z is not None:
                write_latents(generator, out, z, classes=chosen, reporter=reporter)
            else:
                write_images(generator, out, num or 64, reporter=reporter, **options)
        else:
            place = grid or _beside(run, "walk.png" if interpolate else "grid.png")
            options |= {"columns": columns or 10}
            processes.on_first(
                _write_grid, generator, z, interpolate, (place, kind), options, reporter
            )
    say_result(place)


def _beside(run: Path, name: str) -> Path:
    """Where a picture goes by default: a run's samples, or a generator's folder."""
    return run / "samples" / name if run.is_dir() else run.with_name(name)


def _write_grid(
    generator: "ExportedGenerator",
    z: "torch.Tensor | None",
    interpolate: bool,
    place: tuple[Path, str],
    options: dict,
    reporter: "Reporter",
) -> None:
    """`place` is the file and its format; latents `z` go before seeds and columns."""
    from gan_vkd.gan import sampling
    from gan_vkd.paths import replacing

    shown = len(sampling.shown_classes(generator, options["seed"]))
    known = len(generator.class_names)
    if options["classes"] is None and shown < known:
        reporter.say(
            f"Showing {shown} of {known:,} classes, drawn by --seed; --classes chooses others"
        )
    if z is not None:
        picture = sampling.latent_grid(generator, z, classes=options["classes"])
    else:
        draw = sampling.interpolation_grid if interpolate else sampling.class_grid
        picture = draw(generator, **options)
    path, kind = place
    with replacing(path) as temporary:
        picture.save(temporary, kind, quality=95)


def _write_walk(
    generator: "ExportedGenerator", kind: str, out: Path, options: dict, reporter: "Reporter"
) -> None:
    from gan_vkd.gan.sampling import shown_classes
    from gan_vkd.gan.walks import MOST_CLASSES, STATIONS, class_walk, latent_walk, write_gif

    classes = options.pop("classes")
    if classes is None:
        classes = shown_classes(generator, options["seed"], MOST_CLASSES)
        if len(classes) < (known := len(generator.class_names)):
            reporter.say(f"Showing {len(classes)} of {known:,} classes, drawn by --seed")
    draw, legs = (latent_walk, STATIONS) if kind == "latents" else (class_walk, len(classes))
    frames = draw(generator, classes, **options)
    write_gif(frames, legs * options["frames"], out, reporter)


def _picture_format(place: Path | None) -> str:
    """The format that a picture's name asks for; PNG where it asks for none."""
    if place is None or not place.suffix:
        return "PNG"
    from PIL import Image

    Image.init()
    kind = Image.registered_extensions().get(place.suffix.lower())
    if kind not in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"):
        raise GanVkdError(
            f"--grid {place}: pictures cannot be written as {place.suffix}: use .png or .jpg"
        )
    return kind


def _parse_classes(text: str, generator: "ExportedGenerator") -> list[int]:
    """Names or numbers between commas; quoted ones may hold commas themselves."""
    try:
        parts = next(csv.reader([text], skipinitialspace=True), None) or [""]
        return generator.class_indices(part.strip() for part in parts)
    except csv.Error as error:
        raise GanVkdError(f"--classes {text}: {error}") from None
    except GanVkdError as error:
        raise GanVkdError(f"--{error}") from None


def _parse_seeds(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 20 for part in parts):
        raise GanVkdError(f"--seeds {text}: write whole numbers from 0 on, as in 3,17")
    return [int(part) for part in parts]


def _exclude(flag: str, given: list[str], *others: str) -> None:
    for other in others:
        if other in given:
            raise click.UsageError(f"{other} and {flag} exclude each other: drop one")
