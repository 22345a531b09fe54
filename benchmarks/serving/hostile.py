"""Malformed and hostile requests against a gateway that requires keys.

``python -m benchmarks.serving.hostile [COUNT] [SEED]`` sends 100,000 requests to a gateway in a
separate process and prints the responses by status; every fourth request is for the pages. It fails
on an undocumented 5xx, a timeout of five seconds, a redirect to another site, or a success without
a key or a session; if the process dies; or if its memory grows.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
from sqlalchemy import select

from backtalk.store import Store, schema
from benchmarks.serving import servers
from benchmarks.serving.fuzzer import NO_KEY_MARKER, ApiFuzzer, FuzzRequest
from benchmarks.serving.load import chat_request
from benchmarks.serving.page_fuzzer import Credentials, PageFuzzer, fill_store
from benchmarks.serving.wire import Client

SECONDS = 5.0
"""Timeout of a request."""

_OPEN_PATHS = ("/health", "/ready", "/backtalk.js", "/openapi.json")
_OPEN_PAGES = ("/login", "/static/")
_LOCATION = re.compile(rb"\r\n(?:hx-redirect|location): *([^\r]*)", re.IGNORECASE)
_CONCURRENCY = 16
_ABORT = struct.pack("ii", 1, 0)


@dataclass
class FuzzReport:
    """Responses to hostile requests."""

    statuses: Counter[str] = field(default_factory=Counter)
    """Number of responses by mutation and status code; 0 if the connection was closed without a
    response."""
    bad: list[str] = field(default_factory=list)
    """Descriptions of wrong responses."""
    slowest: tuple[float, str] = (0.0, "")
    """Seconds of the slowest request, and the beginning of its data."""


async def fire(port: int, requests: Iterator[FuzzRequest]) -> FuzzReport:
    """Send requests concurrently, each on a new connection."""
    report = FuzzReport()

    async def worker() -> None:
        for request in requests:
            await _fire(port, request, report)

    async with asyncio.TaskGroup() as group:
        for _ in range(_CONCURRENCY):
            group.create_task(worker())
    return report


async def _fire(port: int, request: FuzzRequest, report: FuzzReport) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    try:
        answer = await asyncio.wait_for(_answer(port, request), SECONDS)
    except TimeoutError:
        report.bad.append(
            f"no response in {SECONDS:g} s: {request.mutation}: {request.data[:600]!r}"
        )
        return
    report.slowest = max(report.slowest, (loop.time() - begin, f"{request.data[:300]!r}"))
    status = int(answer[9:12]) if answer[:5] == b"HTTP/" and answer[9:12].isdigit() else 0
    report.statuses[f"{request.mutation} {status}"] += 1
    problem = _problem(request, status, answer)
    if problem:
        report.bad.append(
            f"{problem}: {answer[:300]!r} to {request.mutation}: {request.data[:1500]!r}"
        )


def _problem(request: FuzzRequest, status: int, answer: bytes) -> str | None:
    if request.page:
        return _page_problem(request, status, answer)
    if status >= 500 and not (status in {502, 503, 504} and b'"error":' in answer):
        return f"an undocumented {status}"
    target = request.data.split(b" ", 2)[1].decode("latin-1")
    if not request.authenticated and 200 <= status < 300 and target not in _OPEN_PATHS:
        return f"{status} without a key"
    return None


def _page_problem(request: FuzzRequest, status: int, answer: bytes) -> str | None:
    if status >= 500:
        return f"a {status}"
    target = request.data.split(b" ", 2)[1].decode("latin-1")
    result = _LOCATION.search(answer.partition(b"\r\n\r\n")[0])
    if result is not None:
        if not re.match(rb"/(?![/\\])", result[1]):
            return "a redirect to another site"
        entered = request.authenticated or result[1].startswith(b"/login")
        return None if entered else "a change without a session and its token"
    if not request.authenticated and 200 <= status < 400 and not target.startswith(_OPEN_PAGES):
        return f"{status} without a session"
    return None


async def _answer(port: int, request: FuzzRequest) -> bytes:
    """Return the response, read until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request.data)
        await writer.drain()
        if request.cut:
            writer.write_eof()
        return await reader.read()
    except (ConnectionError, BrokenPipeError):
        return b""
    finally:
        with contextlib.suppress(OSError):  # do not leave the port in TIME_WAIT
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        writer.transport.abort()


