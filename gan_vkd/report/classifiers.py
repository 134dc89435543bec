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
    file, result = path / RESULT_NAME, None
    if file.is_file():
        try:
            result = json.loads(file.read_text(encoding="utf-8"))
            [result[epoch]["top1"] for epoch in ("last", "best")]
        except (ValueError, KeyError, TypeError):
            raise GanVkdError(f"{file}: not a result of gan-vkd classify") from None
    return ClassifierFacts(
        name=path.resolve().name,
        recipe=recipe,
        recipe_text=dump(recipe),
        log=[numbers(line) for line in read_lines(run.log_path)],
        curve=read_lines(run.curve_path),
        result=result,
    )


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
    rows, caption = [], ""
    if result is not None:
        images = result["held_out_images"]
        rows = [_row(name, result[name], images) for name in ("last", "best")]
        caption = (
            f"{images:,} images: {result['held_out']}. Intervals are Wilson's, 95 %, of the "
            f"sampling of images. The best epoch was chosen on {result['best']['selected_on']}."
        )
    elif run.curve:
        point, held_out = run.curve[-1], run.curve[-1]["held_out"]
        rows = [_row(f"iteration {point['iteration']:,}", point, held_out)]
        caption = f"{held_out:,} held-out images. The run has not ended."
    return {
        "facts": run,
        "colour": colour,
        "summary": f"{recipe.data.dataset}, subset {recipe.data.subset:g}, {recipe.student.name}, "
        f"{recipe.distill.method}{taught}, {recipe.training.epochs} epochs, "
        f"seed {recipe.training.seed}",
        "rows": rows,
        "caption": caption,
    }


def _row(name: str, figures: dict, images: int) -> list[str]:
    epoch = f"{name}, {figures['epoch']:g}" if "epoch" in figures else name
    shares = [_share(figures[key], images) if key in figures else "-" for key in ("top1", "top5")]
    return [epoch, *shares, f"{figures['cross_entropy']:.3f}"]


def _share(share: float, images: int) -> str:
    if not images:
        return f"{share:.2%}"
    interval = binomtest(round(share * images), images).proportion_ci(method="wilson")
    return f"{share:.2%} [{interval.low:.2%}, {interval.high:.2%}]"
