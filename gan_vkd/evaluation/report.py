"""Results for people: the table on the screen."""

from rich.markup import escape
from rich.table import Table

NAMES = {
    "fid": ("FID", "lower is better"),
    "inception_score": ("IS", "higher is better"),
    "kid": ("KID", "lower is better"),
    "precision": ("precision", "samples that look real"),
    "recall": ("recall", "real images that are matched"),
    "density": ("density", "of samples around real images"),
    "coverage": ("coverage", "real images with a sample near"),
}


def metrics_table(result: dict) -> Table:
    """The figures of `evaluate`, each named with its extractor, held-out real images beside."""
    protocol, extractor = result["protocol"], result["extractor"]
    held_out_count = result["held_out"]["count"] if result["held_out"] else 0
    table = Table(
        title=f"{protocol['judged_count']:,} images against {escape(protocol['reference'])} "
        f"({protocol['reference_count']:,}), k = {protocol['nearest_k']}, PRDC on "
        f"{protocol['prdc_count']:,} of each",
        caption=f"FID is biased upwards at {protocol['judged_count']:,} images. "
        f"held-out: {held_out_count:,} real images ({escape(protocol['held_out'])}), "
        "judged likewise; expected: of two samples of one distribution. ±: 95 %, of the sampling "
        "of images, not of the training seed.",
    )
    table.add_column("metric", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    table.add_column("held-out", justify="right", no_wrap=True)
    table.add_column("expected", justify="right", no_wrap=True)
    table.add_column("")
    held_out = result["held_out"]["metrics"] if result["held_out"] else {}
    for key, (name, meaning) in NAMES.items():
        expected = result["expected"].get(key)
        table.add_row(
            escape(f"{name}[{extractor}]"),
            _with_interval(result["metrics"][key]),
            _figure(held_out[key]["value"] if held_out else None),
            _figure(expected),
            meaning,
        )
    return table


def _with_interval(metric: dict[str, float | None]) -> str:
    figure = _figure(metric["value"])
    if metric["low"] is None:
        return figure
    return f"{figure} ± {_figure((metric['high'] - metric['low']) / 2)}"


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.5f}" if abs(value) < 0.01 else f"{value:.3f}"
