"""What the exit codes mean."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit code of a command."""

    DONE = 0
    ERROR = 1
    """Something that the user can mend; the message says how."""
    USAGE = 2
    """The command was called wrongly."""
    BAD_ROWS = 3
    """More rows of an import were bad than allowed. The good ones are in."""
    REFUSED = 4
    """The gate refused a promotion."""
    BUDGET = 5
    """The budget was spent. Called again with more, the command goes on where it ended."""
    BUG = 70
    """An error of Backtalk's own."""
    INTERRUPTED = 130
