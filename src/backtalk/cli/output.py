"""Output of commands: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from rich.progress import TaskID

    from backtalk import run
    from backtalk.stats.estimate import Estimate

_PIPED_WIDTH = 240
"""Width in characters of tables that do not go to a terminal, which are not wrapped."""

results = Console(
    highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPED_WIDTH
)
notes = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str = "") -> None:
    """Print a line of the result."""
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


@contextmanager
def progress_bars() -> Iterator[run.Progress]:
    """Show a progress bar for each task while the block runs, on a terminal only.

    Yields
    ------
    Progress
        Function of the task's name, the number of steps done, their total, and a note.
    """
    if not notes.is_terminal:
        yield _ignore
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=notes,
        transient=True,
    )
    known: dict[str, TaskID] = {}

    def show(task: str, done: int, total: int | None, note: str = "") -> None:
        if task not in known:
            known[task] = bars.add_task(task, total=total)
        text = f"{task}: {note}" if note else task
        bars.update(known[task], completed=done, total=total, description=text)

    with bars:
        yield show


def _ignore(task: str, done: int, total: int | None, note: str = "") -> None:
    """Show no progress, as standard error is not a terminal."""
