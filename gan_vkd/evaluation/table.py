"""Results for people: the tables on the screen."""

import math

from rich.markup import escape
from rich.table import Table

from gan_vkd.terminal import printable

DECIMALS = 5  # shown at most

NAMES = {
    "fid": ("FID", "lower is better"),
    "inception_score": ("IS", "higher is better"),
    "kid": ("KID", "lower is better"),
    "precision": ("precision", "samples that look real"),
    "recall": ("recall", "real images that are matched"),
    "density": ("density", "of samples around real images"),
    "coverage": ("coverage", "real images with a sample near"),
    "clipped_density": ("clipped density", "share of samples that look real"),
    "clipped_coverage": ("clipped coverage", "share of the real images' variety"),
}


def headline(protocol: dict) -> str:
    """The title: which images were compared."""
    count = protocol["prdc_count"]
    neighbours = f"k = {protocol['nearest_k']}, neighbours among {count:,} of each"
    return (
        f"{protocol['judged_count']:,} images of {protocol['image_size']}x{protocol['image_size']} "
        f"pixels against {protocol['reference']} "
        f"({protocol['reference_count']:,}){f', {neighbours}' if count else ''}"
    )


def caption(result: dict) -> str:
    """How the columns are to be read."""
    protocol = result["protocol"]
    held_out_count = result["held_out"]["count"] if result["held_out"] else 0
    return (
        f"FID is biased upwards at {protocol['judged_count']:,} images. "
        f"held-out: {held_out_count:,} real images ({protocol['held_out']}), evaluated in the same "
        "way. expected: the value for two samples of one distribution. ±: 95 % interval for the "
        "sampling of images, not for the training seed."
    )


def figure_rows(result: dict) -> list[tuple[str, str, str, str, str]]:
    """One row per metric: name, value ± half the interval, held-out, expected, meaning."""
    held_out = result["held_out"]["metrics"] if result["held_out"] else {}
    rows = []
    for key, (name, meaning) in NAMES.items():
        if key in result["metrics"]:
            beside = held_out[key]["value"] if key in held_out else None
            rows.append(
                (
                    f"{name}[{result['extractor']}]",
                    with_interval(result["metrics"][key]),
                    figure(beside),
                    figure(result["expected"].get(key)),
                    meaning,
                )
            )
    return rows


def metrics_table(result: dict) -> Table:
    """The metrics of `evaluate`, each with its extractor's name, and those of held-out images."""
    table = Table(
        title=escape(printable(headline(result["protocol"]))),
        caption=escape(printable(caption(result))),
    )
    rows = [row[:-1] for row in figure_rows(result)]
    return _filled(table, ("metric", "images", "held-out", "expected"), rows)


def comparison_table(compared: dict) -> Table:
    """The metrics of `compare`."""
    files = compared["files"]
    table = Table(
        title=escape(printable(f"first: {files['first']}   second: {files['second']}")),
        caption=escape(f"±: {compared['intervals']}."),
    )
    rows = [
        (
            f"{NAMES[key][0] if key in NAMES else key}[{compared['extractor']}]",
            *(with_interval(sides[side]) for side in ("first", "second", "difference")),
        )
        for key, sides in compared["metrics"].items()
    ]
    return _filled(table, ("metric", "first", "second", "difference"), rows)


def _filled(table: Table, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    """The table with its rows: where there is little room the first column folds, no number."""
    for number, column in enumerate(columns):
        if number == 0:
            table.add_column(column, overflow="fold")
        else:
            width = max(map(len, [column, *(row[number] for row in rows)]))
            table.add_column(column, justify="right", no_wrap=True, min_width=width)
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    return table


def with_interval(metric: dict[str, float | None]) -> str:
    """`value ± half the interval`, to two digits of the latter, as far as they are known.

    There are at most five digits after the point: what is less is shown as 0.
    """
    if metric["low"] is None:
        return figure(metric["value"])
    half = (metric["high"] - metric["low"]) / 2
    digits = DECIMALS if half <= 0 else min(max(0, 1 - math.floor(math.log10(half))), DECIMALS)
    return f"{_rounded(metric['value'], digits)} ± {_rounded(half, digits)}"


def figure(value: float | None) -> str:
    """Three digits after the point, five for small values, a dash for unknown ones."""
    if value is None:
        return "-"
    return _rounded(value, DECIMALS if abs(value) < 0.01 else 3)


def _rounded(value: float, digits: int) -> str:
    """So many digits after the point; 0 without any, and without a sign, where all are 0."""
    text = f"{value:.{digits}f}"
    return text if float(text) else "0"
