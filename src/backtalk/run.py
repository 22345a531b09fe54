"""What a method is handed: a seed, a budget, a cache to resume from, a way to report progress.

A run whose budget is spent ends with what it has; run again with more, it pays for nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from backtalk.models import Budget, Cost, Ledger, ResponseCache, around
from backtalk.models.protocol import Model
from backtalk.models.wrappers.budget import Prices
from backtalk.models.wrappers.ledger import Role


class Progress(Protocol):
    """Told how far the work is."""

    def __call__(self, task: str, done: int, total: int | None, note: str = "") -> None:
        """Take a report.

        Parameters
        ----------
        task : str
            What is being done.
        done, total
            How much of it is done, and how much there is, if that is known. A task that is over
            says so with both numbers equal.
        note : str, default ""
            What was last measured, in a few words.
        """


class Step(Protocol):
    """What a task calls with how much of it is done."""

    def __call__(self, now: int, note: str = "") -> None:
        """Report how much is done, and what was last measured."""


def _silent(task: str, done: int, total: int | None, note: str = "") -> None:
    """Say nothing."""


class Run:
    """The seed, budget, cache and progress of one piece of work.

    Parameters
    ----------
    folder : Path, optional
        Where responses and costs are kept, so that the run can be resumed; nothing is kept where
        it is left out.
    seed : int, default 0
        Decides everything that is drawn at random.
    budget : Budget, optional
        What may be spent by all models of the run together.
    prices : Prices, optional
        What models cost, where money is limited.
    progress : Progress, optional
        Told how far the work is.

    Examples
    --------
    >>> from backtalk.models.fakes import FunctionModel
    >>> with Run(seed=1, budget=Budget(calls=10)) as run:
    ...     model = run.around(FunctionModel(lambda request: "Yes.", name="yes"))
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
        self.progress = progress or _silent
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._cache = ResponseCache(None if folder is None else folder / "responses.db")
        self._ledger = Ledger(
            budget, prices=prices, path=None if folder is None else folder / "costs.jsonl"
        )

    def wrap(self, model: Model, *, role: Role = "task") -> Model:
        """Return the model within the run's budget, with the run's cache in front of it."""
        return around(model, cache=self._cache, ledger=self._ledger, role=role)

    @property
    def spent(self) -> Cost:
        """What was spent so far, earlier parts of a resumed run among it."""
        return self._ledger.spent

    @contextmanager
    def task(self, name: str, total: int | None = None) -> Iterator[Step]:
        """Report on a task: the block calls what it is given with how much is done."""
        done = 0

        def step(now: int, note: str = "") -> None:
            nonlocal done
            done = now
            self.progress(name, now, total, note)

        self.progress(name, 0, total)
        yield step
        self.progress(name, total or done, total or done)

    def close(self) -> None:
        """Close the files of the run."""
        self._cache.close()
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
