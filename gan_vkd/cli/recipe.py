"""gan-vkd recipe and gan-vkd methods."""

from pathlib import Path

import click

from gan_vkd.cli.plumbing import config_option, preset_option, set_option
from gan_vkd.config.layers import DEFAULT_PRESET, file_layer, preset_layer, resolve, set_layer
from gan_vkd.config.registry import AUGMENTATIONS, DISCRIMINATORS, DISTILLATIONS, LOSSES, TERMS
from gan_vkd.terminal import printable


@click.command()
@preset_option
@config_option
@set_option
def recipe(preset: str | None, configs: tuple[Path, ...], assignments: tuple[str, ...]) -> None:
    """Print the complete recipe, with the meaning, range and default of each field.

    The output can be passed to --config.
    """
    from gan_vkd.config.describe import described

    preset = preset or DEFAULT_PRESET
    layers = [(f"--preset {preset}", preset_layer(preset))]
    layers += [(f"--config {config}", file_layer(config)) for config in configs]
    layers.append(("--set", set_layer(assignments)))
    for line in described(resolve(layers)).splitlines():
        click.echo(printable(line))


@click.command()
def methods() -> None:
    """List discriminators, losses, terms, distillation methods and augmentations, with papers."""
    for flag, registry in (
        ("--discriminator NAME", DISCRIMINATORS),
        ("--loss NAME", LOSSES),
        ("--with NAME", TERMS),
        ("--with NAME, with a --teacher", DISTILLATIONS),
        ("--augment NAME,NAME", AUGMENTATIONS),
    ):
        click.echo(f"{registry.kind} ({flag})")
        for name in registry:
            method = registry[name]
            first = method.__doc__.splitlines()[0]
            click.echo(f"  {name:14} {first} [{method.paper}]")
