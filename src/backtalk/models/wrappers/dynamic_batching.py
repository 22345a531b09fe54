"""Dynamic batching: concurrent calls to a model are merged into batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from backtalk.errors import BacktalkError
from backtalk.models.protocol import Completion, Model, Request, Usage
from backtalk.models.text_stream import TextStream, generate_streamed


@dataclass(frozen=True)
class _QueuedCall:
    requests: tuple[Request, ...]
    streams: tuple[TextStream | None, ...]
    result: asyncio.Future[list[Completion]]


class DynamicBatcher:
    """Model that answers concurrent calls in batches.

    Never delays a request to fill a batch; requests that arrive during a batch form the next one.

    Parameters
    ----------
    model : Model
        Model that answers large batches faster than single requests, such as a local model.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._queue: list[_QueuedCall] = []
        self._worker: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._model.name

    @property
    def identity(self) -> str:
        """Identity of the model."""
        return self._model.identity

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one completion per request, in order.

        Raises
        ------
        BacktalkError
            If the model fails on these requests; other calls in the same batch are not affected.
        """
        return await self.generate_streamed(requests, [None] * len(requests))

    async def generate_streamed(
        self, requests: Sequence[Request], streams: Sequence[TextStream | None]
    ) -> list[Completion]:
        """Return one completion per request, and report the text of each on the way.

        Parameters
        ----------
        requests : sequence of Request
            N requests; see :meth:`generate`.
        streams : sequence of (TextStream or None)
            N streams.
        """
        result: asyncio.Future[list[Completion]] = asyncio.get_running_loop().create_future()
        call = _QueuedCall(tuple(requests), tuple(streams), result)
        self._queue.append(call)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await result

    def bound(self, request: Request) -> Usage:
        """Return the maximum usage of a request."""
        return self._model.bound(request)

    async def _work(self) -> None:
        try:
            while self._queue:
                await asyncio.sleep(0)  # lets calls of the same loop iteration join the batch
                batch, self._queue = self._queue, []
                await self._generate([call for call in batch if not call.result.done()])
        finally:
            self._worker = None

    async def _generate(self, batch: Sequence[_QueuedCall]) -> None:
        requests = [request for call in batch for request in call.requests]
        streams = [stream for call in batch for stream in call.streams]
        try:
            completions = await generate_streamed(self._model, requests, streams)
        except BacktalkError as error:
            if len(batch) == 1:
                _resolve(batch[0], error)
                return
            for call in batch:
                await self._generate([call])
        except Exception as error:  # noqa: BLE001 - raised in the callers
            for call in batch:
                _resolve(call, error)
        else:
            start = 0
            for call in batch:
                end = start + len(call.requests)
                _resolve(call, completions[start:end])
                start = end


def _resolve(call: _QueuedCall, result: list[Completion] | Exception) -> None:
    if call.result.done():
        return  # the caller was cancelled
    if isinstance(result, Exception):
        call.result.set_exception(result)
    else:
        call.result.set_result(result)
