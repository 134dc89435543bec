"""Train one classifier of a study; what is there is not made again."""

import json
import shutil
from hashlib import sha256
from typing import Any

import torch

from gan_vkd import __version__
from gan_vkd.bench.table import machine
from gan_vkd.config.classification import ClassificationRecipe
from gan_vkd.config.layers import continued, read_config
from gan_vkd.engine.loop import Outcome
from gan_vkd.engine.run_dir import RunDir, read_lines
from gan_vkd.errors import GanVkdError
from gan_vkd.paths import replacing
from gan_vkd.progress import Reporter
from gan_vkd.study.files import read_file
from gan_vkd.study.students import Fit, StudentWorkplace, settings_of
from gan_vkd.training.classify import run_classification

DONE = Outcome(0, "done")


def train_fit(
    work: StudentWorkplace,
    unit: Fit,
    *,
    device: torch.device,
    deadline: float,
    keep_run: bool,
    reporter: Reporter,
) -> Outcome:
    """Train, and put the network, its accuracy and its curve aside.

    Arguments and result are those of `gan_vkd.study.train.train_unit`.

    Raises:
        GanVkdError: training failed; the teacher is not trained yet; or a result that is there has
            other settings.
    """
    recipe, run = work.recipe(unit), work.folder(unit) / "run"
    if (there := work.result(unit)).is_file():
        if read_file(there)["settings"] != settings_of(recipe):
            raise GanVkdError(
                f"{there}: trained with other settings: use another --out, or remove it"
            )
        if work.is_trained(unit):
            return DONE
    resume = (run / "config.yaml").is_file()
    if resume:
        recipe = continued(run, work.layers(unit), ClassificationRecipe)
    done = run_classification(
        recipe,
        device=device,
        wanted=run,
        resume=resume,
        dry_run=False,
        deadline=deadline,
        reporter=reporter,
    )
    if done.outcome.reason == "done":
        _put_aside(work, unit, done.result, device)
        if not keep_run:
            shutil.rmtree(run)
    return done.outcome


def _put_aside(
    work: StudentWorkplace, unit: Fit, result: dict[str, Any] | None, device: torch.device
) -> None:
    """The network, and last the result, which says that it is whole."""
    run = RunDir(work.folder(unit) / "run")
    if result is None:
        raise GanVkdError(f"{unit}: the data set has no images to measure accuracy on")
    with replacing(work.network(unit)) as temporary:
        shutil.copyfile(run.path / "network.safetensors", temporary)
    recipe, teacher = read_config(run.path, ClassificationRecipe), work.teacher(unit)
    images = recipe.training.batch_size * recipe.training.log_every
    speeds = [line["images_per_second"] for line in read_lines(run.log_path)]
    found = {
        "result": result,
        "curve": [(p["iteration"], p["top1"]) for p in read_lines(run.curve_path)],
        "settings": settings_of(work.recipe(unit)),
        "teacher_sha256": None if teacher is None else sha256(teacher.read_bytes()).hexdigest(),
        "precision": recipe.training.precision,
        "seconds": round(sum(images / speed for speed in speeds if speed), 1),
        "machine": machine(device),
        "gan_vkd": __version__,
    }
    with replacing(work.result(unit)) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")
