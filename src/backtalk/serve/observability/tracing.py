"""OpenTelemetry tracing by the conventions for HTTP and generative AI.

A request has a server span. Its child, the completion span, lasts until the last byte and includes
retries. Each attempt at an upstream has a span below the completion span.
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
    address_attributes,
    backtalk_attributes,
    input_messages,
    output_messages,
    request_attributes,
    response_attributes,
)
from backtalk.serve.redaction import Redactor

_NOT_TRACED = frozenset({"/health", "/ready", "/metrics"})
"""Paths polled by monitoring."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CLOSE_SECONDS = 5.0

_current: ContextVar[RequestSpan | None] = ContextVar("backtalk_trace", default=None)


class Tracing:
    """Factory of the spans of a gateway.

    Parameters
    ----------
    provider : TracerProvider
        Provider that exports the spans.
    owned : bool
        If true, shut the provider down with the gateway.
    redactor : Redactor, optional
        Redactor of message content. If omitted, message content is not traced.
    """

    def __init__(
        self, provider: TracerProvider, *, owned: bool, redactor: Redactor | None = None
    ) -> None:
        self._provider = provider
        self._owned = owned
        self.redactor = redactor
        self.tracer = provider.get_tracer("backtalk")

    def start_completion(
        self, operation: str, body: Mapping[str, Any], record: RequestRecord | None = None
    ) -> None:
        """Start the completion span.

        Parameters
        ----------
        operation : str
            ``"chat"``, ``"text_completion"`` or ``"embeddings"``.
        body : Mapping[str, Any]
            Body of the request.
        record : RequestRecord, optional
            Record of the request, if it is logged.
        """
        trace = _current.get()
        if trace is not None:
            trace.start_completion(operation, body, record)

    def end_completion(self, record: RequestRecord, completion: Mapping[str, Any]) -> None:
        """Set the completion's attributes on the completion span."""
        trace = _current.get()
        if trace is not None:
            trace.set_completion(record, completion)

    @contextmanager
    def attempt(
        self, method: str, url: str, headers: Sequence[tuple[str, str]]
    ) -> Iterator[AttemptSpan]:
        """Trace an attempt at an upstream for the duration of the block.

        Parameters
        ----------
        method : str
            HTTP method.
        url : str
            URL without the query.
        headers : Sequence[tuple[str, str]]
            Headers of the request.

        Yields
        ------
        AttemptSpan
            Span, with the headers to send.
        """
        address = address_attributes(url)
        trace = _current.get()
        if trace is not None:
            trace.set_upstream(address)
        attributes = {"http.request.method": method, "url.full": url, **address}
        if trace is not None and (resend_count := trace.count_attempt(url)):
            attributes["http.request.resend_count"] = resend_count
        with self.tracer.start_as_current_span(
            method,
            kind=SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            other = [(name, value) for name, value in headers if name not in carrier]
            try:
                yield AttemptSpan(span, (*other, *carrier.items()))
            except BaseException as error:
                _set_error(span, type(error).__name__)
                raise

    async def close(self) -> None:
        """Export the remaining spans, with a timeout of a few seconds."""
        if not self._owned:
            return
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, _CLOSE_SECONDS)


@dataclass(frozen=True)
class AttemptSpan:
    """Span of an attempt at an upstream."""

    span: Span
    headers: Sequence[tuple[str, str]]
    """Headers to send: the caller's, and those that propagate the trace."""

    def set_status_code(self, status: int) -> None:
        """Set the status code of the response."""
        self.span.set_attribute("http.response.status_code", status)
        if status >= 400:
            _set_error(self.span, str(status))


