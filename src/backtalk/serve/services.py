"""Components of a running gateway, created from its settings, started and closed together."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic_core import PydanticSerializationError
from starlette.requests import ClientDisconnect, Request

from backtalk.feedback import Interaction
from backtalk.serve.auth import ANONYMOUS, ApiKeyCache, Caller, Permission, TokenBuckets
from backtalk.serve.backends.conversation_units import ConversationUnits
from backtalk.serve.backends.experiment_router import ExperimentRouter
from backtalk.serve.backends.failover import Upstreams
from backtalk.serve.backends.policy_memories import PolicyMemories
from backtalk.serve.backends.policy_resolver import PolicyResolver
from backtalk.serve.backends.retirement import RetirementController
from backtalk.serve.content_encoding import (
    CONTENT_ENCODINGS,
    ContentEncodingError,
    find_decoder,
)
from backtalk.serve.durability.writer import StoreWriter
from backtalk.serve.errors import APIError
from backtalk.serve.fine_tuning.service import FineTuningService
from backtalk.serve.interaction_log import sanitise_json
from backtalk.serve.observability.metrics import Metrics
from backtalk.serve.redaction import Redactor
from backtalk.serve.settings import Settings
from backtalk.serve.store_connection import StoreConnection

if TYPE_CHECKING:
    from backtalk.serve.observability.tracing import Tracing

log = logging.getLogger(__name__)

PROJECT_HEADER = "x-backtalk-project"
_REFRESH_SECONDS = 1.0


class Services:
    """Components that the endpoints share.

    Parameters
    ----------
    settings : Settings
        Settings of the gateway.
    tracing : Tracing, optional
        Tracing, if it is switched on.

    Raises
    ------
    BacktalkError
        If the settings name something that does not exist.
    """

    def __init__(self, settings: Settings, tracing: Tracing | None = None) -> None:
        folder = settings.state_folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.settings = settings
        self.metrics = Metrics()
        self.tracing = tracing
        self.redactor = Redactor(settings.redact)
        self.connection = StoreConnection(settings.store, folder)
        self.api_keys = ApiKeyCache(self.connection, folder, requirement=settings.keys)
        self.rate_limits = TokenBuckets(rate=settings.limits.rate, burst=settings.limits.burst)
        self.upstreams = Upstreams(settings.upstreams, settings.retry, self.metrics, tracing)
        self.memories = PolicyMemories(
            self.connection, self.metrics, timeout=settings.memory_timeout
        )
        self.conversations = ConversationUnits(self.connection, timeout=settings.memory_timeout)
        self.policies = PolicyResolver(self.connection, folder, settings.upstreams, self.memories)
        self.experiments = ExperimentRouter(self.connection, folder)
        self.retirement = RetirementController(self.connection)
        self.writer = StoreWriter(
            self.connection, folder, max_bytes=settings.max_log_bytes, metrics=self.metrics
        )
        self.fine_tuning = FineTuningService(settings, self.connection)
        self._sync_executor = ThreadPoolExecutor(1, thread_name_prefix="backtalk-sync")
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the background threads and tasks."""
        await asyncio.to_thread(self.api_keys.refresh)
        self.writer.start()
        self.experiments.start()
        self.retirement.start()
        self.fine_tuning.start()
        self._tasks = [
            asyncio.create_task(self._refresh_keys()),
            asyncio.create_task(self.policies.prepare()),
        ]

    async def close(self) -> None:
        """Write pending records to the store, or leave them on disk, and close all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.experiments.close()
        await self.retirement.close()
        await self.fine_tuning.close()
        self._sync_executor.shutdown()
        await self.upstreams.close()
        await asyncio.to_thread(self.writer.close, self.settings.shutdown_timeout)
        if self.tracing is not None:
            await self.tracing.close()
        self.policies.close()
        self.memories.close()
        self.connection.close()

    async def _refresh_keys(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            try:
                await asyncio.to_thread(self.api_keys.refresh)
            except Exception:
                log.exception("The keys could not be read")

    def authorize(self, request: Request, permission: Permission) -> Caller:
        """Return the caller of a request.

        Raises
        ------
        APIError
            If the caller lacks the permission or exceeds the rate limit.
        """
        check_origin(request.headers, self.settings.origins)
        caller = self.api_keys.authorize(request.headers, permission)
        if caller is ANONYMOUS and self.settings.keys == "if-any":
            check_host(request.headers.get("host", ""))
        request.scope["backtalk"]["caller"] = caller.name
        host = request.client.host if request.client else ""
        wait = self.rate_limits.take(caller.key or host)
        if wait > 0:
            raise APIError(
                429,
                f"Too many requests; the next one is allowed in {wait:.2f} seconds",
                code="rate_limit_exceeded",
                headers={"retry-after": str(max(1, round(wait)))},
            )
        return caller

    async def sync_log(self) -> None:
        """Flush the write-ahead log to disk.

        Runs on a thread of its own, so that a store that hangs cannot block it.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._sync_executor, self.writer.log.sync)

    def project(self, request: Request, caller: Caller, name: str | None = None) -> str:
        """Return the project of a request.

        Parameters
        ----------
        request : Request
            Request, whose header may name a project.
        caller : Caller
            Caller of the request.
        name : str, optional
            Project that takes precedence over the header.

        Raises
        ------
        APIError
            If the caller may not use the project.
        """
        name = name or request.headers.get(PROJECT_HEADER) or None
        return caller.in_project(name, self.settings.project)

    async def read_body(self, request: Request) -> bytes:
        """Return the body of a request, without its content encoding.

        Raises
        ------
        APIError
            If the body exceeds the size limit, its encoding is unknown or damaged, or the client
            disconnects.
        """
        max_bytes = self.settings.limits.max_body_bytes(request.scope["path"])
        declared = request.headers.get("content-length", "0")
        if declared.isascii() and declared.isdigit() and int(declared[:19]) > max_bytes:
            raise _too_large(max_bytes)
        parts, size = [], 0
        try:
            async for part in request.stream():
                size += len(part)
                if size > max_bytes:
                    raise _too_large(max_bytes)
                parts.append(part)
        except ClientDisconnect:
            raise APIError(400, "The client disconnected before its body was complete") from None
        body = b"".join(parts)
        encoding = request.headers.get("content-encoding")
        if encoding and body:
            return await asyncio.to_thread(_decode_body, body, encoding, max_bytes)
        return body

    def log_interactions(self, project: str, interactions: list[Interaction]) -> None:
        """Append interactions to the write-ahead log.

        Errors are logged and counted but not raised, so that the response is sent regardless.
        """
        for interaction in interactions:
            try:
                self._log_interaction(project, interaction)
            except Exception:
                self.metrics.unlogged.inc()
                log.exception("The interaction %s could not be stored", interaction.id)

    def _log_interaction(self, project: str, interaction: Interaction) -> None:
        try:
            self.writer.append_interaction(project, self.redactor.interaction(interaction))
        except PydanticSerializationError:
            plain = Interaction.model_validate(sanitise_json(interaction.model_dump()))
            self.writer.append_interaction(project, self.redactor.interaction(plain))


