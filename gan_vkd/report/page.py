"""The report: runs in, one HTML file out; and the page on generators."""

from pathlib import Path

from gan_vkd.config.layers import trains_classifier
from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.findings import sentences
from gan_vkd.evaluation.table import NAMES, caption, figure_rows, headline
from gan_vkd.paths import replacing
from gan_vkd.report.classifiers import collect_classifier, render_classifiers
from gan_vkd.report.collect import RunFacts, collect
from gan_vkd.report.template import render_runs

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
        GanVkdError: a run that is none, a damaged file in one, or runs of both kinds.
    """
    of_classifiers = [trains_classifier(run) for run in runs]
    if any(of_classifiers) and not all(of_classifiers):
        first = runs[of_classifiers.index(True)], runs[of_classifiers.index(False)]
        raise GanVkdError(
            f"{first[0]} is a run of gan-vkd classify, {first[1]} one of gan-vkd train: report on "
            "them apart"
        )
    if all(of_classifiers):
        text = render_classifiers([collect_classifier(run) for run in runs])
    else:
        text = render([collect(run) for run in runs])
    with replacing(out) as temporary:
        temporary.write_text(text, encoding="utf-8")


def render(runs: list[RunFacts]) -> str:
    """The page on generators, as text."""
    curve_charts = {key: NAMES[key][0] for key in CURVE_CHARTS}
    return render_runs("generators.html", runs, _as_shown, LOG_CHARTS, curve_charts)


def _as_shown(run: RunFacts) -> dict:
    recipe, result = run.recipe, run.result
    teacher = recipe.teacher.spec
    method = "no teacher" if teacher == "none" else f"V_kD with {teacher}"
    classes = [] if result is None else result.get("classes", [])
    known = [figures for figures in classes if figures["coverage"] is not None]
    curve = run.curve[-1] if run.curve else None
    return {
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
