"""Checkpoints: whole or not there, proven by a manifest, the newest whole one found.

A checkpoint is a folder, `00000400/`, of `state.safetensors` and `manifest.json`, which names every
file with its size and SHA-256. It is written under a temporary name, flushed and renamed, so what
bears the final name was once whole; the manifest tells whether it still is.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import torch

from gan_vkd.errors import GanVkdError
from gan_vkd.paths import flush, replacing
from gan_vkd.tensors import UNREADABLE, read_tensors, write_tensors

FORMAT = "gan_vkd-checkpoint-2"
EARLIER = ("gan_vkd-checkpoint-1",)
KEPT = 3
STATE, MANIFEST = "state.safetensors", "manifest.json"
MANIFEST_LIMIT = 2**16  # bytes; ours have about 200


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they are, or will be.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def iterations(self) -> list[int]:
        """Of the checkpoints that are there, ascending; unfinished ones do not count."""
        if not self.folder.is_dir():
            return []
        return sorted(int(p.name) for p in self.folder.iterdir() if p.name.isdecimal())

    def save(self, iteration: int, state: dict[str, torch.Tensor]) -> None:
        """Write a checkpoint and keep the last three; one of that iteration, if any, stays.

        (It has the same bits: a run's state depends on nothing but the iteration.)

        Raises:
            OSError: it can't be written; those before it stay.
        """
        final = self._path(iteration)
        if final.exists():
            return
        temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
        temporary.mkdir(parents=True)
        try:
            write_tensors(temporary / STATE, state, {})
            with replacing(temporary / MANIFEST) as file:
                file.write_text(json.dumps(_manifest(iteration, temporary / STATE), indent=2))
            temporary.rename(final)
            flush(self.folder)
            flush(self.folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        for old in self.iterations()[:-KEPT]:
            self._remove(old)

    def load_newest(self) -> tuple[int, dict[str, torch.Tensor], list[str]] | None:
        """The newest whole checkpoint; None where there is none at all.

        Returns:
            Its iteration, its state, and a line for each newer one that is damaged.

        Raises:
            GanVkdError: there are some, and none is whole, or one is of an earlier version.
        """
        damaged = []
        for iteration in reversed(self.iterations()):
            try:
                return iteration, self._read(iteration), damaged
            except UNREADABLE as error:
                damaged.append(f"{self._path(iteration)} is damaged ({_one_line(error)})")
        if damaged:
            raise GanVkdError(
                f"{damaged[0]}, and no other checkpoint is whole: start a new run, or remove "
                f"{self.folder} to restart this one at iteration 0"
            )
        return None

    def rewind(self, iteration: int) -> None:
        """Remove checkpoints newer than `iteration`."""
        for newer in [i for i in self.iterations() if i > iteration]:
            self._remove(newer)

    def _read(self, iteration: int) -> dict[str, torch.Tensor]:
        folder = self._path(iteration)
        if (folder / MANIFEST).stat().st_size > MANIFEST_LIMIT:
            raise ValueError(f"{MANIFEST} is too large")
        claimed = json.loads((folder / MANIFEST).read_bytes())
        if isinstance(claimed, dict) and claimed.get("format") in EARLIER:
            raise GanVkdError(
                f"--resume: {folder} is of an earlier version of gan_vkd and cannot be "
                "resumed: start a new run (gan-vkd sample and eval still take the old one)"
            )
        if claimed != _manifest(iteration, folder / STATE):
            raise ValueError(f"{MANIFEST} names another size or SHA-256 than {STATE} has")
        return read_tensors(folder / STATE)[0]

    def _path(self, iteration: int) -> Path:
        return self.folder / f"{iteration:08d}"

    def _remove(self, iteration: int) -> None:
        """Under another name first, so that a half removed one bears no checkpoint's name."""
        path = self._path(iteration)
        shutil.rmtree(path.rename(path.with_name(f".{path.name}.{os.getpid()}.tmp")))


def _manifest(iteration: int, state: Path) -> dict:
    with state.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    files = {state.name: {"bytes": state.stat().st_size, "sha256": digest}}
    return {"format": FORMAT, "iteration": iteration, "files": files}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