def _decode_body(body: bytes, encoding: str, max_bytes: int) -> bytes:
    try:
        decoder = find_decoder(encoding)
        if decoder is None:
            return body
        pieces, size = [], 0
        for piece in decoder.feed(body):
            size += len(piece)
            if size > max_bytes:
                raise _too_large(max_bytes)
            pieces.append(piece)
        decoder.finish()
    except LookupError as error:
        known = ", ".join(CONTENT_ENCODINGS)
        raise APIError(
            415,
            f"The content encoding {error} is not supported. Send the body without it, or with one "
            f"of {known}",
            code="unsupported_content_encoding",
            headers={"accept-encoding": known},
        ) from None
    except ContentEncodingError as error:
        raise APIError(400, f"The body is not encoded as {encoding!r}: {error}") from None
    return b"".join(pieces)


def _too_large(max_bytes: int) -> APIError:
    return APIError(
        413,
        f"The body exceeds the limit of {max_bytes:,} bytes. Raise limits.body_bytes or "
        "limits.endpoint_bytes in the settings of the gateway",
        code="body_too_large",
        headers={"connection": "close"},
    )


def check_origin(headers: Mapping[str, str], allowed: Sequence[str]) -> None:
    """Reject browser requests from web pages of other origins.

    Raises
    ------
    APIError
        If the origin is neither the gateway's own nor allowed.
    """
    origin = headers.get("origin")
    if origin is None or origin in allowed or "*" in allowed:
        return
    if not origin.startswith(("http://", "https://")) or _netloc(origin) != headers.get("host"):
        raise APIError(
            403,
            f"Pages of {origin!r} may not send requests here. Allow them with --origin",
            code="origin_not_allowed",
        )


def check_host(host: str) -> None:
    """Reject host names that an attacker could point at this machine (DNS rebinding).

    Raises
    ------
    APIError
        If the host is neither ``localhost`` nor an IP address.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        name = host
    if name != "localhost" and not is_address(name):
        raise APIError(
            403,
            f"Without keys this gateway is available as localhost only, not as {name!r}. "
            "Make a key with `backtalk key add NAME`, or start it with --open",
            code="host_not_allowed",
        )


def _netloc(origin: str) -> str:
    """Return the host and port of an origin."""
    return origin.partition("://")[2]


def is_address(host: str) -> bool:
    """Return true if a host is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
