"""Requests that nobody should send, against a gateway that asks for keys.

``python -m benchmarks.serving.hostile [COUNT] [SEED]`` sends 100,000 of them to a gateway in a
process of its own and prints what was answered; each fourth is for the pages. It fails if one is
answered with an undocumented 5xx, with nothing within five seconds, with a way to another site, or
without a key or a session with anything but a refusal; if the process died; or if its memory grew.
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
from benchmarks.serving.load import chat_request
from benchmarks.serving.page_shots import Badge, PageShots, furnish
from benchmarks.serving.shots import KEYLESS, Shot, Shots
from benchmarks.serving.wire import Client

SECONDS = 5.0
"""How long an answer may take."""

_OPEN_PATHS = ("/health", "/ready", "/backtalk.js", "/openapi.json")
_OPEN_PAGES = ("/login", "/static/")
_LOCATION = re.compile(rb"\r\n(?:hx-redirect|location): *([^\r]*)", re.IGNORECASE)
_AT_ONCE = 16
_ABORT = struct.pack("ii", 1, 0)


@dataclass
class Report:
    """What was answered."""

    statuses: Counter[str] = field(default_factory=Counter)
    """By trick and status; a status of 0 is a connection that was ended without an answer."""
    bad: list[str] = field(default_factory=list)
    """What should not have been."""
    slowest: tuple[float, str] = (0.0, "")
    """Its seconds, and what it was."""


async def fire(port: int, shots: Iterator[Shot]) -> Report:
    """Send requests, several at once, each on a connection of its own."""
    report = Report()

    async def gunner() -> None:
        for shot in shots:
            await _fire(port, shot, report)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(gunner())
    return report


async def _fire(port: int, shot: Shot, report: Report) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    try:
        answer = await asyncio.wait_for(_answer(port, shot), SECONDS)
    except TimeoutError:
        report.bad.append(f"no answer in {SECONDS:g} s: {shot.trick}: {shot.data[:600]!r}")
        return
    report.slowest = max(report.slowest, (loop.time() - begin, f"{shot.data[:300]!r}"))
    status = int(answer[9:12]) if answer[:5] == b"HTTP/" and answer[9:12].isdigit() else 0
    report.statuses[f"{shot.trick} {status}"] += 1
    wrong = _wrong(shot, status, answer)
    if wrong:
        report.bad.append(f"{wrong}: {answer[:300]!r} to {shot.trick}: {shot.data[:1500]!r}")


def _wrong(shot: Shot, status: int, answer: bytes) -> str | None:
    if shot.page:
        return _wrong_page(shot, status, answer)
    if status >= 500 and not (status in {502, 503, 504} and b'"error":' in answer):
        return f"an undocumented {status}"
    target = shot.data.split(b" ", 2)[1].decode("latin-1")
    if not shot.keyed and 200 <= status < 300 and target not in _OPEN_PATHS:
        return f"{status} without a key"
    return None


def _wrong_page(shot: Shot, status: int, answer: bytes) -> str | None:
    if status >= 500:
        return f"a {status}"
    target = shot.data.split(b" ", 2)[1].decode("latin-1")
    result = _LOCATION.search(answer.partition(b"\r\n\r\n")[0])
    if result is not None:
        if not re.match(rb"/(?![/\\])", result[1]):
            return "a way elsewhere"
        entered = shot.keyed or result[1].startswith(b"/login")
        return None if entered else "a change without a session and its token"
    if not shot.keyed and 200 <= status < 400 and not target.startswith(_OPEN_PAGES):
        return f"{status} without a session"
    return None


async def _answer(port: int, shot: Shot) -> bytes:
    """Return all that comes back until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(shot.data)
        await writer.drain()
        if shot.cut:
            writer.write_eof()
        return await reader.read()
    except (ConnectionError, BrokenPipeError):
        return b""
    finally:
        with contextlib.suppress(OSError):  # leave no port behind
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        writer.transport.abort()


async def ask(gateway: servers.Server) -> str:
    """Return the id of a fresh answer."""
    client = Client(gateway.port, authorization=f"Bearer {gateway.key}")
    reply = await client.send(chat_request(client, "small"))
    client.close()
    return str(reply.json()["id"])


def _both(shots: Shots, pages: PageShots, count: int) -> Iterator[Shot]:
    """Yield requests; each fourth is for a page."""
    of_api = shots.draw(count)
    for page in pages.draw(count):
        yield from islice(of_api, 3)
        yield page


def sign_in(gateway: servers.Server) -> Badge:
    """Enter the pages with the gateway's key."""
    return enter(f"http://127.0.0.1:{gateway.port}", gateway.key)


def enter(url: str, key: str) -> Badge:
    """Enter the pages of a gateway with a key.

    Raises
    ------
    RuntimeError
        If it does not let the key in.
    """
    with httpx2.Client(base_url=url, timeout=30.0, verify=False) as http:
        http.post("/login", data={"key": key, "token": _token(http)})
        token = _token(http)
        if http.get("/inbox").status_code != 200:
            raise RuntimeError("The pages do not let the key in")
        cookie = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
        return Badge(key, cookie, token)


def _token(http: httpx2.Client) -> str:
    result = re.search(r'name="token" value="([^"]+)"', http.get("/login").text)
    return result[1] if result else ""


def contents(store: str) -> list[str]:
    """Return all rows of all tables of a store but the leases, which its gateway renews."""
    with Store(store) as opened, opened.engine.connect() as connection:
        return [
            f"{table.name}: {tuple(row)}"
            for table in schema.metadata.sorted_tables
            if table is not schema.leases
            for row in connection.execute(select(table))
        ]


def kept_without_key(store: str) -> list[str]:
    """Return what is in a store that came with a request without a key, or without a session."""
    return [row[:500] for row in contents(store) if KEYLESS in row]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with TemporaryDirectory() as name:
        folder = Path(name)
        store = str(folder / "feedback.db")
        key = servers.make_key(store, "admin")
        with servers.running(servers.upstream(folder)) as up:
            ours = servers.gateway(folder, up.port, store=store, key=key)
            with servers.running(ours):
                report, memory = Report(), []
                with Store(store) as opened:
                    pages = PageShots(sign_in(ours), furnish(opened), seed)
                both = _both(Shots(key, seed, interaction=asyncio.run(ask(ours))), pages, count)
                for _ in range(10):
                    part = asyncio.run(fire(ours.port, islice(both, count // 10)))
                    memory.append(ours.memory() / 1e6)
                    report.statuses += part.statuses
                    report.bad += part.bad
                    report.slowest = max(report.slowest, part.slowest)
                    sys.stdout.write(f"{report.statuses.total():7d} {memory[-1]:6.0f} MB\n")
                    sys.stdout.flush()
                alive = ours.process.poll() is None
            log = (folder / "gateway.log").read_text(encoding="utf-8", errors="replace")
        report.bad += [f"kept without a key: {id_}" for id_ in kept_without_key(store)]
    traces = [line for line in log.splitlines() if '"trace"' in line or "Traceback" in line]
    for status, times in sorted(report.statuses.items()):
        sys.stdout.write(f"{times:7d} {status}\n")
    sys.stdout.write(f"slowest {report.slowest[0]:.2f} s, alive: {alive}, {len(traces)} traces\n")
    for line in [f"slowest: {report.slowest[1]}", *report.bad[:20], *traces[:20]]:
        sys.stdout.write(f"{line[:2500]}\n")
    if report.bad or not alive or memory[-1] > 1.2 * memory[len(memory) // 2]:
        sys.exit(1)


if __name__ == "__main__":
    main()
