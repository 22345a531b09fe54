"""Loopback endpoint that counts each request, and kills its client at a given one.

Replies depend on the request alone. The model follows the rule "Say please.", and writes it, among
others, when it is asked for an instruction.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.process import BaseProcess
from typing import Any

CONCURRENCY = 4
"""Maximum number of requests in flight of a client."""
INSTRUCTIONS = ("Say please.", "Be brief.", "Use capitals.", "Answer in full sentences.")
_WRITING: Mapping[str, Callable[[int], str]] = {
    "<prompt>": lambda draw: f"<prompt>{INSTRUCTIONS[draw % len(INSTRUCTIONS)]}</prompt>",
    "Explain in one or two sentences": lambda _: "The instruction does not ask to say please.",
    "one general instruction": lambda draw: INSTRUCTIONS[draw % 2],
}
"""Replies to requests that contain a text, by a number drawn from the request."""


@dataclass
class PaidEndpoint:
    """Server on its own thread; a context manager."""

    payments: Counter[str] = field(default_factory=Counter)
    """Number of payments for each request."""
    _left: int | None = None
    _client: BaseProcess | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> PaidEndpoint:
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        """Base URL of the server."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def run(self, client: BaseProcess, *, kill_at: int | None = None) -> int | None:
        """Run a client, kill it at its n-th request, and return its exit code.

        Parameters
        ----------
        client : BaseProcess
            Process to start.
        kill_at : int, optional
            Number of the request, from 1, at which the process gets ``SIGKILL``; never by default.
        """
        with self._lock:
            self._left = kill_at
            self._client = client
            client.start()
        client.join()
        return client.exitcode

    def receive(self, body: dict[str, Any]) -> str:
        """Count a request, and return the reply."""
        key = json.dumps(body, sort_keys=True)
        with self._lock:
            self.payments[key] += 1
            if self._left is not None:
                self._left -= 1
                if self._left == 0 and self._client is not None:
                    self._client.kill()
        return reply(body)


def reply(body: dict[str, Any]) -> str:
    """Return the text that the model writes, which depends on the request alone."""
    texts = {message["role"]: message["content"] for message in body["messages"]}
    seed = json.dumps([body["messages"], body.get("seed")])
    draw = int.from_bytes(sha256(seed.encode()).digest()[:4])
    for part, write in _WRITING.items():
        if part in texts["user"]:
            return write(draw)
    text = f"The answer is {texts['user'].split()[-1]}."
    polite = "Say please." in texts.get("system", "") and draw % 10 > 0
    return f"{text} Please tell me if that helps." if polite else text


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Report nothing: killed clients close their connections."""


def _handler(endpoint: PaidEndpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Log nothing."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            message = {"role": "assistant", "content": endpoint.receive(body)}
            content = json.dumps(
                {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 1,
                    "model": body["model"],
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
                }
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler
