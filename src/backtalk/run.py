"""Runs: the seed, budget, cache and progress reports that a method works with.

A run that exceeds its budget ends with what it has. Run again with a larger one, it pays for no
request twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from backtalk.closable import Closable
from backtalk.models import Budget, Cost, Ledger, ResponseCache, wrap_model
from backtalk.models.protocol import Model
from backtalk.models.wrappers.budget import Prices
from backtalk.models.wrappers.ledger import ModelRole


class Progress(Protocol):
    """Callback for progress reports."""

    def __call__(self, task: str, done: int, total: int | None, note: str = "") -> None:
        """Receive a report.

        Parameters
        ----------
        task : str
            Name of the task.
        done : int
            Number of units done.
        total : int or None
            Number of units in all; ``None`` if unknown. A finished task reports ``done == total``.
        note : str, default ""
            Latest measurements, in a few words.
        """


class StepReporter(Protocol):
    """Callback by which a task reports the number of units done."""

    def __call__(self, now: int, note: str = "") -> None:
        """Report the number of units done and the latest measurements."""


def _ignore(task: str, done: int, total: int | None, note: str = "") -> None:
    """Discard a report."""


class Run(Closable):
    """Seed, budget, cache and progress reports of one piece of work.

    Parameters
    ----------
    folder : Path, optional
        Folder for responses and costs, so that the run can be resumed. Default: in memory.
    seed : int, default 0
        Random seed of everything that is sampled.
    budget : Budget, optional
        Limits for all models of the run together.
    prices : Prices, optional
        Prices of the models, required if money is limited.
    progress : Progress, optional
        Callback for progress reports.

    Examples
    --------
    >>> from backtalk.models.fakes import FunctionModel
    >>> with Run(seed=1, budget=Budget(calls=10)) as run:
    ...     model = run.wrap(FunctionModel(lambda request: "Yes.", name="yes"))
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        seed: int = 0,
        budget: Budget | None = None,
        prices: Prices | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.progress = progress or _ignore
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._cache = ResponseCache(None if folder is None else folder / "responses.db")
        self._ledger = Ledger(
            budget, prices=prices, path=None if folder is None else folder / "costs.jsonl"
        )

    def wrap(self, model: Model, *, role: ModelRole = "task") -> Model:
        """Return the model with the run's cache and budget."""
        return wrap_model(model, cache=self._cache, ledger=self._ledger, role=role)

    @property
    def spent(self) -> Cost:
        """Cost so far, including earlier parts of a resumed run."""
        return self._ledger.spent

    @contextmanager
    def task(self, name: str, total: int | None = None) -> Iterator[StepReporter]:
        """Report the progress of a task.

        Yields
        ------
        StepReporter
            Callback that the block calls with the number of units done.
        """
        done = 0

        def report(now: int, note: str = "") -> None:
            nonlocal done
            done = now
            self.progress(name, now, total, note)

        self.progress(name, 0, total)
        yield report
        self.progress(name, total or done, total or done)

    def close(self) -> None:
        """Close the files of the run."""
        self._cache.close()
        self._ledger.close()
