"""Curves of a metric over iterations: a small panel an arm, every seed's line and the mean."""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from matplotlib.figure import Figure

from gan_vkd.paths import replacing

COLUMNS, PANEL = 5, (2.2, 1.7)  # panels a row, inches
OURS, THEIRS = "#3b82c4", "#888888"

Curves = Mapping[str, Mapping[int, Mapping[int, float]]]  # arm → seed → iteration → value


def curves_picture(curves: Curves, baseline: str, metric: str, path: Path) -> None:
    """Write a PNG: each arm that has a value in colour, the baseline behind it in grey."""
    arms = [arm for arm in curves if arm != baseline and any(curves[arm].values())] or [baseline]
    rows = -(-len(arms) // COLUMNS)
    columns = min(COLUMNS, len(arms))
    size = (PANEL[0] * columns, PANEL[1] * rows)
    figure = Figure(figsize=size, layout="constrained", dpi=72)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for panel in panels[len(arms) :]:
        panel.set_visible(False)
    for arm, panel in zip(arms, panels, strict=False):
        for name, colour in ((baseline, THEIRS), (arm, OURS)):
            seeds = [curve for curve in curves.get(name, {}).values() if curve]
            for curve in seeds:
                panel.plot(*zip(*sorted(curve.items()), strict=True), color=colour, linewidth=0.5)
            whole = sorted(set.intersection(*map(set, seeds))) if seeds else []
            mean = [fmean(curve[number] for curve in seeds) for number in whole]
            panel.plot(whole, mean, color=colour, linewidth=2, marker="o", markersize=3)
        panel.set_title(arm, fontsize=8)
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.2, linewidth=0.5)
    figure.supylabel(metric, fontsize=8)
    figure.supxlabel(f"iteration (thin: a seed; grey: {baseline})", fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
