"""Train one unit from checkpoint to checkpoint; what is there is not made again."""

import gzip
import json
import shutil
from statistics import fmean

import torch

from gan_vkd import __version__
from gan_vkd.bench.table import machine
from gan_vkd.config.core import Recipe
from gan_vkd.config.layers import continued, read_config
from gan_vkd.engine.loop import Outcome
from gan_vkd.engine.run_dir import RunDir, read_lines
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.exported import FILE_NAME
from gan_vkd.paths import replacing
from gan_vkd.progress import Reporter
from gan_vkd.study.files import read_file
from gan_vkd.study.plan import Unit, Workplace, settings_of
from gan_vkd.training.run import run_training

LINES = 5  # of the log, up to the checkpoint, that a note averages: one line of 256 images is noisy
NOTED = ("overfitting", "fit_train", "fit_held_out", "gradient_ratio", "distill_weight", "spread")
NOTED += ("logit_std_train", "logit_std_held_out", "images_per_second")


def train_unit(
    work: Workplace,
    unit: Unit,
    *,
    device: torch.device,
    deadline: float,
    keep_run: bool,
    reporter: Reporter,
) -> Outcome:
    """Train up to each checkpoint in turn, and put its generator and notes aside.

    Args:
        work: the study.
        unit: of it.
        device: where.
        deadline: on `time.monotonic`'s clock.
        keep_run: leave the run's directory there when all is done.
        reporter: told everything.

    Returns:
        How it ended.

    Raises:
        GanVkdError: training failed, or a checkpoint that is there has other settings.
    """
    run = work.folder(unit) / "run"
    outcome = Outcome(work.study.checkpoints[-1], "done")
    for number in work.study.checkpoints:
        recipe = work.recipe(unit, number)
        if (notes := work.notes(unit, number)).is_file():
            if group := other_settings(read_file(notes)["settings"], recipe):
                raise GanVkdError(
                    f"{notes}: trained with other settings ({group}): use another --out, "
                    "or remove it"
                )
            continue
        resume = (run / "config.yaml").is_file()
        if resume:
            recipe = continued(run, work.study.layers(unit, number, work.data(unit)))
        result = run_training(
            recipe,
            device=device,
            wanted=run,
            resume=resume,
            dry_run=False,
            deadline=deadline,
            reporter=reporter,
        )
        outcome = result.outcome
        if outcome.reason != "done":
            return outcome
        _put_aside(work, unit, number, device)
    if run.is_dir():
        with (
            replacing(work.folder(unit) / "log.jsonl.gz") as temporary,
            gzip.open(temporary, "wb") as log,
        ):
            log.write(RunDir(run).log_path.read_bytes())
        if not keep_run:
            shutil.rmtree(run)
    return outcome


def other_settings(there: dict[str, dict], recipe: Recipe) -> str | None:
    """The first group in which a checkpoint's noted settings are not its recipe's; None: alike.

    Fields that an earlier version did not note had their defaults.
    """
    wanted, defaults = settings_of(recipe), settings_of(Recipe())
    for group, fields in wanted.items():
        known = {name: value for name, value in defaults[group].items() if name in fields}
        if known | there.get(group, {}) != fields:
            return group
    return None


def _put_aside(work: Workplace, unit: Unit, number: int, device: torch.device) -> None:
    """The generator, and last the notes, which say that it is whole."""
    run = RunDir(work.folder(unit) / "run")
    with replacing(work.generator(unit, number)) as temporary:
        shutil.copyfile(run.path / FILE_NAME, temporary)
    lines, recipe = read_lines(run.log_path), work.recipe(unit, number)
    images = recipe.training.batch_size * recipe.training.d_steps * recipe.training.log_every
    last = lines[-LINES:]
    values = {name: [line[name] for line in last if name in line] for name in NOTED}
    notes = {
        "iteration": number,
        "settings": settings_of(recipe),
        "precision": read_config(run.path).training.precision,
        "log": {name: fmean(found) for name, found in values.items() if found},
        "log_lines": [line["iteration"] for line in last],
        "seconds": round(sum(images / line["images_per_second"] for line in lines), 1),
        "machine": machine(device),
        "gan_vkd": __version__,
    }
    with replacing(work.notes(unit, number)) as temporary:
        temporary.write_text(json.dumps(notes, indent=2) + "\n")
