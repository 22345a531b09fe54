"""The servers that answer: asked in order, again after passing failures, left alone while down."""

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

from backtalk.models.endpoint.offline import check_allowed
from backtalk.serve.backends.circuit_breaker import CircuitBreaker
from backtalk.serve.errors import APIError
from backtalk.serve.observability.metrics import Metrics
from backtalk.serve.settings import RetryPolicy, UpstreamSettings

if TYPE_CHECKING:
    from backtalk.serve.observability.tracing import Tracing

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which another try may do better."""

NOT_PROCESSED = frozenset({425, 429, 503})
"""Statuses that say that nothing was done, so that anything may be sent again."""

TRANSPORT_ERRORS = (aiohttp.ClientError, TimeoutError)
"""What asking an upstream raises, and what reading its answer does."""

_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)

_HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "transfer-encoding", "upgrade", "host", "content-length", "content-encoding",
    }
)  # fmt: skip
_NOT_PASSED_ON = _HOP_BY_HOP | {"set-cookie", "date", "server"}
_OURS = frozenset({"accept-encoding", "cookie"})
_KEYS = frozenset({"authorization", "x-api-key", "api-key"})

_CONNECTIONS = 1_000
_IDLE_SECONDS = 30.0
_LONGEST_LINE = 65_536
_AT_ONCE = 1_000_000
"""A body of more bytes is handed to the connection in parts."""


@cache
def _certificates() -> ssl.SSLContext:
    """Return what tells whom to trust, which takes long to load."""
    return httpx2.create_ssl_context()


@dataclass(frozen=True)
class UpstreamRequest:
    """One request for an upstream."""

    method: str
    path: str
    """Below ``/v1``, with the query."""
    headers: Sequence[tuple[str, str]]
    body: bytes
    asked: Mapping[str, Any] | None = None
    """The body as JSON, where it is an object."""
    repeatable: bool = False
    """Whether sending it twice does no harm."""


class Upstream:
    """One server with its connections and its breaker.

    Parameters
    ----------
    settings : UpstreamSettings
        Where it is.
    patience : RetryPolicy
        How long to wait for it.
    """

    def __init__(self, settings: UpstreamSettings, patience: RetryPolicy) -> None:
        check_allowed(settings.base_url)
        self.settings = settings
        self.name = settings.base_url
        self.breaker = CircuitBreaker(failures=patience.failures, rest=patience.open_seconds)
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=patience.connect, sock_read=patience.read
        )
        self._session: aiohttp.ClientSession | None = None

    async def send(self, call: UpstreamRequest) -> aiohttp.ClientResponse:
        """Send a request and return the answer once its headers are there."""
        body = call.body
        if self.settings.model is not None and call.asked is not None and "model" in call.asked:
            body = to_json({**call.asked, "model": self.settings.model})
        return await self._connections().request(
            call.method,
            URL(self.settings.base_url + call.path, encoded=True),
            headers=[*self._headers(call.headers), ("accept-encoding", "identity")],
            data=(body if len(body) < _AT_ONCE else BytesIO(body)) or None,
            allow_redirects=False,
        )

    def _connections(self) -> aiohttp.ClientSession:
        """Return its connections, which belong to the loop that first asks for them."""
        if self._session is None:
            is_safe = self.settings.base_url.startswith("https:")
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=_CONNECTIONS,
                    keepalive_timeout=_IDLE_SECONDS,
                    ssl=_certificates() if is_safe else True,
                ),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("accept", "content-type", "user-agent"),
                trust_env=bool(getproxies()),
                max_line_size=_LONGEST_LINE,
                max_field_size=_LONGEST_LINE,
            )
        return self._session

    def _headers(self, given: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        key = os.environ.get(self.settings.api_key_env or "")
        if key is None:
            return list(given)
        kept = [(name, value) for name, value in given if name != "authorization"]
        return [*kept, ("authorization", f"Bearer {key}")]

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()


@dataclass(frozen=True)
class UpstreamResponse:
    """The beginning of an upstream's answer."""

    response: aiohttp.ClientResponse
    upstream: Upstream


