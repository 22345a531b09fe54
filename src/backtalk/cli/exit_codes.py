"""Exit codes of commands."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit code of a command."""

    DONE = 0
    ERROR = 1
    """An error; the message says how to mend it."""
    USAGE = 2
    """Wrong usage of the command line."""
    BAD_ROWS = 3
    """An import rejected more rows than allowed. The others are imported."""
    REFUSED = 4
    """The gate refused a promotion."""
    BUDGET = 5
    """The budget was exceeded. With a larger one, the same command resumes."""
    PENDING = 6
    """Tasks are made, and people have not judged them yet. The same command then goes on."""
    NO_IMPROVEMENT = 7
    """A method looked for something better and found nothing. No policy is saved."""
    BUG = 70
    """A bug in Backtalk."""
    INTERRUPTED = 130
