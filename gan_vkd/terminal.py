"""Text from anywhere (class names, file names, headers), made harmless for a terminal."""


def printable(text: str) -> str:
    r"""The text with every character that does not print as itself written as an escape.

    Control characters (so escape sequences too, and line ends), the marks that turn the direction
    of writing, and undecodable bytes of file names become `\x1b`, `\u202e`, `\udcff`.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
