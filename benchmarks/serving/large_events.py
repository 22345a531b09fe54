"""Streams with one very large event, directly and by the gateway.

``python -m benchmarks.serving.large_events [MEGABYTES ...]`` prints the median time of both, and
the latencies of ``/health`` meanwhile. The upstream sends the event, a picture, in pieces of 4 kB.
The upstream, the client and the caller of ``/health`` are processes of their own.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

from benchmarks.serving import servers

STREAMS = 8
SIZES = (4.0, 12.0)
"""Sizes of the event in megabytes."""

_PIECE = 4_096
_BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Draw"}]}


def compare(megabytes: float) -> dict[str, float]:
    """Return times of a stream in seconds, their ratio, and latencies of ``/health`` in ms."""
    context = multiprocessing.get_context("spawn")
    with (
        TemporaryDirectory() as name,
        context.Manager() as manager,
        context.Pool(2) as pool,
        _upstream(megabytes) as port,
    ):
        folder, stop = Path(name), manager.Event()
        store = str(folder / "feedback.db")
        key = servers.make_key(store)
        with servers.running(servers.gateway(folder, port, store=store, key=key)) as gateway:
            pool.apply(read_streams, (gateway.port, key, 1))
            direct = statistics.median(pool.apply(read_streams, (port, key, STREAMS)))
            health = pool.apply_async(call_health, (gateway.port, stop))
            forwarded = statistics.median(pool.apply(read_streams, (gateway.port, key, STREAMS)))
            stop.set()
            waits = sorted(health.get())
    return {
        "direct": direct,
        "gateway": forwarded,
        "ratio": forwarded / direct,
        "health_p50_ms": 1_000 * statistics.median(waits),
        "health_p99_ms": 1_000 * waits[int(0.99 * len(waits))],
        "health_max_ms": 1_000 * waits[-1],
    }


def read_streams(port: int, key: str, count: int) -> list[float]:
    """Read streams from a server, one after another.

    Parameters
    ----------
    port : int
        Port of the server.
    key : str
        API key.
    count : int
        Number of streams.

    Returns
    -------
    list of float
        Times in seconds.
    """
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    times = []
    for _ in range(count):
        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/v1/chat/completions", json.dumps(_BODY), headers)
        response = connection.getresponse()
        while response.read1(65_536):
            pass
        connection.close()
        times.append(time.monotonic() - started)
    return times


def call_health(port: int, stop: Event) -> list[float]:
    """Call ``/health`` every 10 ms until an event is set; return the latencies in seconds."""
    waits = []
    while not stop.is_set():
        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/health")
        connection.getresponse().read()
        connection.close()
        waits.append(time.monotonic() - started)
        time.sleep(0.01)
    return waits


@contextmanager
def _upstream(megabytes: float) -> Iterator[int]:
    """Run an upstream in a process, and yield its port."""
    port = servers.free_port()
    process = multiprocessing.get_context("spawn").Process(
        target=serve_events, args=(port, megabytes), daemon=True
    )
    process.start()
    try:
        yield port
    finally:
        process.terminate()
        process.join()


def serve_events(port: int, megabytes: float) -> None:
    """Answer every request with a stream that has one large event."""
    picture = "data:image/png;base64," + "A" * round(megabytes * 1e6)
    image = {"type": "image_url", "image_url": {"url": picture}}
    large = _event({"content": "", "images": [image]})
    pieces = [large[start : start + _PIECE] for start in range(0, len(large), _PIECE)]
    pieces += [_event({}, "stop"), b"data: [DONE]\n\n"]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length or 0))
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )
        for piece in (*pieces, b""):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
            await server.serve_forever()

    asyncio.run(serve())


def _event(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m"}
    return b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n"


def main() -> None:
    for size in map(float, sys.argv[1:]) if len(sys.argv) > 1 else SIZES:
        figures = {name: round(value, 3) for name, value in compare(size).items()}
        sys.stdout.write(json.dumps({"megabytes": size, **figures}) + "\n")


if __name__ == "__main__":
    main()
