"""Results of a study from the JSON beside its page, for a machine that has not the files."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from gan_vkd.errors import GanVkdError
from gan_vkd.paths import replacing
from gan_vkd.study.files import read_file
from gan_vkd.study.plan import Unit, Workplace
from gan_vkd.study.students import Fit, StudentWorkplace, settings_of
from gan_vkd.study.train import other_settings

Everything = dict[str, Any]  # a JSON, after it has been checked
Files = dict[Path, dict[str, Any]]  # what goes where


class _Part(BaseModel):
    """Of a JSON: the fields that are read. There may be others."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Row(_Part):
    dataset: str
    iteration: int
    extractor: str | None
    metric: str
    values: dict[str, dict[str, float]]


class _HeldOut(_Part):
    dataset: str
    extractor: str
    metric: str
    value: float


class _Note(_Part):
    settings: dict[str, dict[str, Any]]
    log: dict[str, float]
    seconds: float
    machine: str


class _Judged(_Part):
    name: str
    num: int
    datasets: dict[str, float]


class Figures(_Part):
    """The JSON of a study of generators."""

    study: _Judged
    figures: list[_Row]
    held_out: list[_HeldOut]
    judged_on: dict[str, str]
    trained: dict[str, _Note]


class _Accuracy(_Part):
    epoch: float
    top1: float


class _Result(_Part):
    last: _Accuracy
    best: _Accuracy


class _Run(_Part):
    result: _Result
    curve: list[list[float]]
    settings: dict[str, dict[str, Any]]
    seconds: float
    machine: str


class Runs(_Part):
    """The JSON of a study of classifiers."""

    runs: dict[str, _Run]


def everything_of(page: Path) -> Path:
    """The JSON beside a page."""
    return page.with_suffix("") / f"{page.stem}.json"


def refuse_part(page: Path, work: Workplace | StudentWorkplace) -> None:
    """Keep a page from being replaced by one of a part of its study.

    Args:
        page: that is to be written.
        work: the study, or the part of it that flags leave.

    Raises:
        GanVkdError: the JSON beside the page has results that are not among those of `work`.
    """
    _refuse(page, work, _asked_for(work), "are not asked for: drop --arms, --seeds and the like")


def refuse_loss(page: Path, work: Workplace | StudentWorkplace, found: set[str]) -> None:
    """Keep a page from being replaced by one with fewer results.

    Args:
        page: that is to be written.
        work: the study.
        found: the names of what its folder has.

    Raises:
        GanVkdError: the JSON beside the page has results that are not among them.
    """
    _refuse(page, work, found, "--out has not: take them over by --restore (same flags)")


def _refuse(page: Path, work: Workplace | StudentWorkplace, known: set[str], how: str) -> None:
    if not everything_of(page).is_file():
        return
    gone = sorted(_names(_read(page, work)) - known)
    if gone:
        raise GanVkdError(
            f"{page} has {len(gone)} results, such as {gone[0]}, that {how}, or give another --page"
        )


