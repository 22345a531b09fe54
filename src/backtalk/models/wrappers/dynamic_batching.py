"""What several callers ask a model at a time, answered as one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from backtalk.errors import BacktalkError
from backtalk.models import Completion, Model, Request, Usage


@dataclass(frozen=True)
class _Asked:
    requests: tuple[Request, ...]
    answer: asyncio.Future[list[Completion]]


class DynamicBatcher:
    """A model on this machine, which is quicker with many requests at a time than one by one.

    Nobody is made to wait for company: what comes while the model works is its next batch.

    Parameters
    ----------
    model : Model
        What answers.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._waiting: list[_Asked] = []
        self._working: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """That of the model."""
        return self._model.name

    @property
    def identity(self) -> str:
        """That of the model."""
        return self._model.identity

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one completion a request.

        Raises
        ------
        BacktalkError
            As the model itself does; those who share the batch do not notice.
        """
        asked = _Asked(tuple(requests), asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await asked.answer

    def bound(self, request: Request) -> Usage:
        """Return the most that a request can use."""
        return self._model.bound(request)

    async def _work(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # who asks several times at once is heard to the end
                batch, self._waiting = self._waiting, []
                await self._answer([asked for asked in batch if not asked.answer.done()])
        finally:
            self._working = None

    async def _answer(self, batch: Sequence[_Asked]) -> None:
        rows = [request for asked in batch for request in asked.requests]
        try:
            result = await self._model.generate(rows)
        except BacktalkError as error:
            if len(batch) == 1:
                _tell(batch[0], error)
                return
            for asked in batch:
                await self._answer([asked])
        except Exception as error:  # noqa: BLE001 - told to those who wait for the answer
            for asked in batch:
                _tell(asked, error)
        else:
            start = 0
            for asked in batch:
                end = start + len(asked.requests)
                _tell(asked, result[start:end])
                start = end


def _tell(asked: _Asked, found: list[Completion] | Exception) -> None:
    if asked.answer.done():
        return  # its caller has gone
    if isinstance(found, Exception):
        asked.answer.set_exception(found)
    else:
        asked.answer.set_result(found)
