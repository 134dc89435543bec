"""Run directories: their names, their lock, their logs."""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from gan_vkd.engine.checkpoints import Checkpoints
from gan_vkd.errors import GanVkdError
from gan_vkd.paths import replacing

RUNS = Path("runs")


def newest_run(runs: Path = RUNS) -> Path:
    """The newest run below `runs`: the one whose config was written last.

    Raises:
        GanVkdError: when there is none.
    """
    configs = sorted(runs.glob("*/config.yaml"), key=lambda path: path.stat().st_mtime_ns)
    if not configs:
        raise GanVkdError(f"no run in {runs}/: name one, or train one with gan-vkd train")
    return configs[-1].parent


def create_run_dir(name: str, config: str, wanted: Path | None) -> Path:
    """Make the run's directory and write its config.

    Args:
        name: follows the number in a directory's name.
        config: the complete recipe, YAML.
        wanted: the directory; None for the next number under runs/.

    Raises:
        GanVkdError: `wanted` exists, or nothing can be made there.
    """
    try:
        path = _numbered(name) if wanted is None else _named(wanted)
        write_config(path, config)
    except OSError as error:
        raise GanVkdError(f"--run-dir: cannot create the run directory ({error})") from None
    return path


def write_config(run: Path, config: str) -> None:
    """Write the run's complete recipe, YAML."""
    with replacing(run / "config.yaml") as temporary:
        temporary.write_text(config, encoding="utf-8")


def _named(path: Path) -> Path:
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise GanVkdError(
            f"--run-dir {path}: already exists: continue it with --resume, or choose another name"
        ) from None
    return path


def _numbered(name: str) -> Path:
    RUNS.mkdir(exist_ok=True)
    while True:
        taken = [int(match[0]) for p in RUNS.iterdir() if (match := re.match(r"\d+", p.name))]
        path = RUNS / f"{max(taken, default=-1) + 1:05d}-{name}"
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
        self.curve_path = path / "curve.jsonl"
        self.best_path = path / "best.safetensors"
        self.checkpoints = Checkpoints(path / "checkpoints")

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run alone; the kernel lets go of it however the process ends.

        Raises:
            GanVkdError: another process trains here, or nothing can be written.
        """
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise GanVkdError(
                f"--run-dir {self.path}: another process is training this run: wait, or stop it"
            ) from None
        except OSError as error:
            raise GanVkdError(
                f"--run-dir {self.path}: can't be written ({error.strerror}): make it writable"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def rewind(self, iteration: int) -> tuple[list[dict], list[dict]]:
        """Go back to `iteration`: remove later records and temporary files of dead writers.

        Only under the lock: then no temporary file is anybody's.

        Returns:
            The log's lines up to `iteration`, and the curve's.
        """
        for folder in (self.path, self.checkpoints.folder):
            for left in folder.glob(".*.tmp"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        self.checkpoints.rewind(iteration)
        return _rewind(self.log_path, iteration), _rewind(self.curve_path, iteration)


def read_lines(path: Path) -> list[dict]:
    """The whole lines of a log, each with its `iteration`; none where there is no file."""
    if not path.exists():
        return []
    lines = [_log_line(text) for text in path.read_bytes().splitlines()]
    return [line for line in lines if line is not None]


def _rewind(path: Path, iteration: int) -> list[dict]:
    kept = [line for line in read_lines(path) if line["iteration"] <= iteration]
    if path.exists():
        with replacing(path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
    return kept


def _log_line(text: bytes) -> dict | None:
    """One line of the log; None if it was cut short or is something else."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    known = isinstance(line, dict) and isinstance(line.get("iteration"), int)
    return line if known else None