def restore_results(work: Workplace | StudentWorkplace, page: Path) -> tuple[int, int]:
    """Write the results that a page's JSON has, and the study's folder has not, into the folder.

    Training and reports go on from there as if they had been made there. Networks are not among
    them: a teacher is trained again for students that wait for it; a checkpoint can't be judged
    again. A checkpoint or a run that the folder has of its own stays as it is.

    Args:
        work: the study, or a part of it.
        page: whose JSON is read.

    Returns:
        How many results were asked for and are in the JSON, and how many files were written.

    Raises:
        GanVkdError: there is no such file, it is damaged, or its results are of other settings.
    """
    found = _read(page, work)
    files = (_fits if isinstance(work, StudentWorkplace) else _figures)(work, found)
    ready = {
        file: json.dumps(content, indent=1) + "\n"
        for file, content in files.items()
        if not file.is_file()
    }
    for file, text in ready.items():
        with replacing(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return len(_names(found) & _asked_for(work)), len(ready)


def _names(found: Everything) -> set[str]:
    """Of all checkpoints and judgements, or of all runs."""
    return {*found.get("trained", ()), *found.get("judged_on", ()), *found.get("runs", ())}


def _asked_for(work: Workplace | StudentWorkplace) -> set[str]:
    """The names of all that a study may have."""
    units, study = work.study.units(), work.study
    if isinstance(work, StudentWorkplace):
        return {str(unit) for unit in units}
    places = [f"{unit}/{number}" for unit in units for number in study.checkpoints]
    return {*places, *(f"{place}/{name}" for place in places for name in study.extractors)}


def _read(page: Path, work: Workplace | StudentWorkplace) -> Everything:
    path, kind = everything_of(page), Runs if isinstance(work, StudentWorkplace) else Figures
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        kind.model_validate(found)
        return found
    except FileNotFoundError:
        raise GanVkdError(f"--page {page}: no results beside it ({path}: no such file)") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where, what = ".".join(map(str, problem["loc"])), problem["msg"]
        reason = f"{where or 'all of it'}: {what}"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise GanVkdError(
        f"{path}: not such a study's JSON ({reason}): mend or remove it, or name another --page"
    )


def _fits(work: StudentWorkplace, found: Everything) -> Files:
    files = {}
    for unit in work.study.units():
        run = found["runs"].get(str(unit))
        if run is None or _has(work, unit):
            continue
        if run["settings"] != settings_of(work.recipe(unit)):
            raise GanVkdError(f"--page: {unit} has other settings than in the study")
        files[work.result(unit)] = run
    return files


def _has(work: StudentWorkplace, unit: Fit) -> bool:
    return work.network(unit).is_file() or (work.folder(unit) / "run").is_dir()


def _figures(work: Workplace, found: Everything) -> Files:
    """Judgements before notes, which say that a checkpoint is there."""
    study, page, files = work.study, found["study"], {}
    if page["num"] != study.num or not study.datasets.items() <= page["datasets"].items():
        raise GanVkdError("--page: its results are of other shares of data, or other counts")
    metrics = _metrics(found)
    for unit in study.units():
        for number in study.checkpoints:
            note = found["trained"].get(f"{unit}/{number}")
            if note is None or _has_other(work, unit, number, note):
                continue
            if group := other_settings(note["settings"], work.recipe(unit, number)):
                raise GanVkdError(
                    f"--page: {unit}/{number} has other settings than in the study ({group})"
                )
            for name in study.extractors:
                if (place := f"{unit}/{number}/{name}") in found["judged_on"]:
                    files[work.judgement(unit, number, name)] = {
                        "extractor": name,
                        "metrics": metrics.get(place, {}),
                        "held_out": _real(work, unit, name, found),
                        "machine": found["judged_on"][place],
                    }
            files[work.notes(unit, number)] = note
    return files


def _metrics(found: Everything) -> dict[str, dict[str, dict]]:
    """Of each judgement, by its name."""
    metrics: dict[str, dict] = {}
    for row in found["figures"]:
        for arm, by_seed in row["values"].items():
            for seed, value in by_seed.items():
                unit = f"{Path(row['dataset']).stem}/{arm}/{seed}"
                place = f"{unit}/{row['iteration']}/{row['extractor']}"
                metrics.setdefault(place, {})[row["metric"]] = {"value": value}
    return metrics


def _has_other(work: Workplace, unit: Unit, number: int, note: dict) -> bool:
    """Whether the folder has a checkpoint of its own, trained apart from the page's."""
    notes = work.notes(unit, number)
    if notes.is_file():
        return read_file(notes) != note
    return work.generator(unit, number).is_file()


def _real(work: Workplace, unit: Unit, extractor: str, found: Everything) -> dict | None:
    """Held-out real images' metrics, which stand beside the baseline's."""
    metrics = {
        row["metric"]: {"value": row["value"]}
        for row in found["held_out"]
        if (row["dataset"], row["extractor"]) == (unit.dataset, extractor)
    }
    return {"metrics": metrics} if metrics and unit.arm == work.study.baseline else None
