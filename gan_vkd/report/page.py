"""The page: facts in, one HTML file out."""

import base64
import shlex
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from gan_vkd import __version__
from gan_vkd.evaluation.findings import sentences
from gan_vkd.evaluation.table import NAMES, caption, figure_rows, headline
from gan_vkd.paths import replacing
from gan_vkd.report.charts import COLOURS, line_chart
from gan_vkd.report.collect import RunFacts, as_text, collect, series

MOST_CLASSES = 100  # of a run, the worst covered ones

LOG_CHARTS = {
    "overfitting": "Overfitting: D(training) less D(held-out images)",
    "logit_auc": "Overfitting: how well D's logit tells training from held-out images (AUC)",
    "d_real": "D's loss on real images",
    "d_fake": "D's loss on generated images",
    "g": "G's loss",
    "distill_real": "Distillation on real images",
    "distill_fake": "Distillation on generated images",
    "gradient_ratio": "Gradient of distillation over the adversarial one, at h",
    "fit_train": "Fit to the teacher (R²), training images",
    "fit_held_out": "Fit to the teacher (R²), held-out images",
}
CURVE_CHARTS = (
    "fid", "precision", "recall", "density", "coverage", "clipped_density", "clipped_coverage"
)  # fmt: skip


def write_report(runs: list[Path], out: Path) -> None:
    """Write a report on runs, side by side, as one file.

    Args:
        runs: run directories.
        out: the HTML file; replaced whole.

    Raises:
        GanVkdError: a run that is none, or a damaged file in one.
    """
    text = render([collect(run) for run in runs])
    with replacing(out) as temporary:
        temporary.write_text(text, encoding="utf-8")


def render(runs: list[RunFacts]) -> str:
    """The page as text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["image"] = _as_image
    environment.filters["as_text"] = as_text
    environment.filters["quoted"] = shlex.quote
    template = environment.from_string(
        files("gan_vkd").joinpath("report", "page.html").read_text(encoding="utf-8")
    )
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(runs))]
    return template.render(
        version=__version__,
        runs=[_as_shown(run, colour) for run, colour in zip(runs, colours, strict=True)],
        log_charts=_charts([run.log for run in runs], colours, LOG_CHARTS),
        curve_charts=_charts(
            [run.curve for run in runs], colours, {key: NAMES[key][0] for key in CURVE_CHARTS}
        ),
    )


def _as_shown(run: RunFacts, colour: str) -> dict:
    recipe, result = run.recipe, run.result
    teacher = recipe.teacher.spec
    method = "no teacher" if teacher == "none" else f"V_kD with {teacher}"
    classes = [] if result is None else result.get("classes", [])
    known = [figures for figures in classes if figures["coverage"] is not None]
    curve = run.curve[-1] if run.curve else None
    return {
        "facts": run,
        "colour": colour,
        "summary": f"{recipe.data.dataset}, subset {recipe.data.subset:g}, {method}, "
        f"{recipe.training.iterations:,} iterations, seed {recipe.training.seed}",
        "rows": [] if result is None else figure_rows(result),
        "headline": "" if result is None else headline(result["protocol"]),
        "sentences": [] if result is None else sentences(result),
        "caption": "" if result is None else caption(result),
        "classes": sorted(known, key=lambda figures: figures["coverage"])[:MOST_CLASSES],
        "classes_left_out": max(0, len(known) - MOST_CLASSES),
        "unknown_classes": [f["name"] for f in classes if f["coverage"] is None],
        "curve": ""
        if curve is None
        else f"{curve.get('count')} samples against {curve.get('reference_count')} "
        f"{curve.get('reference')}, by {curve.get('extractor')}",
    }


def _charts(
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


def _as_image(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
