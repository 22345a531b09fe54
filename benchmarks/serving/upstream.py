"""OpenAI-compatible server on loopback with minimal CPU cost.

``python -m benchmarks.serving.upstream PORT [SHARE]`` answers every request with a short chat
completion: immediately, or after 50 ms for the model ``slow``. A ``SHARE`` of the requests fails,
with 500, with 503, or with a closed connection.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import cast

import uvloop

DELAY = 0.05
_REPLY = {
    "id": "chatcmpl-upstream",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "small-2026",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "We open at nine, and close at six."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 12, "completion_tokens": 11, "total_tokens": 23},
}


def _answer(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


GOOD = _answer("200 OK", json.dumps(_REPLY).encode())
_BAD = (
    b'{"error": {"message": "scripted to fail", "type": "api_error", "param": null, "code": null}}'
)
FAILURES = (
    _answer("500 Internal Server Error", _BAD),
    _answer("503 Service Unavailable", _BAD),
    None,
)


class UpstreamProtocol(asyncio.Protocol):
    """Connection of the server.

    Parameters
    ----------
    share
        Share of the requests that fail, in [0, 1].
    rng
        Generator that selects the failures.
    """

    def __init__(self, share: float, rng: random.Random) -> None:
        self._share = share
        self._rng = rng
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass of it

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            _, _, rest = head.partition(b"content-length:")
            length = int(rest.partition(b"\r\n")[0] or 0)
            whole = end + 4 + length
            if len(self._buffer) < whole:
                return
            slow = b'"slow"' in self._buffer[end:whole]
            self._buffer = self._buffer[whole:]
            reply: bytes | None = GOOD
            if self._share and self._rng.random() < self._share:
                reply = self._rng.choice(FAILURES)
            if slow:
                asyncio.get_running_loop().call_later(DELAY, self._send, reply)
            else:
                self._send(reply)

    def _send(self, reply: bytes | None) -> None:
        assert self._transport is not None
        if reply is None:
            self._transport.abort()
        else:
            self._transport.write(reply)


async def _serve(port: int, share: float) -> None:
    rng = random.Random(0)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: UpstreamProtocol(share, rng), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0))
