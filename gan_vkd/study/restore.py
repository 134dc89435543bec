"""Results of a study from the JSON beside its page, for a machine that has not the files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gan_vkd.errors import GanVkdError
from gan_vkd.paths import replacing
from gan_vkd.study.plan import Workplace
from gan_vkd.study.students import StudentWorkplace

PARTS = ("trained", "judged_on", "runs")  # of the JSON: what was made, by name


def everything_of(page: Path) -> Path:
    """The JSON beside a page."""
    return page.with_suffix("") / f"{page.stem}.json"


def refuse_loss(page: Path, everything: dict[str, Any]) -> None:
    """Keep a page from being replaced by one with less.

    Args:
        page: that is to be written.
        everything: that is to be the JSON beside it.

    Raises:
        GanVkdError: the JSON that is there has results that `everything` has not.
    """
    path = everything_of(page)
    if not path.is_file():
        return
    before = read_everything(path)
    gone = [
        name
        for part in PARTS
        for name in before.get(part, {})
        if name not in everything.get(part, {})
    ]
    if gone:
        study = everything["study"]["name"]
        raise GanVkdError(
            f"{page} has {len(gone)} results that --out has not, such as {gone[0]}: take them "
            f"over by scripts/reproduce {study} --restore, or give another --page"
        )


def restore_results(work: Workplace | StudentWorkplace, page: Path) -> int:
    """Write the results that a page's JSON has, and the study's folder has not, into the folder.

    Training, judging and reports go on from there as if they had been made there. Networks are not
    restored: what they would be needed for waits, or is trained again.

    Args:
        work: the study, or a part of it.
        page: whose JSON is read.

    Returns:
        How many files were written.

    Raises:
        GanVkdError: there is no such file, or it is not one of this kind of study.
    """
    path = everything_of(page)
    everything, count = read_everything(path), 0
    files = _fits if isinstance(work, StudentWorkplace) else _figures
    try:
        for file, content in files(work, everything):
            if not file.is_file():
                with replacing(file) as temporary:
                    temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
                count += 1
    except (KeyError, TypeError, AttributeError) as error:
        raise GanVkdError(f"{path}: not the JSON of such a study ({error!r})") from None
    return count


def read_everything(path: Path) -> dict[str, Any]:
    """The JSON beside a page.

    Raises:
        GanVkdError: no such file, or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GanVkdError(f"{path}: no such file: no results to restore") from None
    except ValueError as error:
        raise GanVkdError(f"{path}: not a whole JSON file ({error})") from None


def _fits(work: StudentWorkplace, everything: dict[str, Any]) -> Iterator[tuple[Path, dict]]:
    for unit in work.study.units():
        if str(unit) in everything["runs"]:
            yield work.result(unit), everything["runs"][str(unit)]


def _figures(work: Workplace, everything: dict[str, Any]) -> Iterator[tuple[Path, dict]]:
    """Judgements before notes, which say that a checkpoint is there."""
    values: dict[str, dict] = {}
    for row in everything["figures"]:
        for arm, by_seed in row["values"].items():
            for seed, value in by_seed.items():
                place = f"{Path(row['dataset']).stem}/{arm}/{seed}/{row['iteration']}"
                if row["extractor"] is not None:
                    metrics = values.setdefault(f"{place}/{row['extractor']}", {})
                    metrics[row["metric"]] = {"value": value}
    real: dict[tuple[str, str], dict] = {}
    for row in everything["held_out"]:
        metrics = real.setdefault((row["dataset"], row["extractor"]), {})
        metrics[row["metric"]] = {"value": row["value"]}
    for unit in work.study.units():
        for number in work.study.checkpoints:
            place = f"{unit}/{number}"
            for name in work.study.extractors:
                if (judged := f"{place}/{name}") not in everything["judged_on"]:
                    continue
                shown = real.get((unit.dataset, name))
                beside = unit.arm == work.study.baseline and shown
                yield (
                    work.judgement(unit, number, name),
                    {
                        "extractor": name,
                        "metrics": values[judged],
                        "held_out": {"metrics": shown} if beside else None,
                        "machine": everything["judged_on"][judged],
                    },
                )
            if place in everything["trained"]:
                yield work.notes(unit, number), everything["trained"][place]
