"""Samples evaluated during training: the curve, and the choice of a checkpoint."""

import copy
from pathlib import Path

import torch

from gan_vkd.config.core import Recipe
from gan_vkd.data.subsets import TrainingData
from gan_vkd.engine.task import Point
from gan_vkd.evaluation.curves import Curve
from gan_vkd.evaluation.features import BUNDLED, load_extractor
from gan_vkd.gan.exported import ExportedGenerator, save_generator
from gan_vkd.progress import Reporter

SCORE = "fid"


class CurveJudge:
    """Measures exported generators; with validation images they are chosen among, too.

    Args:
        curve: what measures.
        every: iterations between two points.
        choosing: whether the lowest FID is kept apart.
    """

    def __init__(self, curve: Curve, every: int, choosing: bool):
        self.curve, self.every, self.choosing = curve, every, choosing

    def point(self, exported: ExportedGenerator) -> Point:
        """Its metrics."""
        name, protocol = self.curve.extractor.name, self.curve.protocol
        chosen = (
            f"lowest FID[{name}] of {self.curve.num} samples against "
            f"{protocol['reference_count']} {protocol['reference']}, evaluated every {self.every} "
            "iterations"
        )

        def keep(path: Path) -> None:
            best = copy.copy(exported)
            best.card = {**exported.card, "chosen": chosen}
            save_generator(best, path)

        return Point(
            self.curve.measure(exported), protocol, name, SCORE if self.choosing else None, keep
        )


def make_judge(
    recipe: Recipe, data: TrainingData, device: torch.device, reporter: Reporter
) -> CurveJudge | None:
    """The judge of a run, with the bundled evaluator; None if `training.eval_every` is 0."""
    training, nearest_k = recipe.training, recipe.evaluation.nearest_k
    if training.eval_every == 0:
        return None
    choosing = data.validation is not None
    images = data.validation if choosing else data.train
    if min(training.eval_num, len(images)) < nearest_k + 2:
        reporter.say("There are too few images for a curve of metrics during training")
        return None
    origin = "validation images" if choosing else "training images"
    extractor = load_extractor(BUNDLED, None, device)
    curve = Curve(images, origin, training.eval_num, nearest_k, extractor, reporter)
    return CurveJudge(curve, training.eval_every, choosing)
