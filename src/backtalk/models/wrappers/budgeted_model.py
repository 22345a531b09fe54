"""Budget enforcement around a model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from backtalk.models.batching import CompletionBatch, generate_in_batches
from backtalk.models.errors import BudgetExceeded, ModelError, UnlimitedAnswer
from backtalk.models.protocol import Completion, Model, Request, Usage
from backtalk.models.wrappers.base import ModelWrapper
from backtalk.models.wrappers.ledger import Ledger, ModelRole, Reservation


class BudgetedModel(ModelWrapper):
    """Model whose costs are charged to a ledger, and which stops before a limit is exceeded.

    A completion is charged with its usage, or nothing if it came from a cache. A failed request is
    charged nothing if it was rejected, and its bound if the work may have been done: after a
    timeout, a broken connection or a cancellation. Scoring is not charged.

    Parameters
    ----------
    model : Model
        Model to wrap.
    ledger : Ledger
        Ledger to charge; several models may share it.
    role : ModelRole, default "task"
        Purpose of the model, for the ledger.

    Raises
    ------
    MissingPrice
        If money is limited and the price of the model is unknown.
    """

    def __init__(self, model: Model, ledger: Ledger, *, role: ModelRole = "task") -> None:
        super().__init__(model)
        self.ledger = ledger
        self.role = role
        ledger.price(model.name)

    def bound(self, request: Request) -> Usage:
        """Return the maximum usage of a request; only its call counts if nothing else is limited.

        Raises
        ------
        UnlimitedAnswer
            If tokens or money are limited, and the answer's tokens are not.
        """
        try:
            return self.model.bound(request)
        except UnlimitedAnswer:
            if self.ledger.budget.limits_tokens:
                raise
            return Usage(calls=1)

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return the completions of the wrapped model.

        Raises
        ------
        BudgetExceeded
            If a request does not fit into the budget, or the time is up. Its ``completions`` holds
            the available completions.
        """
        return await generate_in_batches(requests, self._generate, model=self.model)

    async def _generate(self, requests: Sequence[Request]) -> list[Completion]:
        batch = CompletionBatch(len(requests))
        bounds = [self.bound(request) for request in requests]
        start = 0
        while start < len(requests) and not batch.should_stop:
            try:
                reservations = await self.ledger.reserve(self.role, self.name, bounds[start:])
                part = requests[start : start + len(reservations)]
                batch.add(start, await self._call(part, reservations))
            except ModelError as failure:
                batch.fail(start, failure)
                if isinstance(failure, BudgetExceeded):
                    break
            start += len(reservations)
        return batch.finish()

    async def _call(
        self, requests: Sequence[Request], reservations: Sequence[Reservation]
    ) -> list[Completion]:
        unsettled = dict(enumerate(reservations))

        def settle(completions: Sequence[Completion | None]) -> None:
            for index, completion in enumerate(completions):
                if completion is not None:
                    self.ledger.settle(unsettled.pop(index), _billable_usage(completion))

        deadline = asyncio.timeout(self.ledger.seconds_left)
        try:
            async with deadline:
                completions = await self.model.generate(requests)
            settle(completions)
        except ModelError as failure:
            settle(failure.completions)
            if not failure.may_have_cost:
                for reservation in unsettled.values():
                    self.ledger.settle(reservation, Usage())
                unsettled.clear()
            raise
        except TimeoutError:
            if deadline.expired():
                raise self._time_exceeded() from None
            raise
        finally:
            for reservation in unsettled.values():
                self.ledger.settle(reservation, reservation.bound.usage)
        return completions

    async def _stream(self, request: Request) -> AsyncIterator[str | Completion]:
        (reservation,) = await self.ledger.reserve(self.role, self.name, [self.bound(request)])
        usage = reservation.bound.usage
        pieces = aiter(self._inner_stream(request))
        try:
            while (piece := await self._next(pieces)) is not None:
                if isinstance(piece, Completion):
                    usage = _billable_usage(piece)
                yield piece
        except ModelError as failure:
            if not failure.may_have_cost:
                usage = Usage()
            raise
        finally:
            self.ledger.settle(reservation, usage)

    async def _next(self, pieces: AsyncIterator[str | Completion]) -> str | Completion | None:
        deadline = asyncio.timeout(self.ledger.seconds_left)
        try:
            async with deadline:
                return await anext(pieces, None)
        except TimeoutError:
            if deadline.expired():
                raise self._time_exceeded() from None
            raise

    def _time_exceeded(self) -> BudgetExceeded:
        allowed = self.ledger.budget.seconds or 0.0
        spent = self.ledger.seconds
        return BudgetExceeded("seconds", spent=spent, allowed=allowed, may_have_cost=True)


def _billable_usage(completion: Completion) -> Usage:
    return Usage() if completion.cached else completion.usage
