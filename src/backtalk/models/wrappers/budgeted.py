"""Keeping a model within a budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from backtalk.models.batching import BatchedCompletions, answer_in_units
from backtalk.models.errors import BudgetExceeded, ModelError
from backtalk.models.protocol import Completion, Model, Request, Usage
from backtalk.models.wrappers.base import ModelWrapper
from backtalk.models.wrappers.ledger import Ledger, Reservation, Role


class BudgetedModel(ModelWrapper):
    """Charge what a model costs to a ledger, and stop before a limit is overrun.

    A completion is charged with its usage, nothing if it came from a cache. A request that failed
    is charged nothing if it was refused, and the most that it could cost if the work may have
    been done: a time-out, a broken connection, a call that was cancelled. Scoring is not charged.

    Parameters
    ----------
    model : Model
        What answers.
    ledger : Ledger
        The account; several models may share it.
    role : Role, default "task"
        What the model is used for.

    Raises
    ------
    Unpriced
        If money is limited and the price of the model is not known.
    """

    def __init__(self, model: Model, ledger: Ledger, *, role: Role = "task") -> None:
        super().__init__(model)
        self.ledger = ledger
        self.role = role
        ledger.price(model.name)

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return what the model inside answers.

        Raises
        ------
        BudgetSpent
            When a request does not fit any more, or the time is up; its ``completions`` holds
            what was answered.
        """
        return await answer_in_units(requests, self._answer, model=self.model)

    async def _answer(self, requests: Sequence[Request]) -> list[Completion]:
        answers = BatchedCompletions(len(requests))
        mosts = [self.bound(request) for request in requests]
        start = 0
        while start < len(requests) and not answers.stopped:
            try:
                held = await self.ledger.reserve(self.role, self.name, mosts[start:])
                part = requests[start : start + len(held)]
                answers.add(start, await self._charged(part, held))
            except ModelError as failure:
                answers.fail(start, failure)
                if isinstance(failure, BudgetExceeded):
                    break
            start += len(held)
        return answers.finish()

    async def _charged(
        self, requests: Sequence[Request], held: Sequence[Reservation]
    ) -> list[Completion]:
        unsettled = dict(enumerate(held))

        def settle(completions: Sequence[Completion | None]) -> None:
            for index, completion in enumerate(completions):
                if completion is not None:
                    self.ledger.settle(unsettled.pop(index), _cost(completion))

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
                raise self._time_is_up() from None
            raise
        finally:
            for reservation in unsettled.values():
                self.ledger.settle(reservation, reservation.most.usage)
        return completions

    async def _stream(self, request: Request) -> AsyncIterator[str | Completion]:
        (held,) = await self.ledger.reserve(self.role, self.name, [self.bound(request)])
        cost = held.most.usage
        pieces = aiter(self._inner_stream(request))
        try:
            while (piece := await self._next(pieces)) is not None:
                if isinstance(piece, Completion):
                    cost = _cost(piece)
                yield piece
        except ModelError as failure:
            if not failure.may_have_cost:
                cost = Usage()
            raise
        finally:
            self.ledger.settle(held, cost)

    async def _next(self, pieces: AsyncIterator[str | Completion]) -> str | Completion | None:
        deadline = asyncio.timeout(self.ledger.seconds_left)
        try:
            async with deadline:
                return await anext(pieces, None)
        except TimeoutError:
            if deadline.expired():
                raise self._time_is_up() from None
            raise

    def _time_is_up(self) -> BudgetExceeded:
        allowed = self.ledger.budget.seconds or 0.0
        spent = self.ledger.seconds
        return BudgetExceeded("seconds", spent=spent, allowed=allowed, may_have_cost=True)


def _cost(completion: Completion) -> Usage:
    return Usage() if completion.cached else completion.usage
