"""The page on runs of `gan-vkd classify`."""

import json
from pathlib import Path

from scipy.stats import binomtest

from gan_vkd.classification.task import RESULT_NAME
from gan_vkd.config.classification import ClassificationRecipe
from gan_vkd.config.layers import read_config
from gan_vkd.errors import GanVkdError
from gan_vkd.report.collect import Facts, of_every_run
from gan_vkd.report.template import render_runs

FIGURES = {
    "top1": "top-1",
    "top5": "top-5",
    "cross_entropy": "cross-entropy",
    "validation_top1": "top-1, validation",
}
CURVE_CHARTS = {
    "top1": "Top-1 accuracy",
    "top5": "Top-5 accuracy",
    "cross_entropy": "Cross-entropy",
    "validation_top1": "Top-1 accuracy on validation images",
}
LOG_CHARTS = {
    "loss": "Loss",
    "cross_entropy": "Cross-entropy of a batch",
    "kl_divergence": "KL divergence from the teacher",
    "method": "The method's loss",
    "batch_top1": "Top-1 accuracy of a batch",
    "gradient": "Norm of the gradient",
    "rate": "Learning rate",
}


def collect_classifier(path: Path) -> Facts:
    """Read a run.

    Raises:
        GanVkdError: no run of `gan-vkd classify`, or a damaged file in it.
    """
    recipe, file = read_config(path, ClassificationRecipe), path / RESULT_NAME
    return Facts(
        **of_every_run(path, recipe),
        result=_read_result(file) if file.is_file() else None,
    )


def _read_result(file: Path) -> dict:
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        whole = isinstance(result["held_out_images"], int) and isinstance(result["held_out"], str)
        for epoch in (result["last"], result["best"]):
            figures = [epoch[key] for key in ("epoch", *FIGURES) if key in epoch]
            whole = whole and all(isinstance(figure, int | float) for figure in figures)
        whole = whole and isinstance(result["best"]["selected_on"], str)
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise GanVkdError(f"{file}: not a result of gan-vkd classify")
    return result


def render_classifiers(runs: list[Facts]) -> str:
    """The page as text."""
    return render_runs("classifiers.html", runs, _as_shown, LOG_CHARTS, CURVE_CHARTS)


def _as_shown(run: Facts) -> dict:
    recipe, result = run.recipe, run.result
    taught = "" if recipe.teacher.spec == "none" else f" from {Path(recipe.teacher.spec).name}"
    points, images, caption = {}, 0, ""
    if result is not None:
        images = result["held_out_images"]
        points = {f"{name}, {result[name]['epoch']:g}": result[name] for name in ("last", "best")}
        caption = (
            f"Held out: {images:,} images, {result['held_out']}. Intervals are Wilson's, 95 %, of "
            f"the sampling of images. The best epoch was chosen on {result['best']['selected_on']}."
        )
    elif run.curve:
        last = run.curve[-1]
        images, points = last.get("held_out", 0), {f"iteration {last['iteration']:,}": last}
        caption = f"Held out: {images:,} images. The run has not ended."
    shown = [key for key in FIGURES if any(key in point for point in points.values())]
    return {
        "summary": f"{recipe.data.dataset}, subset {recipe.data.subset:g}, {recipe.student.name}, "
        f"{recipe.distill.method}{taught}, {recipe.training.epochs} epochs, "
        f"seed {recipe.training.seed}",
        "columns": [FIGURES[key] for key in shown],
        "rows": [
            [name, *(_figure(key, point.get(key), images) for key in shown)]
            for name, point in points.items()
        ],
        "caption": caption,
    }


def _figure(key: str, value: float | None, images: int) -> str:
    """An accuracy with its interval, where it is of the held-out images."""
    if value is None:
        return "-"
    if key == "cross_entropy":
        return f"{value:.3f}"
    if key == "validation_top1" or not images:
        return f"{value:.2%}"
    interval = binomtest(round(value * images), images).proportion_ci(method="wilson")
    return f"{value:.2%} [{interval.low:.2%}, {interval.high:.2%}]"
