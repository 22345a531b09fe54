"""All that a gateway works with, made from its settings, started and closed together."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic_core import PydanticSerializationError
from starlette.requests import ClientDisconnect, Request

from backtalk.feedback import Interaction
from backtalk.serve.auth import ANONYMOUS, ApiKeyCache, Buckets, Caller, Permission
from backtalk.serve.backends.experiment_router import ExperimentRouter
from backtalk.serve.backends.policy_resolver import PolicyResolver
from backtalk.serve.backends.upstream import Upstreams
from backtalk.serve.durability.writer import StoreWriter
from backtalk.serve.errors import APIError
from backtalk.serve.interaction_log import sanitise_json
from backtalk.serve.observability.metrics import Metrics
from backtalk.serve.redaction import Redactor
from backtalk.serve.settings import Settings
from backtalk.serve.store_connection import StoreConnection

if TYPE_CHECKING:
    from backtalk.serve.observability.tracing import Tracing

log = logging.getLogger(__name__)

PROJECT_HEADER = "x-backtalk-project"
_KEYS_SECONDS = 1.0


class Services:
    """What answers requests.

    Parameters
    ----------
    settings : Settings
        Of the gateway.
    traces : Tracing, optional
        What traces it, if anything does.

    Raises
    ------
    BacktalkError
        If the settings name something that does not exist.
    """

    def __init__(self, settings: Settings, traces: Tracing | None = None) -> None:
        folder = settings.state_folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.settings = settings
        self.metrics = Metrics()
        self.traces = traces
        self.redactor = Redactor(settings.redact)
        self.keeper = StoreConnection(settings.store, folder)
        self.keyring = ApiKeyCache(self.keeper, folder, when=settings.keys)
        self.buckets = Buckets(rate=settings.limits.rate, burst=settings.limits.burst)
        self.upstreams = Upstreams(settings.upstreams, settings.patience, self.metrics, traces)
        self.policies = PolicyResolver(self.keeper, folder, settings.upstreams)
        self.traffic = ExperimentRouter(self.keeper, folder)
        self.writer = StoreWriter(
            self.keeper, folder, limit=settings.spool_bytes, metrics=self.metrics
        )
        self._syncing = ThreadPoolExecutor(1, thread_name_prefix="backtalk-sync")
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to work."""
        await asyncio.to_thread(self.keyring.read)
        self.writer.start()
        self.traffic.start()
        self._reading = asyncio.create_task(self._read_keys())

    async def close(self) -> None:
        """Hand everything to the store, or leave it on disk, and close all connections."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        await self.traffic.close()
        self._syncing.shutdown()
        await self.upstreams.close()
        await asyncio.to_thread(self.writer.close, self.settings.close_after)
        if self.traces is not None:
            await self.traces.close()
        self.policies.close()
        self.keeper.let_go()

    async def _read_keys(self) -> None:
        while True:
            await asyncio.sleep(_KEYS_SECONDS)
            try:
                await asyncio.to_thread(self.keyring.read)
            except Exception:
                log.exception("The keys could not be read")

    def admit(self, request: Request, act: Permission) -> Caller:
        """Return who asks, if they may, and not too often.

        Raises
        ------
        Refused
            If they may not, or asked too often.
        """
        check_origin(request.headers, self.settings.origins)
        caller = self.keyring.caller(request.headers, act)
        if caller is ANONYMOUS and self.settings.keys == "if-any":
            check_host(request.headers.get("host", ""))
        request.scope["backtalk"]["caller"] = caller.name
        host = request.client.host if request.client else ""
        wait = self.buckets.take(caller.key or host)
        if wait > 0:
            raise APIError(
                429,
                f"Too many requests; the next one is allowed in {wait:.2f} seconds",
                code="rate_limit_exceeded",
                headers={"retry-after": str(max(1, round(wait)))},
            )
        return caller

    async def sync(self) -> None:
        """Make sure that what is spooled survives the death of the machine.

        On a thread that a store which hangs cannot occupy.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._syncing, self.writer.spool.sync)

    def project(self, request: Request, caller: Caller, named: str | None = None) -> str:
        """Return the project that a request works in.

        Raises
        ------
        Refused
            If the caller may not work there.
        """
        named = named or request.headers.get(PROJECT_HEADER) or None
        return caller.in_project(named, self.settings.project)

    async def body(self, request: Request) -> bytes:
        """Return the body of a request.

        Raises
        ------
        Refused
            If it is larger than the limit.
        """
        most = self.settings.limits.body_bytes
        declared = request.headers.get("content-length", "0")
        if declared.isascii() and declared.isdigit() and int(declared[:19]) > most:
            raise _too_large(most)
        parts, size = [], 0
        try:
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise _too_large(most)
                parts.append(part)
        except ClientDisconnect:
            raise APIError(400, "The request ended before its body was there") from None
        return b"".join(parts)

    def keep(self, project: str, interactions: list[Interaction]) -> None:
        """Keep interactions. An answer is never lost because its record could not be kept."""
        for interaction in interactions:
            try:
                self._keep(project, interaction)
            except Exception:
                self.metrics.unlogged.inc()
                log.exception("The answer %s could not be kept", interaction.id)

    def _keep(self, project: str, interaction: Interaction) -> None:
        try:
            self.writer.append_interaction(project, self.redactor.interaction(interaction))
        except PydanticSerializationError:
            plain = Interaction.model_validate(sanitise_json(interaction.model_dump()))
            self.writer.append_interaction(project, self.redactor.interaction(plain))


def _too_large(most: int) -> APIError:
    return APIError(
        413,
        f"The body is larger than the {most:,} bytes that are allowed here",
        code="body_too_large",
        headers={"connection": "close"},
    )


def check_origin(headers: Mapping[str, str], allowed: Sequence[str]) -> None:
    """Refuse what a page sends that was not let in: a browser says which page it is.

    Raises
    ------
    Refused
        If the page is neither the gateway's own nor allowed.
    """
    origin = headers.get("origin")
    if origin is None or origin in allowed or "*" in allowed:
        return
    if not origin.startswith(("http://", "https://")) or _place(origin) != headers.get("host"):
        raise APIError(
            403,
            f"Pages of {origin!r} may not send requests here; --origin lets them in",
            code="origin_not_allowed",
        )


def check_host(host: str) -> None:
    """Refuse a name that anybody could point at this machine, where no key is asked for.

    Raises
    ------
    Refused
        If the host is neither ``localhost`` nor an address.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        name = host
    if name != "localhost" and not is_address(name):
        raise APIError(
            403,
            f"Without keys this gateway answers as localhost only, not as {name!r}. "
            "`backtalk keys add NAME` makes a key, --open asks nobody",
            code="host_not_allowed",
        )


def _place(origin: str) -> str:
    """Return the host and port of an origin."""
    return origin.partition("://")[2]


def is_address(host: str) -> bool:
    """Return whether a host is a number rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
