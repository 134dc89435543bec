"""Going on with a run: its newest whole checkpoint, given back to a task."""

from pathlib import Path

import torch

from gan_vkd.engine.run_dir import RunDir
from gan_vkd.engine.task import Task
from gan_vkd.errors import GanVkdError
from gan_vkd.progress import Reporter


def newest_checkpoint(
    run: RunDir, iterations: int, reporter: Reporter
) -> tuple[int, dict[str, torch.Tensor]] | None:
    """The newest whole checkpoint's iteration and state; None where there is none at all.

    Raises:
        GanVkdError: none is whole, or it is of more iterations than are asked for.
    """
    found = run.checkpoints.load_newest()
    if found is None:
        return None
    iteration, state, damaged = found
    if iteration > iterations:
        raise GanVkdError(
            f"--iterations {iterations}: {run.path} is at iteration {iteration} already"
        )
    for line in damaged:
        reporter.say(f"{line}: going back to iteration {iteration:,}")
    return iteration, state


def restore(task: Task, state: dict[str, torch.Tensor], run: Path) -> None:
    """Give a task the state of a run's checkpoint.

    Raises:
        GanVkdError: the state is of another recipe.
    """
    try:
        task.load_state_dict(state)
    except (RuntimeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise GanVkdError(
            f"--resume: the checkpoint does not fit {run}/config.yaml ({reason}): put the run's "
            "own config back"
        ) from None
