"""The one exception that means: the user can mend this."""


class GanVkdError(Exception):
    """An error a user can cause; its message is one line naming the flag or file and the fix.

    The commands print it without a traceback and exit with code 2.
    """


class EndedElsewhere(GanVkdError):
    """Another process of the same run has ended with an error, and says so itself."""
