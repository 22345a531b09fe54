"""Runs: the seed, budget, cache and progress reports that a method works with.

A run that exceeds its budget ends with what it has. Run again with a larger one, it pays for no
request twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from backtalk.closable import Closable
from backtalk.models import Budget, Cost, Ledger, LocalSpec, ResponseCache, wrap_model
from backtalk.models.protocol import Model, Usage
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


class TrainingMonitor(Protocol):
    """Observer of the training of weights."""

    def begin(self, *, tokens: int, steps: int, epoch_ends: Sequence[int]) -> None:
        """Receive the size of the training before its first step.

        Parameters
        ----------
        tokens : int
            Number of tokens of all steps.
        steps : int
            Number of optimiser steps.
        epoch_ends : sequence of int
            Number of finished steps at the end of each epoch.
        """

    def step(self, done: int, metrics: Mapping[str, float], save: Callable[[], LocalSpec]) -> None:
        """Receive the metrics of a step.

        Parameters
        ----------
        done : int
            Number of finished steps.
        metrics : Mapping[str, float]
            Metrics of the last one.
        save : Callable[[], LocalSpec]
            Function that saves the weights of this step among the artifacts.
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
    cache : Path, optional
        File of the responses, which several runs may share. Default: in the folder.
    refresh : bool, default False
        If true, ignore the responses of earlier runs, and replace them by new ones.
    monitor : TrainingMonitor, optional
        Observer of the training of weights.

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
        cache: Path | None = None,
        refresh: bool = False,
        monitor: TrainingMonitor | None = None,
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.progress = progress or _ignore
        self.monitor = monitor
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            cache = cache or folder / "responses.db"
        self._cache = ResponseCache(cache, refresh=refresh)
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

    @property
    def requested(self) -> int:
        """Number of distinct completions that were requested, those from the cache included.

        It is the same in a run that resumes as in one that was not killed.
        """
        return len(self._cache.requested)

    @property
    def is_resumable(self) -> bool:
        """True if the responses are in a file, so that no later run pays for them again."""
        return self._cache.path is not None

    @property
    def budget(self) -> Budget:
        """Limits for all models of the run together."""
        return self._ledger.budget

    def require(self, model: str, bounds: Sequence[Usage]) -> None:
        """Raise an error if some calls cannot fit into what is left of the budget.

        Parameters
        ----------
        model : str
            Name of the model.
        bounds : sequence of Usage
            Maximum usage of each call. All calls count, and the tokens of the largest.

        Raises
        ------
        BudgetExceeded
            If the budget is too small.
        """
        self._ledger.require(model, bounds)

    def money(self, model: str, usage: Usage) -> Decimal | None:
        """Return the cost of a usage of a model; ``None`` if its price is not known."""
        price = self._ledger.prices.get(model)
        return None if price is None else price.cost(usage)

    @contextmanager
    def task(
        self, name: str, total: int | None = None, *, done: int = 0, note: str = ""
    ) -> Iterator[StepReporter]:
        """Report the progress of a task.

        Parameters
        ----------
        name : str
            Name of the task.
        total : int, optional
            Number of units in all; unknown by default.
        done : int, default 0
            Number of units that an earlier run did. They have no part in the estimate of the time
            that is left.
        note : str, default ""
            Note of the first report, such as ``"resumed at step 3 of 9"``.

        Yields
        ------
        StepReporter
            Callback that the block calls with the number of units done.
        """

        def report(now: int, note: str = "") -> None:
            nonlocal done
            done = now
            self.progress(name, now, total, note)

        self.progress(name, done, total, note)
        yield report
        self.progress(name, total or done, total or done)

    def __exit__(self, *exception: object) -> None:
        for error in exception:
            if isinstance(error, KeyboardInterrupt) and self.folder is not None:
                error.add_note(f"Its state is in {self.folder}")
        self.close()

    def close(self) -> None:
        """Close the files of the run."""
        self._cache.close()
        self._ledger.close()
