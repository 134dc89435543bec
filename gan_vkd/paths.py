"""Where files live, and how they are written: whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_dir


def cache_dir() -> Path:
    """The user's cache folder for gan_vkd (not created here)."""
    return Path(user_cache_dir("gan_vkd", appauthor=False))


def expanded(text: str | Path) -> Path:
    """The path with `~` or `~name` at its start replaced by that user's home, if there is one.

    Otherwise it stays as it is, as in a shell, to be missed like any path that does not exist.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:  # there is no such user
        return Path(text)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there, flushed, when the block succeeds.

    A block that fails, or a process that dies, leaves `path` as it was. Its folder is made.

    Raises:
        OSError: it can't be written; the error names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        written = error.filename is None and error.errno is not None  # by write(), not by open()
        if written or error.filename in (temporary, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Ask the system to put a file's (or folder's) content on the disk.

    Windows opens no folders; there a rename is left to the file system.
    """
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
