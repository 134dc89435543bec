"""TensorBoard's event file, written in step with the loop.

torch's SummaryWriter writes from a thread of its own, where a full disk is a traceback that nobody
can catch.
"""

import os
import socket
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


class EventFile:
    """Scalars of one session of training; a context manager.

    Args:
        folder: the run's.
        start: iterations done before; TensorBoard forgets what older files say after them.
    """

    def __init__(self, folder: Path, start: int):
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self._records = RecordWriter((folder / name).open("wb"))
        self._write(file_version="brain.Event:2")
        self._write(step=start, session_log=SessionLog(status=SessionLog.START))

    def __enter__(self) -> "EventFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._records.close()

    def add(self, iteration: int, values: dict[str, float]) -> None:
        """Write one log line's values.

        Raises:
            OSError: the disk is full.
        """
        entries = [Summary.Value(tag=name, simple_value=v) for name, v in values.items()]
        self._write(step=iteration, summary=Summary(value=entries))

    def _write(self, **fields: object) -> None:
        self._records.write(Event(wall_time=time.time(), **fields).SerializeToString())
        self._records.flush()