async def ask(gateway: servers.Server) -> str:
    """Return the id of a new completion."""
    client = Client(gateway.port, authorization=f"Bearer {gateway.key}")
    reply = await client.send(chat_request(client, "small"))
    client.close()
    return str(reply.json()["id"])


def _interleave(api: ApiFuzzer, pages: PageFuzzer, count: int) -> Iterator[FuzzRequest]:
    """Yield requests; every fourth is for a page."""
    api_requests = api.draw(count)
    for page in pages.draw(count):
        yield from islice(api_requests, 3)
        yield page


def sign_in(gateway: servers.Server) -> Credentials:
    """Sign in to the pages with the gateway's key."""
    return enter(f"http://127.0.0.1:{gateway.port}", gateway.key)


def enter(url: str, key: str) -> Credentials:
    """Sign in to the pages of a gateway with a key.

    Raises
    ------
    RuntimeError
        If the key is rejected.
    """
    with httpx2.Client(base_url=url, timeout=30.0, verify=False) as http:
        http.post("/login", data={"key": key, "token": _token(http)})
        token = _token(http)
        if http.get("/inbox").status_code != 200:
            raise RuntimeError("The pages reject the key")
        cookie = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
        return Credentials(key, cookie, token)


def _token(http: httpx2.Client) -> str:
    result = re.search(r'name="token" value="([^"]+)"', http.get("/login").text)
    return result[1] if result else ""


def contents(store: str) -> list[str]:
    """Return all rows of all tables, except the leases, which the gateway renews."""
    with Store(store) as opened, opened.engine.connect() as connection:
        return [
            f"{table.name}: {tuple(row)}"
            for table in schema.metadata.sorted_tables
            if table is not schema.leases
            for row in connection.execute(select(table))
        ]


def stored_without_key(store: str) -> list[str]:
    """Return the rows written by requests without a key or a session."""
    return [row[:500] for row in contents(store) if NO_KEY_MARKER in row]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with TemporaryDirectory() as name:
        folder = Path(name)
        store = str(folder / "feedback.db")
        key = servers.make_key(store, "admin")
        with servers.running(servers.upstream(folder)) as upstream:
            gateway = servers.gateway(folder, upstream.port, store=store, key=key)
            with servers.running(gateway):
                report, memory = FuzzReport(), []
                with Store(store) as opened:
                    pages = PageFuzzer(sign_in(gateway), fill_store(opened), seed)
                requests = _interleave(
                    ApiFuzzer(key, seed, interaction=asyncio.run(ask(gateway))), pages, count
                )
                for _ in range(10):
                    part = asyncio.run(fire(gateway.port, islice(requests, count // 10)))
                    memory.append(gateway.memory() / 1e6)
                    report.statuses += part.statuses
                    report.bad += part.bad
                    report.slowest = max(report.slowest, part.slowest)
                    sys.stdout.write(f"{report.statuses.total():7d} {memory[-1]:6.0f} MB\n")
                    sys.stdout.flush()
                alive = gateway.process.poll() is None
            log = (folder / "gateway.log").read_text(encoding="utf-8", errors="replace")
        report.bad += [f"stored without a key: {row}" for row in stored_without_key(store)]
    tracebacks = [line for line in log.splitlines() if '"trace"' in line or "Traceback" in line]
    for status, times in sorted(report.statuses.items()):
        sys.stdout.write(f"{times:7d} {status}\n")
    sys.stdout.write(
        f"slowest {report.slowest[0]:.2f} s, alive: {alive}, {len(tracebacks)} tracebacks\n"
    )
    for line in [f"slowest: {report.slowest[1]}", *report.bad[:20], *tracebacks[:20]]:
        sys.stdout.write(f"{line[:2500]}\n")
    if report.bad or not alive or memory[-1] > 1.2 * memory[len(memory) // 2]:
        sys.exit(1)


if __name__ == "__main__":
    main()
