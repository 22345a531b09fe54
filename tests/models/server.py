"""A server on loopback that speaks the chat-completions protocol, well or badly, as told."""

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ("yes", "no", "we", "open", "at", "nine", "and", "close", "five", "not", "today")


@dataclass
class Answer:
    """One answer that is not the usual one."""

    status: int = 200
    body: Any = None
    """JSON, or bytes to be sent as they are; ``None`` for the usual answer."""
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    """Seconds before it is given."""
    drop: bool = False
    """Close the connection instead."""


def error(status: int, code: str | None = None, message: str = "no", **headers: str) -> Answer:
    """The protocol's way to say no."""
    body = {"error": {"message": message, "type": "error", "code": code}}
    return Answer(status, body, headers={k.replace("_", "-"): v for k, v in headers.items()})


def usual_text(asked: dict[str, Any]) -> str:
    """What the server writes: determined by messages, seed and temperature."""
    decided = json.dumps([asked["messages"], asked.get("seed"), asked["temperature"]])
    digest = sha256(decided.encode()).digest()
    most = asked.get("max_tokens") or asked["max_completion_tokens"]
    return " ".join(WORDS[byte % len(WORDS)] for byte in digest[: min(8, most)])


@dataclass
class ChatServer:
    """The server, what it was asked, and what it is told to answer next."""

    url: str
    next: deque[Answer] = field(default_factory=deque)
    always: Answer | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, asked: dict[str, Any], headers: dict[str, str]) -> Answer:
        with self.lock:
            self.asked.append(asked)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            return self.next.popleft() if self.next else self.always or Answer()

    def done(self) -> None:
        with self.lock:
            self.in_flight -= 1


def usual_reply(asked: dict[str, Any]) -> dict[str, Any]:
    text = usual_text(asked)
    words = text.split()
    logprobs = {"content": [{"token": w, "logprob": -0.5, "top_logprobs": []} for w in words]}
    message: dict[str, Any] = {"role": "assistant", "content": text}
    reason = "stop"
    if asked.get("tools"):
        function = {"name": asked["tools"][0]["function"]["name"], "arguments": '{"a": 1}'}
        call = {"id": "call_1", "type": "function", "function": function}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        reason = "tool_calls"
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": asked["model"] + "-2025",
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": reason,
                "logprobs": logprobs if asked.get("logprobs") else None,
            }
        ],
        "usage": {
            "prompt_tokens": sum(len(str(m["content"]).split()) for m in asked["messages"]),
            "completion_tokens": len(words),
            "total_tokens": 0,
        },
    }


def _chunks(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    reply = usual_reply(asked)
    base = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": reply["model"]}
    words = reply["choices"][0]["message"]["content"].split(" ")
    for i, word in enumerate(words):
        delta = {"content": word if i == 0 else " " + word}
        if i == 0:
            delta["role"] = "assistant"
        yield base | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield base | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    if asked["stream_options"]["include_usage"]:
        yield base | {"choices": [], "usage": reply["usage"]}


@contextmanager
def serving() -> Iterator[ChatServer]:
    """Run a server while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = server.take(asked, {k.lower(): v for k, v in self.headers.items()})
            try:
                self._give(asked, answer)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                server.done()

        def _give(self, asked: dict[str, Any], answer: Answer) -> None:
            time.sleep(answer.wait)
            if answer.drop:
                self.close_connection = True
                return
            if not self.path.endswith("/v1/chat/completions"):
                answer = error(404, message="no such path")
            if asked.get("stream") and answer.status == 200 and answer.body is None:
                self._stream(asked)
                return
            body = usual_reply(asked) if answer.body is None else answer.body
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def _stream(self, asked: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for chunk in _chunks(asked):
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
