"""gan-vkd data."""

from pathlib import Path

import click

from gan_vkd.cli.plumbing import begin, data_root_option, quiet_option, skip_bad_option
from gan_vkd.terminal import printable


@click.group()
def data() -> None:
    """Inspect data sets."""


@data.command("describe")
@click.argument("spec")
@data_root_option
@skip_bad_option
@quiet_option
def describe_data(spec: str, data_root: Path | None, skip_bad: bool, quiet: bool) -> None:
    """Print what a data set holds, how it was read, and which files are not used.

    SPEC is digits, cifar10, cifar100, an .npz or .npy of images, or a folder, zip, .tar or .tar.gz
    of them: train/<class>/* with test/<class>/* (or val, validation, dev; in any case),
    <class>/*, or images without folders, which form one class. A file dataset.json (NVlabs),
    labels.csv or metadata.csv (columns file and label) may give the labels. docs/layouts.md
    has all rules.
    """
    _, reporter = begin(quiet=quiet)
    from gan_vkd.data.sources import describe, read_dataset

    dataset = read_dataset(
        spec, image_size=32, data_root=data_root, skip_bad=skip_bad, reporter=reporter
    )
    for line in describe(dataset):
        click.echo(printable(line))
