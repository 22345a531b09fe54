"""Upstream servers: tried in order, with retries, backoff and a circuit breaker each."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

import aiohttp
import httpx2
from pydantic_core import to_json
from yarl import URL

from backtalk.models.endpoint.offline import check_online
from backtalk.serve.backends.circuit_breaker import CircuitBreaker
from backtalk.serve.errors import APIError
from backtalk.serve.observability.metrics import Metrics
from backtalk.serve.settings import RetryPolicy, UpstreamSettings

if TYPE_CHECKING:
    from backtalk.serve.observability.tracing import Tracing

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Status codes of transient failures."""

NOT_PROCESSED = frozenset({425, 429, 503})
"""Status codes of requests that were not processed, so that any request may be retried."""

TRANSPORT_ERRORS = (aiohttp.ClientError, TimeoutError)
"""Exceptions of sending a request to an upstream and of reading its response."""

_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Exceptions of requests that were never sent, so that any request may be retried."""

_HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "transfer-encoding", "upgrade", "host", "content-length", "content-encoding",
    }
)  # fmt: skip
_DROPPED_RESPONSE_HEADERS = _HOP_BY_HOP | {"set-cookie", "date", "server"}
_DROPPED_REQUEST_HEADERS = _HOP_BY_HOP | {"accept-encoding", "cookie"}
_KEY_HEADERS = frozenset({"authorization", "x-api-key", "api-key"})

_MAX_CONNECTIONS = 1_000
_KEEPALIVE_SECONDS = 30.0
_MAX_HEADER_BYTES = 65_536
_MAX_SINGLE_WRITE = 1_000_000
"""Size in bytes above which a body is written to the connection in parts."""


@cache
def _ssl_context() -> ssl.SSLContext:
    """Return the SSL context, which is slow to load."""
    return httpx2.create_ssl_context()


@dataclass(frozen=True)
class UpstreamRequest:
    """Request for an upstream."""

    method: str
    path: str
    """Path below ``/v1``, with the query."""
    headers: Sequence[tuple[str, str]]
    body: bytes
    json_body: Mapping[str, Any] | None = None
    """Parsed body, if it is a JSON object."""
    idempotent: bool = False
    """If true, the request may be sent more than once."""


class Upstream:
    """Upstream server with its connections and its circuit breaker.

    Parameters
    ----------
    settings : UpstreamSettings
        Address and key.
    retry : RetryPolicy
        Timeouts and circuit breaking.
    """

    def __init__(self, settings: UpstreamSettings, retry: RetryPolicy) -> None:
        check_online(settings.base_url)
        self.settings = settings
        self.name = settings.base_url
        self.breaker = CircuitBreaker(
            failure_threshold=retry.failure_threshold, open_seconds=retry.open_seconds
        )
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=retry.connect_timeout, sock_read=retry.read_timeout
        )
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: UpstreamRequest) -> aiohttp.ClientResponse:
        """Send a request and return the response as soon as its headers have arrived."""
        body, json_body = request.body, request.json_body
        if self.settings.model is not None and json_body is not None and "model" in json_body:
            body = to_json({**json_body, "model": self.settings.model})
        return await self._open_session().request(
            request.method,
            URL(self.settings.base_url + request.path, encoded=True),
            headers=[*self._headers(request.headers), ("accept-encoding", "identity")],
            data=(body if len(body) < _MAX_SINGLE_WRITE else BytesIO(body)) or None,
            allow_redirects=False,
        )

    def _open_session(self) -> aiohttp.ClientSession:
        """Return the session, which belongs to the event loop that first needs it."""
        if self._session is None:
            is_secure = self.settings.base_url.startswith("https:")
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=_MAX_CONNECTIONS,
                    keepalive_timeout=_KEEPALIVE_SECONDS,
                    ssl=_ssl_context() if is_secure else True,
                ),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("accept", "content-type", "user-agent"),
                trust_env=bool(getproxies()),
                max_line_size=_MAX_HEADER_BYTES,
                max_field_size=_MAX_HEADER_BYTES,
            )
        return self._session

    def _headers(self, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        key = os.environ.get(self.settings.api_key_env or "")
        if key is None:
            return list(headers)
        other = [(name, value) for name, value in headers if name != "authorization"]
        return [*other, ("authorization", f"Bearer {key}")]

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


@dataclass(frozen=True)
class UpstreamResponse:
    """Response of an upstream, of which only the headers have been read."""

    response: aiohttp.ClientResponse
    upstream: Upstream


class Upstreams:
    """Upstream servers of the gateway and of its policies.

    Parameters
    ----------
    settings : sequence of UpstreamSettings
        Upstreams of the gateway, in the order in which they are tried.
    retry : RetryPolicy
        Timeouts, retries and circuit breaking.
    metrics : Metrics
        Counters of attempts.
    tracing : Tracing, optional
        Tracing, if it is switched on.
    """

    def __init__(
        self,
        settings: Sequence[UpstreamSettings],
        retry: RetryPolicy,
        metrics: Metrics,
        tracing: Tracing | None = None,
    ) -> None:
        self._retry = retry
        self._metrics = metrics
        self._tracing = tracing
        self._rng = random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._upstreams: dict[UpstreamSettings, Upstream] = {}
        self.configured = [self.upstream_for(upstream) for upstream in settings]

    def upstream_for(self, settings: UpstreamSettings) -> Upstream:
        """Return the upstream with these settings; all its users share one circuit breaker."""
        if settings not in self._upstreams:
            self._upstreams[settings] = Upstream(settings, self._retry)
        return self._upstreams[settings]

    async def send(
        self, request: UpstreamRequest, upstreams: Sequence[Upstream] | None = None
    ) -> UpstreamResponse:
        """Send a request to the first upstream that responds, with retries.

        Parameters
        ----------
        request : UpstreamRequest
            Request.
        upstreams : sequence of Upstream, optional
            Upstreams to try in order. Default: those of the gateway.

        Returns
        -------
        UpstreamResponse
            Response whose headers have arrived; from then on nothing is retried. An error response
            is returned if no upstream gave a better one.

        Raises
        ------
        APIError
            If no upstream responds.
        """
        upstreams = self.configured if upstreams is None else upstreams
        if not upstreams:
            raise APIError(
                404,
                "This gateway has no upstream: only models called backtalk:PROJECT are available. "
                "Start it with --upstream URL to forward other requests",
                code="model_not_found",
                param="model",
            )
        first_error: APIError | None = None
        last: UpstreamResponse | None = None
        for upstream in upstreams:
            try:
                response = await self._send_with_retries(upstream, request)
            except APIError as error:
                first_error = first_error or error
                continue
            if last is not None:
                last.response.release()
            if response.response.status not in RETRYABLE:
                return response
            last = response
        if last is not None:
            return last
        assert first_error is not None
        raise first_error

    async def close(self) -> None:
        """Close all connections."""
        for upstream in self._upstreams.values():
            await upstream.close()

    async def _send_with_retries(
        self, upstream: Upstream, request: UpstreamRequest
    ) -> UpstreamResponse:
        backoff = self._retry.backoff
        for retries_left in range(self._retry.max_attempts - 1, -1, -1):
            if not upstream.breaker.allow_request():
                raise _breaker_open(upstream, self._retry.open_seconds)
            try:
                response = await self._attempt(upstream, request)
            except TRANSPORT_ERRORS as error:
                if retries_left == 0 or not (request.idempotent or isinstance(error, _NEVER_SENT)):
                    raise _transport_failed(upstream, error) from None
                retry_after = None
            else:
                status = response.status
                retry_after = parse_retry_after(response.headers.get("retry-after"))
                is_retryable = status in RETRYABLE and (
                    request.idempotent or status in NOT_PROCESSED
                )
                if (
                    retries_left == 0
                    or not is_retryable
                    or (retry_after or 0) > self._retry.max_backoff
                ):
                    return UpstreamResponse(response, upstream)
                response.release()
            delay = min(backoff, self._retry.max_backoff) * self._rng.uniform(0.5, 1)
            await asyncio.sleep(max(delay, retry_after or 0))
            backoff *= 2
        raise AssertionError("there is at least one attempt")

    async def _attempt(
        self, upstream: Upstream, request: UpstreamRequest
    ) -> aiohttp.ClientResponse:
        outcome = "cancelled"
        try:
            response = await self._send_traced(upstream, request)
        except TRANSPORT_ERRORS as error:
            outcome = type(error).__name__
            upstream.breaker.record_failure()
            raise
        else:
            outcome = str(response.status)
            if response.status >= 500:
                upstream.breaker.record_failure()
            else:
                upstream.breaker.record_success()
            return response
        finally:
            if outcome == "cancelled":
                upstream.breaker.record_cancellation()
            self._metrics.count_attempt(upstream.name, outcome)

    async def _send_traced(
        self, upstream: Upstream, request: UpstreamRequest
    ) -> aiohttp.ClientResponse:
        if self._tracing is None:
            return await upstream.send(request)
        url = upstream.name + request.path.partition("?")[0]
        with self._tracing.attempt(request.method, url, request.headers) as attempt:
            response = await upstream.send(replace(request, headers=attempt.headers))
            attempt.set_status_code(response.status)
            return response


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, ``None`` if it is missing or invalid.

    >>> parse_retry_after("1.5"), parse_retry_after("soon"), parse_retry_after(None)
    (1.5, None, None)
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return seconds if 0 <= seconds < float("inf") else None


def request_headers(headers: Sequence[tuple[str, str]], *, keep_key: bool) -> list[tuple[str, str]]:
    """Return the caller's headers that are forwarded to an upstream.

    Parameters
    ----------
    headers : Sequence[tuple[str, str]]
        Headers of the caller, with lower-case names.
    keep_key : bool
        If true, forward the caller's API key.
    """
    return [
        (name, value)
        for name, value in headers
        if name not in _DROPPED_REQUEST_HEADERS
        and not name.startswith("x-backtalk-")
        and (keep_key or name not in _KEY_HEADERS)
    ]


def response_headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Return the headers of an upstream's response that are forwarded to the caller."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.raw_headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name not in _DROPPED_RESPONSE_HEADERS:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def with_body(request: UpstreamRequest, body: Mapping[str, Any]) -> UpstreamRequest:
    """Return a request with another JSON body."""
    return replace(request, json_body=body, body=to_json(dict(body)))


def _breaker_open(upstream: Upstream, open_seconds: float) -> APIError:
    return APIError(
        503,
        f"The upstream {upstream.name} keeps failing; its circuit breaker is open "
        f"for {open_seconds:g} seconds",
        code="upstream_resting",
        headers={"retry-after": str(max(1, round(open_seconds)))},
    )


def _transport_failed(upstream: Upstream, error: Exception) -> APIError:
    reason = str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        return APIError(
            504, f"The upstream {upstream.name} did not respond in time: {reason}", code="timeout"
        )
    return APIError(
        502,
        f"The upstream {upstream.name} could not be reached: {reason}. Check that it runs",
        code="upstream_unreachable",
    )
