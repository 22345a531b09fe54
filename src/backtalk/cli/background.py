"""Learning in the background, until a signal says to end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from pydantic import ValidationError

from backtalk.cli.output import note, progress_bars
from backtalk.errors import BacktalkError
from backtalk.feedback.record import record_error
from backtalk.learn.background import WatchSpec, Worker
from backtalk.models import Budget, load_prices
from backtalk.store import Store


def keep_learning(
    store: Store,
    watch: WatchSpec,
    *,
    every: int,
    interval: float | None,
    once: bool,
    budget: Budget | None,
    prices: Path | None,
) -> None:
    """Learn as feedback comes in; SIGTERM and the interrupt key end it after the current step.

    Parameters
    ----------
    store, watch, every, interval, once, budget
        As for :class:`~backtalk.learn.background.Worker`.
    prices : Path or None
        The file of prices.
    """
    with progress_bars() as progress:
        watcher = Worker(
            store,
            watch,
            every=every,
            interval=interval,
            budget=budget,
            prices=None if prices is None else load_prices(prices),
            tell=note,
            progress=progress,
        )
        with _ended_by_signals(watcher):
            watcher.run(once=once)


def watch_of(**fields: Any) -> WatchSpec:
    """Return what is learned; raise ``RecordError`` for what is not valid."""
    try:
        return WatchSpec(**fields)
    except ValidationError as error:
        raise record_error("what is to be learned", error) from None


def refuse_without_watch(**given: object) -> None:
    """Raise ``BacktalkError`` for options that would do nothing."""
    for name, value in given.items():
        if value is not None and value is not False:
            raise BacktalkError(
                f"--{name} does nothing without --watch",
                "Give --watch; a single policy is evaluated and promoted by commands of their own",
            )


@contextmanager
def _ended_by_signals(watcher: Worker) -> Iterator[None]:
    """Stop the watcher at the first signal; a second one ends the process at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, former[signal.Signals(number)])
        watcher.stop()

    former = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
