"""Upstream server: its connections, its requests and its responses."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import cache
from io import BytesIO
from typing import Any
from urllib.request import getproxies

import aiohttp
import httpx2
from pydantic_core import PydanticSerializationError, to_json
from yarl import URL

from backtalk.models.endpoint.offline import check_online
from backtalk.serve.backends.circuit_breaker import CircuitBreaker
from backtalk.serve.backends.forwarded_headers import response_headers, with_key
from backtalk.serve.content_encoding import ContentDecoder, ContentEncodingError, find_decoder
from backtalk.serve.settings import RetryPolicy, UpstreamSettings

TRANSPORT_ERRORS = (aiohttp.ClientError, TimeoutError)
"""Exceptions of sending a request to an upstream and of reading its response."""

_MAX_CONNECTIONS = 1_000
_KEEPALIVE_SECONDS = 30.0
_MAX_HEADER_BYTES = 65_536
_MAX_SINGLE_WRITE = 1_000_000
"""Size in bytes above which a body is written to the connection in parts."""
_MAX_INLINE_DECODING = 262_144
"""Size in bytes above which an encoded body is decoded on another thread."""


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
            body = dump_json({**json_body, "model": self.settings.model})
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
        return list(headers) if key is None else with_key(headers, key)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


class UpstreamResponse:
    """Response of an upstream, of which only the headers have been read.

    Its body is decoded, although upstreams are asked for bodies without content encoding.

    Parameters
    ----------
    response : aiohttp.ClientResponse
        Response.
    upstream : Upstream
        Upstream that sent it.
    """

    def __init__(self, response: aiohttp.ClientResponse, upstream: Upstream) -> None:
        self.response = response
        self.upstream = upstream
        self._encoding = response.headers.get("content-encoding")
        try:
            self._decoder = find_decoder(self._encoding)
            self.is_readable = True
        except LookupError:
            self._decoder = None
            self.is_readable = False
            """If false, the body has an encoding that cannot be decoded, and is left as it is."""
        self._start: bytes | None = None
        self._rest: AsyncIterator[bytes] | None = None

    @property
    def status(self) -> int:
        """Status code."""
        return self.response.status

    @property
    def headers(self) -> dict[str, str]:
        """Headers that are forwarded to the caller."""
        return response_headers(self.response.raw_headers, decoded=self.is_readable)

    @property
    def retry_delay(self) -> float | None:
        """Seconds to wait before a retry, ``None`` if the upstream names none."""
        headers = self.response.headers
        milliseconds = parse_retry_after(headers.get("retry-after-ms"))
        if milliseconds is not None:
            return milliseconds / 1000
        return parse_retry_after(headers.get("retry-after"))

    async def read(self) -> bytes:
        """Return the complete body. It can be read again until the response is released.

        Raises
        ------
        aiohttp.ClientError, TimeoutError
            If the connection breaks, or the encoding is damaged.
        """
        if self._start is not None:
            return b"".join([chunk async for chunk in self.chunks()])
        content = await self.response.read()
        if self._decoder is None:
            return content
        decoder = find_decoder(self._encoding)
        assert decoder is not None
        if len(content) > _MAX_INLINE_DECODING:
            return await asyncio.to_thread(_decode, decoder, content)
        return _decode(decoder, content)

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body in the pieces in which it arrives.

        Raises
        ------
        aiohttp.ClientError, TimeoutError
            If the connection breaks, or the encoding is damaged.
        """
        if self._start is not None:
            return self._peeked_chunks()
        if self._decoder is None:
            return self.response.content.iter_any()
        return self._decoded_chunks(self._decoder)

    async def peek(self, is_enough: Callable[[bytes], bool]) -> bytes:
        """Return the first bytes of the body, which is then read once, as a whole or in chunks.

        Parameters
        ----------
        is_enough : Callable[[bytes], bool]
            Returns true for bytes that need no more after them.

        Raises
        ------
        aiohttp.ClientError, TimeoutError
            If the connection breaks, or the encoding is damaged.
        """
        self._rest = self.chunks()
        start = b""
        async for chunk in self._rest:
            start += chunk
            if is_enough(start):
                break
        self._start = start
        return start

    async def _peeked_chunks(self) -> AsyncIterator[bytes]:
        assert self._start is not None
        assert self._rest is not None
        yield self._start
        async for chunk in self._rest:
            yield chunk

    async def _decoded_chunks(self, decoder: ContentDecoder) -> AsyncIterator[bytes]:
        try:
            async for data in self.response.content.iter_any():
                for piece in decoder.feed(data):
                    yield piece
            decoder.finish()
        except ContentEncodingError as error:
            raise aiohttp.ClientPayloadError(str(error)) from None

    def release(self) -> None:
        """Give the connection back, or close it if the body has not been read."""
        self.response.release()


def _decode(decoder: ContentDecoder, content: bytes) -> bytes:
    try:
        decoded = b"".join(decoder.feed(content))
        decoder.finish()
    except ContentEncodingError as error:
        raise aiohttp.ClientPayloadError(str(error)) from None
    return decoded


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


def with_body(request: UpstreamRequest, body: Mapping[str, Any]) -> UpstreamRequest:
    """Return a request with another JSON body."""
    return replace(request, json_body=body, body=dump_json(body))


def dump_json(body: Mapping[str, Any]) -> bytes:
    r"""Return JSON as bytes. Lone surrogates, which UTF-8 cannot express, stay escaped.

    >>> dump_json({"cut": "\ud83d"})
    b'{"cut":"\\ud83d"}'
    """
    try:
        return to_json(dict(body))
    except PydanticSerializationError:
        return json.dumps(body, separators=(",", ":")).encode()
