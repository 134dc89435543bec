"""Run directories: their names, their checkpoints, their logs."""

import contextlib
import json
import os
import re
import shutil
from pathlib import Path

import torch

from gan_vkd.config import Recipe, dump
from gan_vkd.errors import GanVkdError
from gan_vkd.paths import flush, replacing
from gan_vkd.tensors import UNREADABLE, read_tensors, write_tensors

RUNS = Path("runs")
CHECKPOINTS_KEPT = 3


def newest_run(runs: Path = RUNS) -> Path:
    """The newest run below `runs`: the one whose config was written last.

    Raises:
        GanVkdError: when there is none.
    """
    configs = sorted(runs.glob("*/config.yaml"), key=lambda path: path.stat().st_mtime_ns)
    if not configs:
        raise GanVkdError(f"no run under {runs}/: name one, or start with gan-vkd train")
    return configs[-1].parent


def create_run_dir(recipe: Recipe, wanted: Path | None) -> Path:
    """Make the run's directory and write its config; without `wanted`, the next number.

    Raises:
        GanVkdError: `wanted` exists, or nothing can be made there.
    """
    try:
        path = _numbered(recipe) if wanted is None else _named(wanted)
        write_config(path, recipe)
    except OSError as error:
        raise GanVkdError(f"--run-dir: can't make the run's directory ({error})") from None
    return path


def write_config(run: Path, recipe: Recipe) -> None:
    """Write the run's complete recipe."""
    with replacing(run / "config.yaml") as temporary:
        temporary.write_text(dump(recipe))


def _named(path: Path) -> Path:
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise GanVkdError(
            f"--run-dir {path}: exists: go on with --resume, or choose another name"
        ) from None
    return path


def _numbered(recipe: Recipe) -> Path:
    dataset = re.sub(r"[^\w.-]+", "-", Path(recipe.data.dataset).stem) or "images"
    method = "biggan" if recipe.teacher.spec == "none" else "vkd"
    RUNS.mkdir(exist_ok=True)
    while True:
        taken = [int(match[0]) for p in RUNS.iterdir() if (match := re.match(r"\d+", p.name))]
        number = max(taken, default=-1) + 1
        path = RUNS / f"{number:05d}-{dataset}-{recipe.data.subset:g}-{method}"
        with contextlib.suppress(FileExistsError):  # another process was faster
            path.mkdir()
            return path


class RunDir:
    """The files of one run.

    Args:
        path: the directory, which exists.
    """

    def __init__(self, path: Path):
        self.path = path
        self.samples = path / "samples"
        self.log_path = path / "log.jsonl"
        self._checkpoints = path / "checkpoints"

    def save_checkpoint(self, iteration: int, state: dict[str, torch.Tensor]) -> None:
        """Write a checkpoint under a temporary name, flush it, rename it; keep the last three."""
        final = self._checkpoints / f"{iteration:08d}"
        temporary = self._checkpoints / f".{final.name}.{os.getpid()}.tmp"
        temporary.mkdir(parents=True)
        try:
            write_tensors(temporary / "state.safetensors", state, {})
            with replacing(temporary / "state.json") as file:
                file.write_text(json.dumps({"iteration": iteration}))
            if final.exists():  # the same iteration, saved again
                shutil.rmtree(final)
            temporary.rename(final)
            flush(self._checkpoints)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        for old in self._whole()[:-CHECKPOINTS_KEPT]:
            shutil.rmtree(old)

    def load_checkpoint(self) -> tuple[int, dict[str, torch.Tensor]] | None:
        """The newest checkpoint: its iteration and state; None where there is none.

        Raises:
            GanVkdError: the newest one can't be read.
        """
        whole = self._whole()
        if not whole:
            return None
        newest = whole[-1]
        try:
            iteration = json.loads((newest / "state.json").read_text())["iteration"]
            return iteration, read_tensors(newest / "state.safetensors")[0]
        except UNREADABLE as error:
            raise GanVkdError(
                f"{newest}: damaged ({error}): remove it to go on from the one before"
            ) from None

    def _whole(self) -> list[Path]:
        """Checkpoints, oldest first; temporary ones do not count."""
        if not self._checkpoints.is_dir():
            return []
        return sorted(p for p in self._checkpoints.iterdir() if p.name.isdigit())

    def truncate_log(self, iteration: int) -> None:
        """Drop the log's lines after `iteration`, and a line cut short: they come again."""
        if not self.log_path.exists():
            return
        kept = []
        for line in self.log_path.read_text().splitlines():
            with contextlib.suppress(ValueError):
                if json.loads(line)["iteration"] <= iteration:
                    kept.append(line + "\n")
        with replacing(self.log_path) as temporary:
            temporary.write_text("".join(kept))
