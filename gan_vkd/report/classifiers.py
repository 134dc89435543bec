"""The page on runs of `gan-vkd classify`."""

import json
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import binomtest

from gan_vkd.classification.task import RESULT_NAME
from gan_vkd.config.classification import ClassificationRecipe
from gan_vkd.config.layers import dump, read_config
from gan_vkd.engine.run_dir import RunDir, read_lines
from gan_vkd.errors import GanVkdError
from gan_vkd.report.charts import charts, colours_of
from gan_vkd.report.collect import numbers
from gan_vkd.report.template import rendered

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


@dataclass(frozen=True)
class ClassifierFacts:
    """One run of `gan-vkd classify`.

    Attributes:
        name: the directory's.
        recipe: its settings, and the same as YAML.
        recipe_text: as above.
        log: lines of the training log, numbers by name.
        curve: accuracy on held-out images while training.
        result: of the last and of the best epoch; None before the run has ended.
    """

    name: str
    recipe: ClassificationRecipe
    recipe_text: str
    log: list[dict]
    curve: list[dict]
    result: dict | None


def collect_classifier(path: Path) -> ClassifierFacts:
    """Read a run.

    Raises:
        GanVkdError: no run of `gan-vkd classify`, or a damaged file in it.
    """
    recipe, run = read_config(path, ClassificationRecipe), RunDir(path)
    file = path / RESULT_NAME
    return ClassifierFacts(
        name=path.resolve().name,
        recipe=recipe,
        recipe_text=dump(recipe),
        log=[numbers(line) for line in read_lines(run.log_path)],
        curve=read_lines(run.curve_path),
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


def render_classifiers(runs: list[ClassifierFacts]) -> str:
    """The page as text."""
    colours = colours_of(len(runs))
    return rendered(
        "classifiers.html",
        runs=[_as_shown(run, colour) for run, colour in zip(runs, colours, strict=True)],
        log_charts=charts([run.log for run in runs], colours, LOG_CHARTS),
        curve_charts=charts([run.curve for run in runs], colours, CURVE_CHARTS),
    )


def _as_shown(run: ClassifierFacts, colour: str) -> dict:
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
        "facts": run,
        "colour": colour,
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
