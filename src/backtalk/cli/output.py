"""Output of commands: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape

from backtalk.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from backtalk import run
    from backtalk.cli.progress import ProgressBars, ProgressLines
    from backtalk.stats.estimate import Estimate

_PIPED_WIDTH = 240
"""Width in characters of tables that do not go to a terminal, which are not wrapped."""

results = Console(
    highlight=False,
    emoji=False,
    soft_wrap=True,
    width=None if sys.stdout.isatty() else _PIPED_WIDTH,
)
notes = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)


def say(text: str = "") -> None:
    """Print a line of the result."""
    with _above_bars():
        results.print(escape(text))


def say_json(data: Any) -> None:
    """Print the result as one JSON document."""
    results.out(json.dumps(data, indent=1, default=str, ensure_ascii=False))


def say_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()
) -> None:
    """Print a table.

    Parameters
    ----------
    header : sequence of str
        Titles of the columns.
    rows : iterable of sequence of str
        Cells of each row.
    numbers : sequence of int, default ()
        Indices of the columns to align right.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    with _above_bars():
        results.print(table)


def note(text: str) -> None:
    """Print a remark to standard error."""
    notes.print(escape(text), style="dim")


def percent(estimate: Estimate) -> str:
    """Return an estimate with its interval, in percent."""
    return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def number(estimate: Estimate | None, *, signed: bool = False) -> str:
    """Return an estimate with its interval; the empty string for ``None``."""
    if estimate is None:
        return ""
    sign = "+" if signed else ""
    return f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"


_shown: list[ProgressBars | ProgressLines] = []
"""Progress on the screen."""


def _above_bars() -> AbstractContextManager[None]:
    """Return a context in which a result can be printed, without a bar in its way."""
    return _shown[-1].hidden() if _shown else nullcontext()


@contextmanager
def progress_bars() -> Iterator[run.Progress]:
    """Show the progress of tasks while the block runs, on standard error.

    A terminal shows a bar for each task; other output has a line a minute. Ctrl-C ends the command
    with a remark on the position and on resuming.

    Yields
    ------
    Progress
        Function of the task's name, the number of units done, their total, and a note.
    """
    from backtalk.cli.progress import ProgressBars, ProgressLines

    progress = ProgressBars(notes) if notes.is_interactive else ProgressLines(note)
    try:
        with progress.running():
            _shown.append(progress)
            try:
                yield progress
            finally:
                _shown.remove(progress)
    except KeyboardInterrupt as stop:
        during = f" during {progress.current.position}" if progress.current else ""
        note(f"Stopped{during}.")
        for line in getattr(stop, "__notes__", ()):
            note(line)
        note("Give the same command again to go on: finished work is not repeated.")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
