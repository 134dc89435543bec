"""Faults on purpose: writes that fail, files that may not grow, processes that die.

As a program, `python tests/faults.py FAULT COMMAND...` runs gan-vkd's COMMAND with a fault:
`kill-at=N` dies by SIGKILL in the middle of iteration N (5 or later: those before are timed on
copies, too), `slow-save` takes a minute for every checkpoint.
"""

import contextlib
import errno
import os
import resource
import signal
import sys
import time
from pathlib import Path

ENOSPC = (errno.ENOSPC, os.strerror(errno.ENOSPC))


class FailingWrites:
    """Counts what puts something on the disk, and lets one of them fail as on a full disk.

    Args:
        patch: pytest's monkeypatch.
        failing: the number, from 1, of the write that fails, halfway; 0 for none.
    """

    def __init__(self, patch, failing: int):
        from gan_vkd import tensors

        self.count, self._failing = 0, failing
        for owner, name in (
            (Path, "mkdir"),
            (Path, "write_text"),
            (Path, "rename"),
            (Path, "replace"),
            (os, "fsync"),
            (tensors, "save_file"),
        ):
            patch.setattr(owner, name, self._counted(getattr(owner, name), name))

    def _counted(self, real, name: str):
        def call(*args, **kwargs):
            self.count += 1
            if self.count == self._failing:
                if name == "write_text":
                    real(args[0], args[1][: len(args[1]) // 2])
                if name == "save_file":
                    args[1].write_bytes(b"\0" * 1000)
                raise OSError(*ENOSPC)
            return real(*args, **kwargs)

        return call


@contextlib.contextmanager
def largest_file(size: int):
    """The system lets no file of this process grow beyond `size` bytes, as a quota would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def kill_at(number: int) -> None:
    from gan_vkd.gan.task import GanTask

    real = GanTask.iterate

    def iterate(self, iteration, measure=False):
        if iteration == number:
            real(self, iteration, measure)
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, iteration, measure)

    GanTask.iterate = iterate


def slow_save() -> None:
    from gan_vkd.engine.checkpoints import Checkpoints

    Checkpoints.save = lambda *_: time.sleep(60)


if __name__ == "__main__":
    fault, _, value = sys.argv.pop(1).partition("=")
    {"kill-at": lambda: kill_at(int(value)), "slow-save": slow_save}[fault]()
    from gan_vkd.cli import main

    main()
