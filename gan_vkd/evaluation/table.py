"""Results for people: the tables on the screen."""

import math

from rich.markup import escape
from rich.table import Table

from gan_vkd.terminal import printable

DECIMALS = 5  # shown at most
LARGE = 1e6  # from here on a number is shown by its power of ten

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
    "mind": ("MIND", "lower is better"),
    "vendi": ("Vendi", "effective number of different images"),
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
    return [*rows, *_memorisation_rows(result)]


def _memorisation_rows(result: dict) -> list[tuple[str, str, str, str, str]]:
    """What tells of memorised training images; nothing without held-out ones."""
    found, extractor = result.get("memorisation"), result["extractor"]
    if not found:
        return []
    spaces = {"features": extractor, "pixels": "pixels"}
    authentic = found["authenticity"]
    rows = [
        *(
            (
                f"nearer to training[{name}]",
                with_interval(found["preference"][space]),
                "-",
                figure(0.5),
                "share nearer to a training image than to a held-out one",
            )
            for space, name in spaces.items()
        ),
        (
            f"AuthPct[{extractor}]",
            with_interval(authentic["judged"]),
            figure(authentic["held_out"]["value"]),
            "-",
            "share farther from its training image than another one is",
        ),
        (
            f"C_T[{extractor}]",
            with_interval(found["copying_statistic"]),
            "-",
            "0",
            "below 0: nearer to training images than held-out images are",
        ),
    ]
    if "fld" not in found:  # a result of an earlier version
        return rows
    over_cells = found["copying_statistic_over_cells"]
    cells = over_cells["cells"]
    return [
        *rows,
        (
            f"C_T, {cells} cell{'' if cells == 1 else 's'}[{extractor}]",
            with_interval(over_cells),
            "-",
            "0",
            "the same within cells of the training images, averaged",
        ),
        (
            f"FLD[{extractor}]",
            with_interval(found["fld"]),
            "-",
            "-",
            "lower is better; how unlikely held-out images are around the samples",
        ),
    ]


def metrics_table(*results: dict) -> Table:
    """The figures of `evaluate`, each named with its extractor, held-out real images beside.

    Args:
        results: of the same images, by one extractor each.
    """
    table = Table(
        title=escape(printable(headline(results[0]["protocol"]))),
        caption=escape(printable(caption(results[0]))),
    )
    rows = list(dict.fromkeys(row[:-1] for result in results for row in figure_rows(result)))
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


def seeds_table(compared: dict) -> Table:
    """The figures of `compare_seeds`."""
    files, seeds = compared["files"], compared["seeds"]
    sides = [f"{side}: {files[side]} ({len(seeds[side])} seeds)" for side in ("first", "second")]
    pairs = "paired by seed" if compared["paired"] else "seeds do not pair"
    table = Table(
        title=escape(printable(f"{'   '.join(sides)}   {pairs}")),
        caption=escape(f"±: {compared['intervals']}."),
    )
    rows = []
    for key, found in compared["metrics"].items():
        means = [with_interval(_mean_and_deviation(found[side])) for side in ("first", "second")]
        difference = found["difference"]
        shown = {"value": None, "low": None, "high": None}
        if difference:
            shown = {"value": difference["mean"]} | {k: difference[k] for k in ("low", "high")}
        told = found["seeds_to_tell"]
        name = f"{NAMES[key][0] if key in NAMES else key}[{compared['extractor']}]"
        rows.append((name, *means, with_interval(shown), "-" if told is None else str(told)))
    columns = ("metric", "first (deviation)", "second (deviation)", "difference", "seeds to tell")
    return _filled(table, columns, rows)


def _mean_and_deviation(found: dict | None) -> dict[str, float | None]:
    """As `with_interval` takes it."""
    if found is None or found["deviation"] is None:
        return {"value": found and found["mean"], "low": None, "high": None}
    mean, deviation = found["mean"], found["deviation"]
    return {"value": mean, "low": mean - deviation, "high": mean + deviation}


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
    if abs(value) >= LARGE:
        return f"{value:.2e}"
    text = f"{value:.{digits}f}"
    return text if float(text) else "0"
