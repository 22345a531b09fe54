"""Progress of long tasks: bars on a terminal, and a line a minute elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

RATE_SECONDS = 120.0
"""Length of the period whose rate gives the estimate of the time that is left."""
FIRST_LINE_SECONDS = 5.0
"""Age of a task at its first line, where there is no terminal."""
LINE_SECONDS = 60.0
"""Seconds between two lines."""
_MAX_NAME = 28
"""Maximum width of a task's name before a bar."""
_MIN_BAR, _MAX_BAR = 6, 30
"""Minimum and maximum width of a bar."""


@dataclass
class TaskProgress:
    """Progress of one task, with an estimate of the time that is left."""

    name: str
    started: float
    """Time of the first report, in seconds."""
    done: int = 0
    total: int | None = None
    note: str = ""
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def update(self, now: float, done: int, total: int | None, note: str) -> None:
        """Take a report.

        Units that are done at the first report have no part in the rate.

        Parameters
        ----------
        now : float
            Time of the report, in seconds.
        done : int
            Number of units done.
        total : int or None
            Number of units in all.
        note : str
            Latest measurements.
        """
        self.done, self.total, self.note = done, total, note
        samples = self._samples
        if len(samples) > 1 and now - samples[-2][0] < 1:
            samples[-1] = now, done
        else:
            samples.append((now, done))
        while len(samples) > 2 and now - samples[1][0] > RATE_SECONDS:
            samples.popleft()

    @property
    def finished(self) -> bool:
        """True if nothing is left to do."""
        return self.total is not None and self.done >= self.total

    def seconds_left(self, now: float) -> float | None:
        """Return the estimated time that is left, in seconds; ``None`` if it is unknown."""
        (first, base), (last, done) = self._samples[0], self._samples[-1]
        if self.total is None or done <= base or last <= first:
            return None
        return max((self.total - done) * (last - first) / (done - base) - (now - last), 0.0)

    @property
    def count(self) -> str:
        """Number of units done, of all if that is known; at most 11 characters."""
        if self.total is None:
            return compact(self.done) if self.done else ""
        return f"{compact(self.done)}/{compact(self.total)}"

    @property
    def position(self) -> str:
        """Name of the task, with the number of units done."""
        if not self.total:
            return self.name
        return f"{self.name}, at {self.done:,} of {self.total:,}"

    def line(self, now: float) -> str:
        """Return the progress as one line of text."""
        parts = [self.count.replace("/", " of ")] if self.count else []
        left = self.seconds_left(now)
        if left is not None:
            parts.append(f"{duration_words(left)} left")
        elif not parts:
            parts.append(f"{duration_words(now - self.started)} so far")
        return f"{self.name}: {', '.join([*parts, *([self.note] if self.note else [])])}"


def compact(number: int) -> str:
    """Return a number in at most five characters.

    >>> compact(9_999), compact(123_456), compact(2_345_678)
    ('9,999', '123k', '2.35M')
    """
    if number < 10_000:
        return f"{number:,}"
    for unit in "kMG":
        number_of_units = number / 1_000
        if number_of_units < 999.5 or unit == "G":
            break
        number = round(number / 1_000)
    return f"{number_of_units:.3g}{unit}"


def clock(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds.

    >>> clock(65), clock(3_700)
    ('1:05', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration_words(seconds: float) -> str:
    """Return a duration in words, to about two digits.

    >>> duration_words(42), duration_words(750), duration_words(8_000)
    ('42 s', '12 min', '2 h 13 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


class ProgressLines:
    """Progress as lines of text, for output that is not a terminal.

    A task has its first line after five seconds, and further lines once a minute. A task with lines
    ends with one. Shorter tasks have none.

    Parameters
    ----------
    write : Callable[[str], None]
        Function that prints a line.
    now : Callable[[], float], default time.monotonic
        Clock, in seconds.
    """

    def __init__(
        self, write: Callable[[str], None], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._now = now
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskProgress] = {}
        self._lines: dict[str, float] = {}
        self.current: TaskProgress | None = None
        """Task of the latest report."""

    def __call__(self, task: str, done: int, total: int | None, note: str = "") -> None:
        """Take a report."""
        with self._lock:
            now = self._now()
            is_new = task not in self._tasks
            progress = self._tasks.setdefault(task, TaskProgress(task, now))
            progress.update(now, done, total, note)
            self.current = progress
            if is_new and done and note:
                self._write(f"{task}: {note}")
            if progress.finished:
                del self._tasks[task]
                if self._lines.pop(task, None) is not None:
                    self._write(f"{task}: done in {duration_words(now - progress.started)}")
                self.current = next(reversed(self._tasks.values()), progress)
        self.write_due()

    def write_due(self) -> None:
        """Print the line of the current task if it is due."""
        with self._lock:
            task, now = self.current, self._now()
            if task is None or task.finished:
                return
            latest = max(self._lines.values(), default=-LINE_SECONDS)
            first_due = task.started + FIRST_LINE_SECONDS
            due = first_due if task.name not in self._lines else latest + LINE_SECONDS
            if now >= due:
                self._lines[task.name] = now
                self._write(task.line(now))

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Print no line while the block prints."""
        with self._lock:
            yield

    @contextmanager
    def running(self) -> Iterator[None]:
        """Print lines while the block runs, also between reports."""
        end = threading.Event()

        def work() -> None:
            while not end.wait(1):
                self.write_due()

        thread = threading.Thread(target=work, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()


class ProgressBars:
    """Progress as one bar for each task under way, within the width of a terminal.

    Parameters
    ----------
    console : Console
        Terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tasks: dict[str, TaskProgress] = {}
        self.current: TaskProgress | None = None
        """Task of the latest report."""
        self._live = Live(
            console=console,
            get_renderable=self.render,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )

    def __call__(self, task: str, done: int, total: int | None, note: str = "") -> None:
        """Take a report."""
        now = time.monotonic()
        is_new = task not in self._tasks
        progress = self._tasks.setdefault(task, TaskProgress(task, now))
        progress.update(now, done, total, note)
        self.current = progress
        if is_new and done and note:
            self._console.print(
                Text(f"{task}: {note}", style="dim"),
                overflow="ellipsis",
                no_wrap=True,
                soft_wrap=False,
            )
        if progress.finished:
            del self._tasks[task]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Show the bars while the block runs."""
        with self._live:
            yield

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Hide the bars while the block prints to the same terminal."""
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def render(self) -> Group:
        """Return the bars of all tasks under way."""
        return Group(*map(_Bar, list(self._tasks.values())))


@dataclass(frozen=True)
class _Bar:
    """One line: name, bar, number of units, time that is left, latest measurements."""

    progress: TaskProgress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        progress, now = self.progress, time.monotonic()
        name = Text(progress.name)
        name.truncate(_MAX_NAME, overflow="ellipsis")
        left = progress.seconds_left(now)
        measured = [
            Text(progress.count, style="progress.download"),
            Text(clock(now - progress.started), style="progress.elapsed")
            if progress.total is None
            else Text(f"ETA {'-:--' if left is None else clock(left)}", style="progress.remaining"),
            Text(progress.note),
        ]
        figures = Text(" ").join(text for text in measured if text)
        room = options.max_width - name.cell_len - 2
        figures.truncate(max(room - _MIN_BAR, 0), overflow="ellipsis")
        bar = ProgressBar(
            progress.total,
            progress.done,
            width=max(min(room - figures.cell_len, _MAX_BAR), 1),
            animation_time=now,
        )
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row(name, bar, figures)
        yield line
