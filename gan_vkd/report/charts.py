"""Line charts as SVG that takes its colour from the page, in light and in dark."""

import io
import re

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from gan_vkd.report.collect import series

COLOURS = ("#3b82c4", "#d9722e", "#3a9d5d", "#a05ec4", "#c44e63", "#8a8a2a")  # one a run
INK = "#010203"  # stands for the text's colour until the page gives it
SIZE = (4.4, 2.7)  # inches of 72 points: about a phone's width, so the text stays readable


def line_chart(lines: list[tuple[str, list[tuple[float, float]]]]) -> str:
    """A chart of value over iteration.

    Args:
        lines: (colour, [(iteration, value)]) each.

    Returns:
        An `<svg>` element without names or text from outside.
    """
    style = {"svg.fonttype": "none", "svg.hashsalt": "gan_vkd", "font.size": 10}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=SIZE, layout="constrained")
        axis = figure.add_subplot()
        for colour, points in lines:
            mark = "o" if len(points) < 2 else None
            axis.plot(*zip(*points, strict=True), color=colour, linewidth=1.6, marker=mark)
        axis.set_xlabel("iteration", color=INK)
        axis.tick_params(colors=INK)
        axis.grid(color=INK, alpha=0.15, linewidth=0.6)
        for side, spine in axis.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(INK)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 aria-hidden="true"', svg, count=1)
    return svg.replace(INK, "currentColor")


def charts(
    logs: list[list[dict]], colours: list[str], titles: dict[str, str]
) -> list[tuple[str, Markup]]:
    """(title, svg) of whatever at least one run has measured."""
    charts = []
    for key, title in titles.items():
        lines = [
            (colour, points)
            for log, colour in zip(logs, colours, strict=True)
            if (points := series(log, key))
        ]
        if lines:
            charts.append((title, Markup(line_chart(lines))))
    return charts
