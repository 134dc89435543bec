"""The user's cache folder: entries by content, used or made again, and never without bound."""

import contextlib
import os
import time
from pathlib import Path

MOST_BYTES = 10 * 2**30
LONGEST_UNUSED = 90 * 86_400  # seconds


def mark_used(entry: Path) -> None:
    """Mark an entry as read: `prune` keeps recent ones. A read-only cache stays as it is."""
    with contextlib.suppress(OSError):
        os.utime(entry)


def prune(folder: Path, keep: Path) -> None:
    """Remove entries unused for 90 days, then the longest unused, down to 10 GiB in total.

    What a process that died left half written goes by the same rule. A process that reads an entry
    meanwhile keeps its content, as an open file does; one that comes later makes it again.

    Args:
        folder: of entries, which are files; folders in it are left alone.
        keep: an entry that stays whatever its size.

    Raises:
        OSError: something can't be removed.
    """
    files = {path: path.stat() for path in folder.iterdir() if path.is_file() and path != keep}
    total = keep.stat().st_size + sum(stat.st_size for stat in files.values())
    oldest = time.time() - LONGEST_UNUSED
    for path, stat in sorted(files.items(), key=lambda item: item[1].st_mtime):
        if stat.st_mtime >= oldest and total <= MOST_BYTES:
            break
        path.unlink(missing_ok=True)
        total -= stat.st_size
