"""A small HTTP client that costs less than what it measures: one request at a time a connection."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Broken(Exception):
    """The connection ended before the answer was whole."""


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._buffer = b""
        self._waiting: asyncio.Future[Reply] | None = None
        self.transport: asyncio.Transport | None = None
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it

    def ask(self, request: bytes) -> asyncio.Future[Reply]:
        self._waiting = asyncio.get_running_loop().create_future()
        self._buffer = b""
        if self.transport is None or not self.open:
            self._waiting.set_exception(Broken())
        else:
            self.transport.write(request)
        return self._waiting

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        reply = _whole(self._buffer)
        if reply is not None and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Broken(str(exc)))


def _whole(data: bytes) -> Reply | None:
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head, body = data[:end].lower(), data[end + 4 :]
    status = int(head[9:12])
    _, result, rest = head.partition(b"\r\ncontent-length:")
    if result:
        length = int(rest.partition(b"\r\n")[0])
        return Reply(status, body) if len(body) >= length else None
    if not body.endswith(b"0\r\n\r\n"):
        return None
    parts = []
    while body[:1] != b"0":
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        parts.append(body[:length])
        body = body[length + 2 :]
    return Reply(status, b"".join(parts))


class Client:
    """Connections to one server, as many as there are requests at once.

    Parameters
    ----------
    port
        On loopback.
    headers
        Of every request.
    """

    def __init__(self, port: int, **headers: str) -> None:
        self._port = port
        lines = {"host": f"127.0.0.1:{port}", "content-type": "application/json", **headers}
        self._lines = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._free: list[_Connection] = []

    def request(self, path: str, body: bytes) -> bytes:
        """Return a request, ready to be sent."""
        head = f"POST {path} HTTP/1.1\r\n{self._lines}content-length: {len(body)}\r\n\r\n"
        return head.encode() + body

    async def send(self, request: bytes) -> Reply:
        """Send a request and return the answer.

        Raises
        ------
        Broken, OSError
            If there is no answer.
        """
        connection = await self._connection()
        reply = await connection.ask(request)
        self._free.append(connection)
        return reply

    async def _connection(self) -> _Connection:
        while self._free:
            connection = self._free.pop()
            if connection.open:
                return connection
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(_Connection, "127.0.0.1", self._port)
        return made

    def close(self) -> None:
        """Close all connections."""
        for connection in self._free:
            if connection.transport is not None:
                connection.transport.close()
        self._free.clear()