class Upstreams:
    """All servers that answer.

    Parameters
    ----------
    settings : sequence of UpstreamSettings
        Those of the gateway, in the order in which they are asked.
    patience : RetryPolicy
        How long to wait, how often to ask again.
    metrics : Metrics
        Counts the tries.
    traces : Tracing, optional
        Traces them, where that is switched on.
    """

    def __init__(
        self,
        settings: Sequence[UpstreamSettings],
        patience: RetryPolicy,
        metrics: Metrics,
        traces: Tracing | None = None,
    ) -> None:
        self._patience = patience
        self._metrics = metrics
        self._traces = traces
        self._random = random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._known: dict[UpstreamSettings, Upstream] = {}
        self.own = [self.at(place) for place in settings]

    def at(self, settings: UpstreamSettings) -> Upstream:
        """Return the server at an address, with the breaker that all share who ask it."""
        if settings not in self._known:
            self._known[settings] = Upstream(settings, self._patience)
        return self._known[settings]

    async def send(
        self, call: UpstreamRequest, among: Sequence[Upstream] | None = None
    ) -> UpstreamResponse:
        """Ask the servers, the next one where one fails, until one answers.

        Returns
        -------
        Answered
            Its first byte is there; nothing is sent again after that. An error is an answer
            where no server gave a better one.

        Raises
        ------
        Refused
            If none can be reached.
        """
        servers = self.own if among is None else among
        if not servers:
            raise APIError(
                404,
                "This gateway has no upstream: only models called backtalk:PROJECT answer here. "
                "Start it with --upstream URL to pass on other requests",
                code="model_not_found",
                param="model",
            )
        worst: APIError | None = None
        last: UpstreamResponse | None = None
        for server in servers:
            try:
                result = await self._ask(server, call)
            except APIError as failure:
                worst = worst or failure
                continue
            if last is not None:
                last.response.release()
            if result.response.status not in RETRYABLE:
                return result
            last = result
        if last is not None:
            return last
        assert worst is not None
        raise worst

    async def close(self) -> None:
        """Close all connections."""
        for server in self._known.values():
            await server.close()

    async def _ask(self, server: Upstream, call: UpstreamRequest) -> UpstreamResponse:
        pause = self._patience.backoff
        for left in range(self._patience.max_attempts - 1, -1, -1):
            if not server.breaker.allows():
                raise _resting(server, self._patience.open_seconds)
            try:
                response = await self._try(server, call)
            except TRANSPORT_ERRORS as error:
                if left == 0 or not (call.repeatable or isinstance(error, _NEVER_SENT)):
                    raise _failure(server, error) from None
                wait = None
            else:
                status = response.status
                wait = retry_after(response.headers.get("retry-after"))
                again = status in RETRYABLE and (call.repeatable or status in NOT_PROCESSED)
                if left == 0 or not again or (wait or 0) > self._patience.longest_pause:
                    return UpstreamResponse(response, server)
                response.release()
            drawn = min(pause, self._patience.longest_pause) * self._random.uniform(0.5, 1)
            await asyncio.sleep(max(drawn, wait or 0))
            pause *= 2
        raise AssertionError("there is at least one try")

    async def _try(self, server: Upstream, call: UpstreamRequest) -> aiohttp.ClientResponse:
        outcome = "cancelled"
        try:
            response = await self._sent(server, call)
        except TRANSPORT_ERRORS as error:
            outcome = type(error).__name__
            server.breaker.failed()
            raise
        else:
            outcome = str(response.status)
            if response.status >= 500:
                server.breaker.failed()
            else:
                server.breaker.succeeded()
            return response
        finally:
            if outcome == "cancelled":
                server.breaker.given_up()
            self._metrics.tried(server.name, outcome)

    async def _sent(self, server: Upstream, call: UpstreamRequest) -> aiohttp.ClientResponse:
        if self._traces is None:
            return await server.send(call)
        path = call.path.partition("?")[0]
        with self._traces.trying(call.method, server.name + path, call.headers) as trying:
            response = await server.send(replace(call, headers=trying.headers))
            trying.answered(response.status)
            return response


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, ``None`` where it asks none.

    >>> retry_after("1.5"), retry_after("soon"), retry_after(None)
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


def request_headers(given: Sequence[tuple[str, str]], *, keep_key: bool) -> list[tuple[str, str]]:
    """Return the headers of a caller that an upstream gets.

    Parameters
    ----------
    given : Sequence[tuple[str, str]]
        The caller's, in lower case.
    keep_key : bool
        Whether the caller's key is the upstream's: where the gateway asks for none itself.
    """
    dropped = _HOP_BY_HOP | _OURS
    return [
        (name, value)
        for name, value in given
        if name not in dropped
        and not name.startswith("x-backtalk-")
        and (keep_key or name not in _KEYS)
    ]


def response_headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Return the headers of an upstream's answer that the caller gets."""
    results: dict[str, str] = {}
    for raw, value in response.raw_headers:
        name, text = raw.decode("latin-1").lower(), value.decode("latin-1")
        if name not in _NOT_PASSED_ON:
            results[name] = f"{results[name]}, {text}" if name in results else text
    return results


def renamed(call: UpstreamRequest, asked: Mapping[str, Any]) -> UpstreamRequest:
    """Return a call with another body."""
    return replace(call, asked=asked, body=to_json(dict(asked)))


def _resting(server: Upstream, rest: float) -> APIError:
    return APIError(
        503,
        f"The upstream {server.name} keeps failing and is left alone for {rest:g} seconds",
        code="upstream_resting",
        headers={"retry-after": str(max(1, round(rest)))},
    )


def _failure(server: Upstream, error: Exception) -> APIError:
    said = str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        return APIError(
            504, f"The upstream {server.name} did not answer in time: {said}", code="timeout"
        )
    return APIError(
        502,
        f"The upstream {server.name} could not be reached: {said}. Check that it runs",
        code="upstream_unreachable",
    )