class RequestSpan:
    """Spans of one request.

    Parameters
    ----------
    tracing : Tracing
        Factory of the spans.
    scope : Scope
        ASGI scope of the request.
    routes : frozenset[str]
        Paths that are routes without parameters.
    """

    def __init__(self, tracing: Tracing, scope: Scope, routes: frozenset[str]) -> None:
        self._tracing = tracing
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
        self._method = method
        self._span = tracing.tracer.start_span(
            method,
            context=propagate.extract(headers),
            kind=SpanKind.SERVER,
            attributes=attributes,
        )
        self._completion: Span | None = None
        self._context: Context = set_span_in_context(self._span)
        self._is_streaming = False
        self._attempts: dict[str, int] = {}
        self.status: int | None = None

    @property
    def context(self) -> Context:
        """Context of the request, the parent of its other spans."""
        return self._context

    @property
    def id(self) -> str:
        """Trace id, 32 hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def start_completion(
        self, operation: str, body: Mapping[str, Any], record: RequestRecord | None
    ) -> None:
        """Start the completion span.

        Parameters
        ----------
        operation : str
            ``"chat"``, ``"text_completion"`` or ``"embeddings"``.
        body : Mapping[str, Any]
            Body of the request.
        record : RequestRecord or None
            Record of the request, if it is logged.
        """
        attributes: dict[str, Any] = request_attributes(operation, body)
        if record is not None:
            attributes |= backtalk_attributes(record)
        redactor = self._tracing.redactor
        if redactor is not None:
            attributes["gen_ai.input.messages"] = input_messages(body, redactor)
        self._is_streaming = body.get("stream") is True
        self._completion = self._tracing.tracer.start_span(
            f"{operation} {body['model']}", kind=SpanKind.CLIENT, attributes=attributes
        )
        context.attach(set_span_in_context(self._completion))

    def set_completion(self, record: RequestRecord, completion: Mapping[str, Any]) -> None:
        """Set the attributes of the completion."""
        span = self._completion
        if span is None:
            return
        span.set_attributes({**response_attributes(completion), **backtalk_attributes(record)})
        redactor = self._tracing.redactor
        if redactor is not None:
            span.set_attribute("gen_ai.output.messages", output_messages(completion, redactor))
        if (cut := record.notes.get("cut")) is not None:
            _set_error(span, f"cut {cut}")

    def set_upstream(self, address: Mapping[str, str | int]) -> None:
        """Set the address of the last upstream."""
        if self._completion is not None:
            self._completion.set_attributes(address)

    def count_attempt(self, url: str) -> int:
        """Count an attempt at a URL and return the number of previous attempts."""
        previous = self._attempts.get(url, 0)
        self._attempts[url] = previous + 1
        return previous

    def set_time_to_first_chunk(self, seconds: float) -> None:
        """Set the seconds until the first chunk of a stream."""
        if self._completion is not None and self._is_streaming:
            self._completion.set_attribute("gen_ai.response.time_to_first_chunk", seconds)

    def end(self, failure: BaseException | None) -> None:
        """End all spans."""
        path = self._scope["path"]
        route = path if path in self._routes else getattr(self._scope.get("route"), "path", None)
        if route is not None:
            self._span.update_name(f"{self._method} {route}")
            self._span.set_attribute("http.route", route)
        status = self.status
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
        error_type = str(status) if status is not None else "disconnected"
        if failure is not None:
            error_type = type(failure).__name__
        failed = failure is not None or status is None
        if failed or (status is not None and status >= 500):
            _set_error(self._span, error_type)
        if self._completion is not None:
            if failed or (status is not None and status >= 400):
                _set_error(self._completion, error_type)
            self._completion.end()
        self._span.end()


class TracingMiddleware:
    """Middleware that traces requests.

    Parameters
    ----------
    app : ASGIApp
        Inner application.
    tracing : Tracing
        Factory of the spans.
    routes : frozenset[str]
        Paths that are routes without parameters.
    """

    def __init__(self, app: ASGIApp, *, tracing: Tracing, routes: frozenset[str]) -> None:
        self._app = app
        self._tracing = tracing
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http" or scope["path"] in _NOT_TRACED:
            await self._app(scope, receive, send)
            return
        clock = asyncio.get_running_loop().time
        started = clock()
        trace = RequestSpan(self._tracing, scope, self._routes)
        scope["backtalk"]["trace"] = trace.id
        is_first = True

        async def traced_send(message: MutableMapping[str, Any]) -> None:
            nonlocal is_first
            if message["type"] == "http.response.start":
                trace.status = message["status"]
            elif is_first and message.get("body"):
                is_first = False
                trace.set_time_to_first_chunk(clock() - started)
            await send(message)

        token = context.attach(trace.context)
        current = _current.set(trace)
        failure: BaseException | None = None
        try:
            await self._app(scope, receive, traced_send)
        except BaseException as error:
            failure = error
            raise
        finally:
            trace.end(failure)
            _current.reset(current)
            context.detach(token)


def _set_error(span: Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(Status(StatusCode.ERROR))
