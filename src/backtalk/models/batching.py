"""Processing of a batch of requests in parts, keeping the completions if some fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from backtalk.models.errors import ModelError
from backtalk.models.protocol import Completion, Model, Request

BATCH_SIZE = 256
"""Number of requests per call to a model without ``concurrency``: large enough to fill the model's
batches, small enough to lose little if the process is killed."""


class CompletionBatch:
    """Completions of a batch, collected as they arrive.

    Parameters
    ----------
    count : int
        Number of requests.
    """

    def __init__(self, count: int) -> None:
        self.completions: list[Completion | None] = [None] * count
        self._failures: dict[int, ModelError] = {}

    @property
    def should_stop(self) -> bool:
        """True if a failure makes it pointless to send more requests."""
        return any(failure.stops_batch for failure in self._failures.values())

    def add(self, start: int, completions: Sequence[Completion | None]) -> None:
        """Store the completions of the requests from index ``start``."""
        self.completions[start : start + len(completions)] = completions

    def fail(self, start: int, failure: ModelError) -> None:
        """Store a failure of the requests from index ``start``, with its completions."""
        self.add(start, failure.completions)
        self._failures[start] = failure

    def finish(self) -> list[Completion]:
        """Return all completions, or raise the first failure with the available completions."""
        if self._failures:
            failure = self._failures[min(self._failures)]
            failure.completions = tuple(self.completions)
            raise failure
        return [completion for completion in self.completions if completion is not None]


async def generate_sequentially(
    requests: Sequence[Request], answer: Callable[[Request], Awaitable[Completion]]
) -> list[Completion]:
    """Answer requests one after the other; see :func:`generate_in_batches`."""
    batch = CompletionBatch(len(requests))
    for index, request in enumerate(requests):
        try:
            batch.add(index, [await answer(request)])
        except ModelError as failure:
            batch.fail(index, failure)
            if batch.should_stop:
                break
    return batch.finish()


async def generate_in_batches(
    requests: Sequence[Request],
    answer: Callable[[Sequence[Request]], Awaitable[list[Completion]]],
    *,
    model: Model,
) -> list[Completion]:
    """Answer requests in batches of a size that suits the model.

    Parameters
    ----------
    requests : sequence of Request
        Requests to answer.
    answer : Callable[[Sequence[Request]], Awaitable[list[Completion]]]
        Answers one batch.
    model : Model
        Model that answers. If it has a ``concurrency``, each request is a batch, and at most
        ``concurrency`` of them are in flight. Otherwise batches of :data:`BATCH_SIZE` requests
        are sent one after the other.

    Raises
    ------
    ModelError
        First failure by the order of the requests; see
        :meth:`~backtalk.models.protocol.Model.generate`.
    """
    concurrency: int | None = getattr(model, "concurrency", None)
    size = 1 if concurrency else BATCH_SIZE
    batch = CompletionBatch(len(requests))
    starts = iter(range(0, len(requests), size))
    crashes: list[Exception] = []

    async def work() -> None:
        for start in starts:
            if batch.should_stop or crashes:
                return
            try:
                batch.add(start, await answer(requests[start : start + size]))
            except ModelError as failure:
                batch.fail(start, failure)
            except Exception as crash:  # noqa: BLE001 - raised again below, out of the task group
                crashes.append(crash)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency or 1, -(-len(requests) // size))):
            group.create_task(work())
    if crashes:
        raise crashes[0]
    return batch.finish()
