"""Upstream on loopback that writes raw HTTP, as its handler says."""

import asyncio
import json
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Connection:
    """Connection of one request."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def head(self, headers, status=200):
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
        await self.write("\r\n".join(lines).encode() + b"\r\n\r\n")

    async def whole(self, body, status=200, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        await self.head({"content-length": str(len(body)), **headers}, status)
        await self.write(body)

    async def part(self, data):
        await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def write(self, data):
        self.writer.write(data)
        await self.writer.drain()


@dataclass
class RawUpstream:
    """Requests that arrived, and events about them."""

    url: str = ""
    requests: list = field(default_factory=list)
    received: threading.Event = field(default_factory=threading.Event)
    disconnected: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    async def until_disconnected(self, connection):
        """Wait until the gateway closes the connection."""
        with suppress(ConnectionError):
            await connection.reader.read()
        self.disconnected.set()

    async def until_released(self):
        """Wait until the test continues."""
        await asyncio.to_thread(self.release.wait, 60)


def chat_reply(text="Hello.", **fields):
    """Return the body of a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    completion = {"id": "up", "object": "chat.completion", "created": 1, "model": "m"}
    return json.dumps({**completion, "choices": [{**choice, "finish_reason": "stop"}], **fields})


def event(delta=None, finish_reason=None, **fields):
    """Return an event of a streamed chat completion."""
    chunk = {"id": "up", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish_reason}]
    return b"data: " + json.dumps({**chunk, "choices": choices, **fields}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


@contextmanager
def raw_upstream(handler):
    """Serve `handler(upstream, connection, body)` for the duration of the block."""
    loop = asyncio.new_event_loop()
    upstream = RawUpstream()

    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first, *lines = head.decode().strip().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                upstream.requests.append((first, headers, body))
                upstream.received.set()
                await handler(upstream, Connection(reader, writer), body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0, limit=2**26))
    upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield upstream
    finally:
        upstream.release.set()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
