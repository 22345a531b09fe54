"""Loopback server with the chat-completions protocol, and scripted failures."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ("yes", "no", "we", "open", "at", "nine", "and", "close", "five", "not", "today")


@dataclass
class ScriptedResponse:
    """Response that replaces the default one."""

    status: int = 200
    body: Any = None
    """JSON, or bytes to send unchanged; ``None`` for the default response."""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Delay, in seconds."""
    drop: bool = False
    """If true, close the connection instead."""


def error(
    status: int, code: str | None = None, message: str = "no", **headers: str
) -> ScriptedResponse:
    """Return an error of the protocol."""
    body = {"error": {"message": message, "type": "error", "code": code}}
    return ScriptedResponse(
        status, body, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def default_text(body: dict[str, Any]) -> str:
    """Return the text of the default response, which depends on messages, seed and temperature."""
    key = json.dumps([body["messages"], body.get("seed"), body.get("temperature")])
    digest = sha256(key.encode()).digest()
    max_tokens = body.get("max_tokens") or body.get("max_completion_tokens") or 8
    return " ".join(WORDS[byte % len(WORDS)] for byte in digest[: min(8, max_tokens)])


@dataclass
class ChatServer:
    """Server with the requests that it received and the responses to send next."""

    url: str
    next: deque[ScriptedResponse] = field(default_factory=deque)
    always: ScriptedResponse | None = None
    reject: Callable[[dict[str, Any]], ScriptedResponse | None] | None = None
    """Returns the error for a request that the server does not take."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    in_flight: int = 0
    max_in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: dict[str, Any], headers: dict[str, str]) -> ScriptedResponse:
        with self.lock:
            self.requests.append(body)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
            rejection = self.reject(body) if self.reject else None
            if rejection is not None:
                return rejection
            return self.next.popleft() if self.next else self.always or ScriptedResponse()

    def done(self) -> None:
        with self.lock:
            self.in_flight -= 1


def default_body(body: dict[str, Any]) -> dict[str, Any]:
    text = default_text(body)
    words = text.split()
    logprobs = {"content": [{"token": w, "logprob": -0.5, "top_logprobs": []} for w in words]}
    message: dict[str, Any] = {"role": "assistant", "content": text}
    reason = "stop"
    if body.get("tools"):
        function = {"name": body["tools"][0]["function"]["name"], "arguments": '{"a": 1}'}
        call = {"id": "call_1", "type": "function", "function": function}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        reason = "tool_calls"
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"] + "-2025",
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": reason,
                "logprobs": logprobs if body.get("logprobs") else None,
            }
        ],
        "usage": {
            "prompt_tokens": sum(len(str(m["content"]).split()) for m in body["messages"]),
            "completion_tokens": len(words),
            "total_tokens": 0,
        },
    }


def _chunks(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    reply = default_body(body)
    base = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": reply["model"]}
    words = reply["choices"][0]["message"]["content"].split(" ")
    for i, word in enumerate(words):
        delta = {"content": word if i == 0 else " " + word}
        if i == 0:
            delta["role"] = "assistant"
        yield base | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield base | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    if body.get("stream_options", {}).get("include_usage"):
        yield base | {"choices": [], "usage": reply["usage"]}


@contextmanager
def run_server() -> Iterator[ChatServer]:
    """Run a server while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Log nothing."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = server.take(body, {k.lower(): v for k, v in self.headers.items()})
            try:
                self._respond(body, answer)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                server.done()

        def _respond(self, body: dict[str, Any], answer: ScriptedResponse) -> None:
            time.sleep(answer.delay)
            if answer.drop:
                self.close_connection = True
                return
            if not self.path.endswith("/v1/chat/completions"):
                answer = error(404, message="no such path")
            if body.get("stream") and answer.status == 200 and answer.body is None:
                self._stream(body)
                return
            payload = default_body(body) if answer.body is None else answer.body
            content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def _stream(self, body: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for chunk in _chunks(body):
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")
            self.close_connection = True

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = ChatServer(url=f"http://127.0.0.1:{http.server_port}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
