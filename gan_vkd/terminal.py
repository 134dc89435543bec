"""Text for terminals: control characters are removed, and closed streams are tolerated."""

import errno
import io

GONE = (errno.EPIPE, errno.EIO)  # of a pipe that nobody reads, of a terminal that was closed


class _Lasting(io.FileIO):
    """A file descriptor whose reader may go away; later output is dropped."""

    def write(self, data: bytes) -> int:
        """Write, or pretend to. Other errors, such as of a full disk, are raised."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in GONE:
                raise
            return memoryview(data).nbytes


def lasting(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """The same standard stream, which outlives its reader and has an escape for any character."""
    raw = _Lasting(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.isatty(),
        write_through=stream.write_through,
    )


def printable(text: str) -> str:
    r"""The text with every character that does not print as itself written as an escape.

    Control characters (so escape sequences too, and line ends), the marks that turn the direction
    of writing, and undecodable bytes of file names become `\x1b`, `\u202e`, `\udcff`.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
