"""gan-vkd report."""

from pathlib import Path

import click

from gan_vkd.cli.plumbing import newest, quiet_option
from gan_vkd.terminal import printable


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="[RUN]...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="HTML file to write.  [RUN/report.html; for several runs report.html]",
)
@quiet_option
def report(runs: tuple[Path, ...], out: Path | None, quiet: bool) -> None:
    """Write one HTML file about runs: metrics, curves, samples, classes, nearest images.

    Of runs of gan-vkd classify it shows accuracy and curves. The file loads nothing from a network.
    Several runs are shown side by side. RUN is a run directory (default: the newest run in runs/).
    """
    runs = runs or (newest(quiet),)
    from gan_vkd.report.page import write_report

    place = out or (runs[0] / "report.html" if len(runs) == 1 else Path("report.html"))
    write_report(list(runs), place)
    click.echo(printable(str(place)))
