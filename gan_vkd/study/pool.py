"""Processes side by side, each of one thread, with one good end for all of them."""

import os
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from gan_vkd.engine.loop import Interruption

OFTEN = 0.1  # seconds between two looks at the processes


@dataclass(frozen=True)
class Ended:
    """A process that is over: what it was for, its exit code, what it said on standard error."""

    name: str
    code: int
    said: str


def side_by_side(
    commands: dict[str, list[str]],
    *,
    jobs: int,
    deadline: float,
    environment: dict[str, str],
    ended: Callable[[Ended], None],
) -> bool:
    """Run commands, `jobs` at a time, until all are over, the time is up, or a signal comes.

    At the deadline, and at a SIGINT or SIGTERM, each process gets one SIGTERM, and is waited for.
    The processes have a session of their own: Ctrl-C in a terminal reaches them through this one.

    Args:
        commands: by name, in this order.
        jobs: how many at a time.
        deadline: on `time.monotonic`'s clock.
        environment: laid over this process's.
        ended: told of every process that is over.

    Returns:
        Whether all were let run to their end.
    """
    waiting, running = deque(commands.items()), {}
    stopping = False
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    with Interruption() as interruption:
        while waiting or running:
            if not stopping and (interruption.signal or time.monotonic() >= deadline):
                stopping = True
                waiting.clear()
                for process, _ in running.values():
                    process.terminate()
            while waiting and len(running) < jobs:
                name, command = waiting.popleft()
                running[name] = _start(command, environment)
            for name, (process, errors) in list(running.items()):
                if process.poll() is not None:
                    del running[name]
                    ended(Ended(name, process.returncode, _read(errors)))
            time.sleep(OFTEN)
    return not stopping


def _start(command: list[str], environment: dict[str, str]) -> tuple[subprocess.Popen, IO[bytes]]:
    errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `_read`)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env=environment,
        start_new_session=True,
    )
    return process, errors


def _read(errors: IO[bytes]) -> str:
    with errors:
        errors.seek(0)
        return errors.read().decode(errors="replace")
