"""The two stages of a study, a unit in a process, the processes side by side."""

import os
import signal
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from gan_vkd.engine.loop import Outcome
from gan_vkd.errors import GanVkdError
from gan_vkd.paths import replacing
from gan_vkd.progress import Reporter
from gan_vkd.study.pool import Ended, side_by_side

UNFINISHED = 75  # exit code of a unit whose time was up; the system's EX_TEMPFAIL
STOPPED = {UNFINISHED}
STOPPED |= {code for s in (signal.SIGINT, signal.SIGTERM) for code in (-s, 128 + s)}


class Work(Protocol):
    """A study and the places of its files: of generators, or of classifiers."""

    study: Any  # its `units()` are what is done, each in a process

    def is_trained(self, unit: Any) -> bool:
        """Whether nothing is left to train."""

    def to_judge(self, unit: Any) -> list:
        """What is trained and not judged."""

    def failure(self, unit: Any) -> Path:
        """Why a unit failed, in one line."""


def run_here(
    work: Work,
    name: str,
    stages: Sequence[Callable[..., Outcome | None]],
    device: torch.device,
    reporter: Reporter,
) -> int:
    """Do one unit's stages in this process; returns the exit code.

    Args:
        work: the study.
        name: of the unit.
        stages: stage(work, unit, device=..., reporter=...) → how it ended; None: done.
        device, reporter: for them.

    Raises:
        GanVkdError: no such unit; or why it failed, which is noted in its folder too.
    """
    units = {str(unit): unit for unit in work.study.units()}
    if name not in units:
        raise GanVkdError(f"--unit {name}: none of {', '.join(units)}")
    unit = units[name]
    try:
        for stage in stages:
            outcome = stage(work, unit, device=device, reporter=reporter)
            if outcome is not None and outcome.reason != "done":
                return 128 + outcome.signal if outcome.signal else UNFINISHED
    except Exception as error:
        _note_failure(work, unit, str(error) or type(error).__name__)
        raise
    work.failure(unit).unlink(missing_ok=True)
    return 0


def run_side_by_side(
    work: Work,
    stages: Sequence[str],
    commands: Mapping[Hashable, list[str]],
    jobs: int,
    deadline: float,
    reporter: Reporter,
) -> int:
    """Do the stages of all units that have them not behind them, a process each.

    Args:
        work: the study.
        stages: `train`, `judge`, or both.
        commands: what does it, a unit.
        jobs: processes side by side.
        deadline: on `time.monotonic`'s clock.
        reporter: told of every unit that is over.

    Returns:
        0 where all is done, 1 where a unit failed or was stopped.
    """
    todo = {
        str(unit): (unit, command)
        for unit, command in commands.items()
        if not all(_is_done(work, unit, stage) for stage in stages)
    }
    what = " and ".join(stages)
    reporter.say(f"{what}: {len(commands) - len(todo)} of {len(commands)} are done")
    over, bad = 0, 0

    def ended(process: Ended) -> None:
        nonlocal over, bad
        over, bad = over + 1, bad + (process.code != 0)
        if process.code == 0:
            line = "done"
        elif process.code in STOPPED:
            line = "stopped; the same command goes on with it"
        else:
            said = [f"exit code {process.code}", *process.said.strip().splitlines()]
            line = f"failed: {said[-1].removeprefix('Error: ')}"
            _note_failure(work, todo[process.name][0], line.removeprefix("failed: "))
        reporter.say(f"{over}/{len(todo)} {process.name} {line}")

    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    whole = side_by_side(
        {name: command for name, (_, command) in todo.items()},
        jobs=jobs,
        deadline=deadline,
        environment={"PYTHONPATH": path},
        ended=ended,
    )
    return 0 if whole and not bad else 1


def _is_done(work: Work, unit: Hashable, stage: str) -> bool:
    """Judged is what has no figures to wait for: it may not be trained yet, elsewhere."""
    return work.is_trained(unit) if stage == "train" else not work.to_judge(unit)


def _note_failure(work: Work, unit: Hashable, line: str) -> None:
    with replacing(work.failure(unit)) as temporary:
        temporary.write_text(" ".join(line.split())[:300] + "\n", encoding="utf-8")
