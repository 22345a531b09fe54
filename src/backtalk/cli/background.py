"""Runs a background worker until a signal ends it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from pydantic import ValidationError

from backtalk.cli.output import note, progress_bars
from backtalk.feedback.record import record_error
from backtalk.learn.background import WatchSpec, Worker
from backtalk.models import Budget, load_prices
from backtalk.store import Store


def run_worker(
    store: Store,
    spec: Mapping[str, Any],
    *,
    every: int,
    interval: float | None,
    once: bool,
    budget: Budget | None,
    prices: Path | None,
) -> None:
    """Learn as feedback arrives; SIGTERM or SIGINT ends it after the current step.

    Parameters
    ----------
    store : Store
        Store to watch.
    spec : Mapping[str, Any]
        Fields of the :class:`~backtalk.learn.background.WatchSpec`.
    every : int
        Number of new feedback items that start a round.
    interval : float or None
        Age of new feedback, in seconds, that starts a round.
    once : bool
        If true, run the rounds that are due and return.
    budget : Budget or None
        Limits of each round.
    prices : Path or None
        File of prices.

    Raises
    ------
    RecordError
        If the specification is not valid.
    """
    try:
        watch = WatchSpec(**spec)
    except ValidationError as error:
        raise record_error("the specification of what to learn", error) from None
    with progress_bars() as progress:
        worker = Worker(
            store,
            watch,
            every=every,
            interval=interval,
            budget=budget,
            prices=None if prices is None else load_prices(prices),
            report=note,
            progress=progress,
        )
        with stopped_by_signals(worker.stop):
            worker.run(once=once)


@contextmanager
def stopped_by_signals(stop_worker: Callable[[], None]) -> Iterator[None]:
    """Stop a worker at the first signal; a second one ends the process at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, previous[signal.Signals(number)])
        stop_worker()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
