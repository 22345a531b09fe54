"""Working through a batch of requests piece by piece, and keeping what was answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from backtalk.models.errors import ModelError
from backtalk.models.protocol import Completion, Model, Request

UNIT = 256
"""How many requests a model that answers them together is given at once: enough to fill its
batches, few enough that little is lost when the process is killed."""


class BatchedCompletions:
    """The completions of a batch, as they come in.

    Parameters
    ----------
    count : int
        How many requests there are.
    """

    def __init__(self, count: int) -> None:
        self.completions: list[Completion | None] = [None] * count
        self._failures: dict[int, ModelError] = {}

    @property
    def stopped(self) -> bool:
        """Whether a failure makes it pointless to send more requests."""
        return any(failure.stops_batch for failure in self._failures.values())

    def add(self, start: int, completions: Sequence[Completion | None]) -> None:
        """Keep the completions of the requests from ``start`` on."""
        self.completions[start : start + len(completions)] = completions

    def fail(self, start: int, failure: ModelError) -> None:
        """Keep a failure of the requests from ``start`` on, and what it says was answered."""
        self.add(start, failure.completions)
        self._failures[start] = failure

    def finish(self) -> list[Completion]:
        """Return all completions, or raise the first failure with those that there are."""
        if self._failures:
            failure = self._failures[min(self._failures)]
            failure.completions = tuple(self.completions)
            raise failure
        return [completion for completion in self.completions if completion is not None]


async def answer_one_by_one(
    requests: Sequence[Request], answer: Callable[[Request], Awaitable[Completion]]
) -> list[Completion]:
    """Answer requests one after the other; see :func:`answer_in_units`."""
    answers = BatchedCompletions(len(requests))
    for index, request in enumerate(requests):
        try:
            answers.add(index, [await answer(request)])
        except ModelError as failure:
            answers.fail(index, failure)
            if answers.stopped:
                break
    return answers.finish()


async def answer_in_units(
    requests: Sequence[Request],
    answer: Callable[[Sequence[Request]], Awaitable[list[Completion]]],
    *,
    model: Model,
) -> list[Completion]:
    """Answer requests unit by unit, as many at a time as the model is good for.

    Parameters
    ----------
    requests : sequence of Request
        What is wanted.
    answer : Callable[[Sequence[Request]], Awaitable[list[Completion]]]
        Answers one unit.
    model : Model
        Where it has a ``concurrency``, each request is a unit and so many are in flight; else the
        units have :data:`UNIT` requests and follow each other.

    Raises
    ------
    ModelError
        The first failure by the order of the requests; see
        :meth:`~backtalk.models.protocol.Model.generate`.
    """
    concurrency: int | None = getattr(model, "concurrency", None)
    unit = 1 if concurrency else UNIT
    answers = BatchedCompletions(len(requests))
    starts = iter(range(0, len(requests), unit))
    crashes: list[Exception] = []

    async def work() -> None:
        for start in starts:
            if answers.stopped or crashes:
                return
            try:
                answers.add(start, await answer(requests[start : start + unit]))
            except ModelError as failure:
                answers.fail(start, failure)
            except Exception as crash:  # noqa: BLE001 - raised again below, out of the task group
                crashes.append(crash)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency or 1, -(-len(requests) // unit))):
            group.create_task(work())
    if crashes:
        raise crashes[0]
    return answers.finish()
