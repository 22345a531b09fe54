"""Minimal HTTP client with little CPU cost: one request at a time on each connection."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True)
class Reply:
    """HTTP response."""

    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class ConnectionBroken(Exception):
    """The connection was closed before the response was complete."""


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._buffer = b""
        self._reply: asyncio.Future[Reply] | None = None
        self.transport: asyncio.Transport | None = None
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass of it

    def send(self, request: bytes) -> asyncio.Future[Reply]:
        self._reply = asyncio.get_running_loop().create_future()
        self._buffer = b""
        if self.transport is None or not self.open:
            self._reply.set_exception(ConnectionBroken())
        else:
            self.transport.write(request)
        return self._reply

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        reply = _parse_reply(self._buffer)
        if reply is not None and self._reply is not None and not self._reply.done():
            self._reply.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ConnectionBroken(str(exc)))


def _parse_reply(data: bytes) -> Reply | None:
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
    """Connection pool of one server; it grows with the number of concurrent requests.

    Parameters
    ----------
    port
        Port on loopback.
    headers
        Headers of every request.
    """

    def __init__(self, port: int, **headers: str) -> None:
        self._port = port
        lines = {"host": f"127.0.0.1:{port}", "content-type": "application/json", **headers}
        self._lines = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._free: list[_Connection] = []

    def request(self, path: str, body: bytes) -> bytes:
        """Return an encoded request."""
        head = f"POST {path} HTTP/1.1\r\n{self._lines}content-length: {len(body)}\r\n\r\n"
        return head.encode() + body

    async def send(self, request: bytes) -> Reply:
        """Send a request and return the response.

        Raises
        ------
        ConnectionBroken, OSError
            If there is no response.
        """
        connection = await self._connection()
        reply = await connection.send(request)
        self._free.append(connection)
        return reply

    async def _connection(self) -> _Connection:
        while self._free:
            connection = self._free.pop()
            if connection.open:
                return connection
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, "127.0.0.1", self._port)
        return connection

    def close(self) -> None:
        """Close all connections."""
        for connection in self._free:
            if connection.transport is not None:
                connection.transport.close()
        self._free.clear()
