"""Traces by OpenTelemetry's conventions for HTTP and generative AI, where they are switched on.

A request has a span; within it the answer has one, which lasts until its last byte, retries among
it; and within that each try of an upstream has one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from opentelemetry import context, propagate
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from starlette.types import ASGIApp, Receive, Scope, Send

from backtalk.serve.interaction_log import RequestRecord
from backtalk.serve.observability.genai_attributes import (
    input_messages,
    of_address,
    of_answer,
    of_exchange,
    of_request,
    output_messages,
)
from backtalk.serve.redaction import Redactor

_NOT_TRACED = frozenset({"/health", "/ready", "/metrics"})
"""What is asked every few seconds by whatever watches over the gateway."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CLOSE_SECONDS = 5.0

_current: ContextVar[RequestSpan | None] = ContextVar("backtalk_trace", default=None)


class Tracing:
    """Makes the spans of a gateway.

    Parameters
    ----------
    provider : TracerProvider
        What they go to.
    owned : bool
        Whether to close it with the gateway.
    redactor : Redactor, optional
        Blackens what people write, where that is traced; it is not, where this is left out.
    """

    def __init__(
        self, provider: TracerProvider, *, owned: bool, redactor: Redactor | None = None
    ) -> None:
        self._provider = provider
        self._owned = owned
        self.redactor = redactor
        self.tracer = provider.get_tracer("backtalk")

    def asked(
        self, operation: str, asked: Mapping[str, Any], exchange: RequestRecord | None = None
    ) -> None:
        """Begin the span of an answer.

        Parameters
        ----------
        operation : str
            ``"chat"``, ``"text_completion"`` or ``"embeddings"``.
        asked : Mapping[str, Any]
            The body of the request.
        exchange : RequestRecord, optional
            What else is known of it, where the answer is kept.
        """
        trace = _current.get()
        if trace is not None:
            trace.asked(operation, asked, exchange)

    def answered(self, exchange: RequestRecord, answer: Mapping[str, Any]) -> None:
        """Note what was answered in the span of the answer."""
        trace = _current.get()
        if trace is not None:
            trace.answered(exchange, answer)

    @contextmanager
    def trying(
        self, method: str, url: str, headers: Sequence[tuple[str, str]]
    ) -> Iterator[AttemptSpan]:
        """Trace a try of an upstream while the block runs, and give out what it is sent with."""
        address = of_address(url)
        trace = _current.get()
        if trace is not None:
            trace.sent_to(address)
        attributes = {"http.request.method": method, "url.full": url, **address}
        if trace is not None and (again := trace.again(url)):
            attributes["http.request.resend_count"] = again
        with self.tracer.start_as_current_span(
            method,
            kind=SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            kept = [(name, value) for name, value in headers if name not in carrier]
            try:
                yield AttemptSpan(span, (*kept, *carrier.items()))
            except BaseException as error:
                _mark(span, type(error).__name__)
                raise

    async def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        if not self._owned:
            return
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        await asyncio.to_thread(sending.join, _CLOSE_SECONDS)


@dataclass(frozen=True)
class AttemptSpan:
    """One try of an upstream."""

    span: Span
    headers: Sequence[tuple[str, str]]
    """What it is sent with: the caller's headers, and those by which the trace goes on."""

    def answered(self, status: int) -> None:
        """Note the status of the answer."""
        self.span.set_attribute("http.response.status_code", status)
        if status >= 400:
            _mark(self.span, str(status))


class RequestSpan:
    """The spans of one request.

    Parameters
    ----------
    traces : Tracing
        What they are made by.
    scope : Scope
        The request.
    routes : frozenset[str]
        The paths that are routes by themselves.
    """

    def __init__(self, traces: Tracing, scope: Scope, routes: frozenset[str]) -> None:
        self._traces = traces
        self._scope = scope
        self._routes = routes
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        attributes = {
            "http.request.method": method,
            "url.path": scope["path"],
            "url.scheme": scope["scheme"],
        }
        if scope.get("server"):
            attributes |= {"server.address": scope["server"][0], "server.port": scope["server"][1]}
        self._name = method
        self._span = traces.tracer.start_span(
            method,
            context=propagate.extract(headers),
            kind=SpanKind.SERVER,
            attributes=attributes,
        )
        self._answer: Span | None = None
        self._outer: Context = set_span_in_context(self._span)
        self._streams = False
        self._tries: dict[str, int] = {}
        self.status: int | None = None

    @property
    def context(self) -> Context:
        """What the spans of the request are within."""
        return self._outer

    @property
    def id(self) -> str:
        """The id of the trace, 32 hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def asked(
        self, operation: str, asked: Mapping[str, Any], exchange: RequestRecord | None
    ) -> None:
        """Begin the span of the answer."""
        attributes: dict[str, Any] = of_request(operation, asked)
        if exchange is not None:
            attributes |= of_exchange(exchange)
        redactor = self._traces.redactor
        if redactor is not None:
            attributes["gen_ai.input.messages"] = input_messages(asked, redactor)
        self._streams = asked.get("stream") is True
        self._answer = self._traces.tracer.start_span(
            f"{operation} {asked['model']}", kind=SpanKind.CLIENT, attributes=attributes
        )
        context.attach(set_span_in_context(self._answer))

    def answered(self, exchange: RequestRecord, answer: Mapping[str, Any]) -> None:
        """Note what was answered."""
        span = self._answer
        if span is None:
            return
        span.set_attributes({**of_answer(answer), **of_exchange(exchange)})
        redactor = self._traces.redactor
        if redactor is not None:
            span.set_attribute("gen_ai.output.messages", output_messages(answer, redactor))
        if (cut := exchange.notes.get("cut")) is not None:
            _mark(span, f"cut {cut}")

    def sent_to(self, address: Mapping[str, str | int]) -> None:
        """Note which upstream was asked last."""
        if self._answer is not None:
            self._answer.set_attributes(address)

    def again(self, url: str) -> int:
        """Count a try at an address; return how many there were before."""
        before = self._tries.get(url, 0)
        self._tries[url] = before + 1
        return before

    def first_chunk(self, seconds: float) -> None:
        """Note how long it took until the first part of a streamed answer."""
        if self._answer is not None and self._streams:
            self._answer.set_attribute("gen_ai.response.time_to_first_chunk", seconds)

    def end(self, failure: BaseException | None) -> None:
        """End all spans."""
        path = self._scope["path"]
        route = path if path in self._routes else getattr(self._scope.get("route"), "path", None)
        if route is not None:
            self._span.update_name(f"{self._name} {route}")
            self._span.set_attribute("http.route", route)
        status = self.status
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
        wrong = str(status) if status is not None else "disconnected"
        if failure is not None:
            wrong = type(failure).__name__
        failed = failure is not None or status is None
        if failed or (status is not None and status >= 500):
            _mark(self._span, wrong)
        if self._answer is not None:
            if failed or (status is not None and status >= 400):
                _mark(self._answer, wrong)
            self._answer.end()
        self._span.end()


class TracingMiddleware:
    """Traces every request.

    Parameters
    ----------
    app : ASGIApp
        What answers.
    traces : Tracing
        What makes the spans.
    routes : frozenset[str]
        The paths that are routes by themselves.
    """

    def __init__(self, app: ASGIApp, *, traces: Tracing, routes: frozenset[str]) -> None:
        self._inner = app
        self._traces = traces
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["path"] in _NOT_TRACED:
            await self._inner(scope, receive, send)
            return
        clock = asyncio.get_running_loop().time
        started = clock()
        trace = RequestSpan(self._traces, scope, self._routes)
        scope["backtalk"]["trace"] = trace.id
        first = True

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal first
            if message["type"] == "http.response.start":
                trace.status = message["status"]
            elif first and message.get("body"):
                first = False
                trace.first_chunk(clock() - started)
            await send(message)

        token = context.attach(trace.context)
        kept = _current.set(trace)
        failure: BaseException | None = None
        try:
            await self._inner(scope, receive, sending)
        except BaseException as error:
            failure = error
            raise
        finally:
            trace.end(failure)
            _current.reset(kept)
            context.detach(token)


def _mark(span: Span, wrong: str) -> None:
    span.set_attribute("error.type", wrong)
    span.set_status(Status(StatusCode.ERROR))
