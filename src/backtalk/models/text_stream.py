"""Text of a completion while a model on another thread generates it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol, runtime_checkable

from backtalk.models.protocol import Completion, Model, Request

_MAX_INCOMPLETE = 3
"""Maximum number of replacement characters for the bytes of an incomplete one: UTF-8 has four."""


class TextStream:
    """Stream of the text of one completion, from a model's thread to an event loop.

    It must be made on the event loop that reads it. The model reports the text so far, which may
    be repeated; the reader gets what is new.

    Parameters
    ----------
    settle : Callable[[str], str], optional
        Function that returns the beginning of a text that the reader may get already.
    is_read : bool, default True
        If false, nobody reads the text, and the stream serves to cancel the generation.
    """

    def __init__(self, settle: Callable[[str], str] | None = None, *, is_read: bool = True) -> None:
        self._settle = settle
        self.is_read = is_read
        self._loop = asyncio.get_running_loop()
        self._texts: asyncio.Queue[str | None] = asyncio.Queue()
        self._length = 0
        self._is_cancelled = False

    @property
    def is_cancelled(self) -> bool:
        """If true, nobody reads the rest, so that the model may stop."""
        return self._is_cancelled

    def cancel(self) -> None:
        """Tell the model that nobody reads the rest."""
        self._is_cancelled = True

    def report(self, text: str) -> None:
        """Report the text so far, of which no part will change; from any thread."""
        self._send(text if self._settle is None else self._settle(text))

    def end(self) -> None:
        """End the stream; from any thread."""
        self._send(None)

    async def pieces(self) -> AsyncIterator[str]:
        """Yield the new parts of the text, until the stream ends."""
        while (text := await self._texts.get()) is not None:
            if len(text) > self._length:
                piece, self._length = text[self._length :], len(text)
                yield piece

    def _send(self, text: str | None) -> None:
        # The loop may be closed while the model finishes a step for a caller who is gone.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._texts.put_nowait, text)


@runtime_checkable
class StreamingModel(Protocol):
    """Model that reports the text of completions while it generates a batch of them."""

    async def generate_streamed(
        self, requests: Sequence[Request], streams: Sequence[TextStream | None]
    ) -> list[Completion]:
        """Return one completion per request, in order, and report its text on the way.

        Parameters
        ----------
        requests : sequence of Request
            N requests.
        streams : sequence of (TextStream or None)
            N streams; ``None`` for a request whose text nobody reads on the way. A request whose
            stream is cancelled may end early.

        Raises
        ------
        ModelError
            For the same reasons as ``generate``.
        """
        ...


async def generate_streamed(
    model: Model, requests: Sequence[Request], streams: Sequence[TextStream | None]
) -> list[Completion]:
    """Return completions with their text reported on the way, if the model can do so.

    Parameters
    ----------
    model : Model
        Model; without :class:`StreamingModel`, nothing is reported.
    requests : sequence of Request
        N requests.
    streams : sequence of (TextStream or None)
        N streams.
    """
    if isinstance(model, StreamingModel) and any(stream is not None for stream in streams):
        return await model.generate_streamed(requests, streams)
    return await model.generate(requests)


def settled_text(text: str, stops: Sequence[str]) -> str:
    r"""Return the beginning of a growing text that no later token can change.

    A stop text ends it, and nothing that may be the beginning of one is part of it, nor are
    characters whose bytes are incomplete.

    >>> settled_text("Yes, EN", ["END"]), settled_text("Yes END no", ["END"])
    ('Yes, ', 'Yes ')
    >>> settled_text("caf\ufffd", [])
    'caf'

    Parameters
    ----------
    text : str
        Text so far.
    stops : sequence of str
        Texts that end the completion.
    """
    cuts = [index for stop in stops if (index := text.find(stop)) >= 0]
    if cuts:
        return text[: min(cuts)]
    text = text[: max(len(text.rstrip("\ufffd")), len(text) - _MAX_INCOMPLETE)]
    end = len(text)
    for stop in stops:
        for length in range(min(len(stop) - 1, len(text)), 0, -1):
            if text.endswith(stop[:length]):
                end = min(end, len(text) - length)
                break
    return text[:end]
