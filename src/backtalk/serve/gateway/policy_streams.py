"""Streams of completions of policies whose model on this machine reports its text on the way."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from pydantic_core import to_json
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from backtalk.decode import DecoderOutput
from backtalk.models.text_stream import TextStream
from backtalk.serve.backends.tool_calls import text_before_tool_calls, tool_names
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.completion_request import CHAT, CompletionRequest, EndpointKind
from backtalk.serve.gateway.sse import DONE
from backtalk.serve.gateway.stream_proxy import CUT_BY_CALLER

DecodeSamples = Callable[[Sequence[TextStream]], Awaitable[list[DecoderOutput]]]
"""Function that decodes one sample for each stream."""
LogCompletion = Callable[[Sequence[DecoderOutput]], Mapping[str, Any]]
"""Function that logs the samples as a completion, and returns it as it is sent."""


class PolicyStreamingResponse(StreamingResponse):
    """Response with a stream, whose generation ends with it.

    Parameters
    ----------
    stream : PolicyStream
        Stream that has started.
    headers : dict[str, str]
        Headers.
    """

    def __init__(self, stream: PolicyStream, *, headers: dict[str, str]) -> None:
        super().__init__(stream.events(), media_type="text/event-stream", headers=headers)
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response. The generation stops even if the caller is gone already."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.cancel()


class PolicyStream:
    """Stream of the samples of one prompt, sent while they are generated.

    Parameters
    ----------
    request : CompletionRequest
        Request.
    samples : int
        Number of samples.
    decode : DecodeSamples
        Function that generates the samples.
    log : LogCompletion
        Function that logs the completion.
    """

    def __init__(
        self,
        request: CompletionRequest,
        *,
        samples: int,
        decode: DecodeSamples,
        log: LogCompletion,
    ) -> None:
        self._request = request
        self._log = log
        self._started = time.monotonic()
        settle = text_before_tool_calls if tool_names(request.body) else None
        self._streams = [TextStream(settle) for _ in range(samples)]
        self._texts = [""] * samples
        self._deltas: asyncio.Queue[tuple[int, str] | None] = asyncio.Queue()
        self._base = {
            "id": request.record.id,
            "object": "chat.completion.chunk" if request.kind is CHAT else request.kind.object,
            "created": int(time.time()),
            "model": request.body["model"],
        }
        self._first: tuple[int, str] | None = None
        self._result = asyncio.ensure_future(decode(self._streams))
        self._result.add_done_callback(self._end_streams)
        self._readers = asyncio.ensure_future(self._read_streams())
        self._is_logged = False

    async def start(self) -> None:
        """Wait for the first text, so that an error before it is an ordinary response.

        Raises
        ------
        APIError
            If the policy fails before the first text.
        """
        try:
            self._first = await self._deltas.get()
            if self._first is None:
                await self._result
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Stop the generation."""
        for stream in self._streams:
            stream.cancel()
        self._result.cancel()
        self._readers.cancel()

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the completion as server-sent events, and log it before the last one."""
        kind = self._request.kind
        try:
            if kind is CHAT:
                for index in range(len(self._streams)):
                    yield self._event(index, {"delta": {"role": "assistant", "content": ""}})
            delta = self._first
            while delta is not None:
                index, text = delta
                self._texts[index] += text
                yield self._event(index, _content(kind, text))
                delta = await self._deltas.get()
            try:
                last_events = self._last_events(await self._result)
            except APIError as error:
                self._request.note(error=error.body()["error"])
                self._log_cut("by an error")
                yield kind.error_event(error)
                return
            for event in last_events:
                yield event
            yield DONE
        finally:
            self.cancel()
            self._log_cut(CUT_BY_CALLER)

    def _last_events(self, outputs: Sequence[DecoderOutput]) -> list[bytes]:
        """Log the completion, and return the events of its end."""
        self._note_seconds()
        completion = self._log(outputs)
        self._is_logged = True
        events = []
        for choice in completion["choices"]:
            index = choice["index"]
            rest = _rest(choice, self._texts[index])
            if rest:
                events.append(self._event(index, rest))
            end: dict[str, Any] = {"delta": {}} if self._request.kind is CHAT else {"text": ""}
            events.append(self._event(index, end, finish_reason=choice["finish_reason"]))
        options = self._request.body.get("stream_options")
        if isinstance(options, dict) and options.get("include_usage"):
            usage = {"choices": [], "usage": completion["usage"]}
            events.append(_encode({**self._base, **usage}))
        return events

    def _event(
        self, index: int, content: Mapping[str, Any], *, finish_reason: str | None = None
    ) -> bytes:
        choice = {"index": index, **content, "logprobs": None, "finish_reason": finish_reason}
        return _encode({**self._base, "choices": [choice]})

    def _log_cut(self, cut: str) -> None:
        """Log what was sent of a completion that broke off, if anything was."""
        if self._is_logged or not any(self._texts):
            return
        self._is_logged = True
        self._note_seconds()
        self._request.note(cut=cut)
        kind = self._request.kind
        choices = [
            {
                "index": index,
                **({"message": _message(text)} if kind is CHAT else {"text": text}),
                "finish_reason": None,
            }
            for index, text in enumerate(self._texts)
        ]
        completion = {**self._base, "object": kind.object, "model": None, "choices": choices}
        self._request.log_completion(completion)

    def _note_seconds(self) -> None:
        self._request.note(seconds=round(time.monotonic() - self._started, 6))

    async def _read_streams(self) -> None:
        async def read(index: int, stream: TextStream) -> None:
            async for piece in stream.pieces():
                self._deltas.put_nowait((index, piece))

        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*(read(i, stream) for i, stream in enumerate(self._streams)))
        self._deltas.put_nowait(None)

    def _end_streams(self, result: asyncio.Future[list[DecoderOutput]]) -> None:
        if not result.cancelled():
            result.exception()  # it is raised where the stream is read
        for stream in self._streams:
            stream.end()


def _message(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _content(kind: EndpointKind, text: str) -> dict[str, Any]:
    """Return the fields of a choice with a piece of text."""
    return {"delta": {"content": text}} if kind is CHAT else {"text": text}


def _rest(choice: Mapping[str, Any], sent: str) -> dict[str, Any]:
    """Return the fields of a choice with what was not sent yet; empty if there is nothing."""
    message = choice.get("message", choice)
    whole = message["text"] if message is choice else message["content"] or ""
    if not whole.startswith(sent):
        raise APIError(500, "The text that was streamed is not the beginning of the answer")
    text = whole[len(sent) :]
    if message is choice:
        return {"text": text} if text else {}
    delta: dict[str, Any] = {"content": text} if text else {}
    if message.get("tool_calls"):
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(message["tool_calls"])]
    return {"delta": delta} if delta else {}


def _encode(value: Any) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"
