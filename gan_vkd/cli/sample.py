"""gan-vkd sample."""

from pathlib import Path

import click

from gan_vkd.cli.plumbing import begin, device_option, newest, quiet_option
from gan_vkd.errors import GanVkdError
from gan_vkd.terminal import printable


@click.command()
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
    run = run or newest(quiet)
    picked, reporter = begin(device, quiet)
    from gan_vkd.gan import sampling
    from gan_vkd.gan.exported import load_generator
    from gan_vkd.paths import replacing

    generator = load_generator(run).to(picked)
    chosen = None if classes is None else _parse_classes(classes, generator.class_names)
    options = {"classes": chosen, "seed": seed, "truncation": truncation}
    if out is not None:
        sampling.write_images(generator, out, num or 64, reporter=reporter, **options)
        click.echo(printable(str(out)))
        return
    draw = sampling.interpolation_grid if interpolate else sampling.class_grid
    picture = draw(generator, columns=columns, **options)
    name = "walk" if interpolate else "grid"
    place = run / "samples" / f"{name}.png" if run.is_dir() else run.with_name(f"{name}.png")
    grid = grid or place
    with replacing(grid) as temporary:
        picture.save(temporary, "PNG")
    click.echo(printable(str(grid)))


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
