"""Random malformed and hostile requests for the API."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

NO_KEY_MARKER = "no-key-was-given"
"""Marker in every request without a key, which must not appear in the store."""


@dataclass(frozen=True)
class FuzzRequest:
    """HTTP request as bytes."""

    mutation: str
    """Name of the kind of damage."""
    data: bytes
    authenticated: bool
    """True if it has a valid key."""
    cut: bool = False
    """True if its body is truncated, so that the client must end the connection."""
    page: bool = False
    """True if it is for a page."""


_CUT = b"\x00\x00cut\x00\x00"


def random_text(rng: random.Random) -> str:
    """Return a random hostile or unusual text."""
    return rng.choice(_TEXTS)()


_TEXTS: tuple[Callable[[], str], ...] = (
    lambda: "",
    lambda: " ",
    lambda: "\x00",
    lambda: "a\x00b",
    lambda: "\ud800",
    lambda: "\udfff\ud800",
    lambda: "\ufffe\uffff\U0010ffff",
    lambda: "\u202eabc\u2066",
    lambda: "x" * 100_000,
    lambda: "' OR 1=1; DROP TABLE feedback; --",
    lambda: '"; SELECT pg_sleep(10); --',
    lambda: "{{7*7}}${7*7}<%= 7*7 %>#{7*7}",
    lambda: "${jndi:ldap://127.0.0.1/a}",
    lambda: "%s%n%x{0.__class__}",
    lambda: "<script>alert(1)</script>",
    lambda: "../../../etc/passwd",
    lambda: "..\\..\\windows",
    lambda: "\r\nset-cookie: a=b\r\n",
    lambda: "backtalk:",
    lambda: "backtalk:../x",
    lambda: "backtalk:a/b/c/d",
    lambda: "backtalk:\x00/\ud800",
    lambda: "__class__",
    lambda: "NaN",
    lambda: "9" * 5_000,
    lambda: "0" * 32,
    lambda: "2026-13-45T99:99:99Z",
    lambda: "9999-12-31T23:59:59.999999+23:59",
    lambda: "0001-01-01T00:00:00-23:59",
)

_VALUES: tuple[str, ...] = (
    "null", "true", "false", "0", "-1", "1e308", "-1e308", "1e999", "NaN", "Infinity", "-Infinity",
    "9" * 5_000, "1" + "0" * 400, "18446744073709551616", "-9223372036854775809", "0.1e-400", "[]",
    "{}", "[[]]", "[null]", '[{"a": null}]', '{"": ""}', '{"__proto__": {"a": 1}}',
    "[" * 2_000 + "]" * 2_000, '{"a":' * 1_000 + "1" + "}" * 1_000, "[" * 200_000,
)  # fmt: skip


def _templates() -> dict[str, list[Any]]:
    """Return valid request bodies by path."""
    chat = {
        "model": "small",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Is it open?"}]},
        ],
        "n": 1,
        "user": "bo",
        "stream": False,
        "stream_options": {"include_usage": True},
        "stop": ["."],
        "temperature": 0.5,
        "metadata": {"shop": "1"},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    }
    person = {"id": "bo", "kind": "human"}
    common = {"interaction": "interaction-id", "annotator": person, "confidence": 0.5}
    part = {"start": 0, "end": 2}
    tenths = {"name": "tenths", "low": 0.0, "high": 10.0}
    rows: list[dict[str, Any]] = [
        {"interaction": "interaction-id", "thumb": "up", "user": "bo", "metadata": {"a": 1}},
        {"interaction": "interaction-id", "edit": "Yes.", "response": "0", "id": "one"},
        {
            "interaction": "interaction-id",
            "comment": "Say until when.",
            "time": "2026-01-01T00:00:00Z",
        },
        {**common, "kind": "rating", "response": "0", "value": 4, "aspect": "tone"},
        {**common, "kind": "rating", "response": "0", "value": 1, "scale": tenths},
        {**common, "kind": "preference", "a": "0", "b": "1", "verdict": "a", "strength": 1.0},
        {**common, "kind": "ranking", "tiers": [["0"], ["1", "2"]]},
        {**common, "kind": "critique", "text": "Too long.", "response": "0"},
        {**common, "kind": "demonstration", "text": "Yes, until six."},
        {**common, "kind": "spans", "response": "0", "spans": [{**part, "label": "wrong"}]},
        {**common, "kind": "steps", "response": "0", "steps": [{**part, "verdict": "right"}]},
        {**common, "kind": "outcome", "response": "0", "passed": True, "score": 1.0, "text": ""},
        {**common, "kind": "follow_up", "text": "And on Sunday?"},
        {**common, "kind": "choice", "shown": [{"response": "0"}], "chosen": "0"},
        {"kind": "instruction", "annotator": person, "text": "No emojis."},
    ]
    return {
        "/v1/chat/completions": [chat, {**chat, "model": "backtalk:mail"}, {**chat, "n": 3}],
        "/v1/completions": [
            {"model": "small", "prompt": ["a", "b"], "max_tokens": 3},
            {"model": "small", "prompt": [[1, 2], [3]]},
        ],
        "/v1/embeddings": [{"model": "small", "input": ["a", "b"]}],
        "/v1/feedback": [*rows, rows, {"feedback": rows[:3]}],
        "/v1/purge": [{"user": "somebody"}],
    }


TEMPLATES = _templates()
_PATHS = (
    "/v1/chat/completions/", "//v1//chat/completions", "/v1/../v1/chat/completions", "/v1/%2e%2e/x",
    "/v1/..%2f..%2fetc%2fpasswd", "/v1/%00", "/v1/models/%ff%fe", "/v1/models/backtalk:%00",
    "/v1/models/backtalk:a/b/c", "/v1/models/../../x", "/v1/feedback/%2e%2e/purge", "/v1/audit",
    "/v1/models", "/metrics", "/openapi.json", "/docs", "/v1/" + "a" * 20_000, "/v1/./models",
    "/v1/chat;x=1/completions", "/V1/CHAT/COMPLETIONS", "/v1/responses", "/v1/files", "/", "*",
    "http://elsewhere.example/v1/models", "/v1/%u0041", "/v1/%", "/v1/models/%F0%9F%98%80",
    "/ready", "/backtalk.js", "/v1/feedback/schema", "/v1/x\\..\\y", "/.git/config", "/health",
    "/v1/x?" + "a=b&" * 500,
)  # fmt: skip
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "BREW")
HEADERS = (
    "content-type", "accept", "authorization", "x-api-key", "api-key", "idempotency-key", "origin",
    "x-backtalk-project", "x-backtalk-session", "x-backtalk-parent", "x-backtalk-user", "host",
    "cookie", "x-forwarded-for", "x-forwarded-host", "range", "if-none-match", "accept-encoding",
    "content-encoding", "te", "traceparent", "user-agent", "referer", "forwarded", "expect",
    "upgrade", "content-disposition", "transfer-encoding", "content-length", "x-request-id",
)  # fmt: skip


class ApiFuzzer:
    """Generator of random malformed and hostile requests for the API.

    Parameters
    ----------
    key : str
        Valid admin key.
    seed : int
        Seed of the random numbers.
    interaction : str, default "interaction-id"
        Id of the interaction that feedback is about.
    """

    def __init__(self, key: str, seed: int, *, interaction: str = "interaction-id") -> None:
        self._key = key
        self._interaction = json.dumps(interaction)
        self._rng = random.Random(seed)
        self._mutations = {
            "value": self._value,
            "structure": self._structure,
            "bytes": self._bytes,
            "encoding": self._encoding,
            "transfer": self._transfer,
            "headers": self._headers,
            "path": self._path,
        }

    def draw(self, count: int) -> Iterator[FuzzRequest]:
        """Yield random requests."""
        names = list(self._mutations)
        for _ in range(count):
            name = self._rng.choice(names)
            authenticated = self._rng.random() < 0.7
            data = self._mutations[name](authenticated)
            cut = data.endswith(_CUT)
            yield FuzzRequest(name, data.removesuffix(_CUT), authenticated, cut)

    def _template(self, authenticated: bool) -> tuple[str, str]:
        path = self._rng.choice(list(TEMPLATES))
        text = json.dumps(self._rng.choice(TEMPLATES[path])).replace(
            '"interaction-id"', self._interaction
        )
        return path, text if authenticated else text.replace('"bo"', f'"{NO_KEY_MARKER}"')

    def _request(
        self,
        authenticated: bool,
        path: str,
        body: bytes,
        *,
        method: str = "POST",
        headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),),
        length: str | None = None,
    ) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "connection: close", "host: 127.0.0.1"]
        if authenticated:
            lines.append(f"authorization: Bearer {self._key}")
        else:
            near = f"Bearer {self._key[:-1]}"
            wrong = ("", "Bearer ", "Bearer bt-wrong", "Basic YTpi", near, "\x01")
            lines.append(f"authorization: {self._rng.choice(wrong)}")
        lines += [f"{name}: {value}" for name, value in headers]
        if length is None:
            lines.append(f"content-length: {len(body)}")
        elif length:
            lines.append(length)
        return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body

    def _value(self, authenticated: bool) -> bytes:
        """Replace one or two values of the body."""
        path, text = self._template(authenticated)
        value = json.loads(text)
        raw = {}
        for index in range(self._rng.choice((1, 1, 2))):
            mark = f"@@{index}@@"
            slot = self._slot(value)
            if slot is None:
                break
            container, name = slot
            container[name] = mark
            raw[f'"{mark}"'] = (
                json.dumps(random_text(self._rng))
                if self._rng.random() < 0.5
                else self._rng.choice(_VALUES)
            )
        text = json.dumps(value)
        for mark, replacement in raw.items():
            text = text.replace(mark, replacement)
        return self._request(authenticated, path, text.encode("utf-8", "surrogatepass"))

    def _slot(self, value: Any) -> tuple[Any, Any] | None:
        slots: list[tuple[Any, Any]] = []

        def walk(node: Any) -> None:
            items = node.items() if isinstance(node, dict) else enumerate(node)
            for name, inner in items:
                slots.append((node, name))
                if isinstance(inner, dict | list):
                    walk(inner)

        walk(value)
        return self._rng.choice(slots) if slots else None

    def _structure(self, authenticated: bool) -> bytes:
        """Remove, repeat or add a field, or replace the body by a list or another type."""
        path, text = self._template(authenticated)
        value = json.loads(text)
        slot = self._slot(value)
        choice = self._rng.randrange(6)
        if choice == 0 and slot is not None and isinstance(slot[0], dict):
            del slot[0][slot[1]]
        elif choice == 1 and isinstance(value, dict):
            value[random_text(self._rng)] = random_text(self._rng)
        elif choice == 2:
            value = [value] * self._rng.choice((0, 1, 3, 1_001))
        elif choice == 3 and slot is not None:
            slot[0][slot[1]] = [slot[0][slot[1]]] * 50
        elif choice == 4:
            value = self._rng.choice((None, 1, "text", True, [], {}, [[]], [1, None, "x"]))
        text = json.dumps(value)
        if choice == 5 and text.startswith("{"):
            text = text[:-1] + ", " + text[1:]
        return self._request(authenticated, path, text.encode("utf-8", "surrogatepass"))

    def _bytes(self, authenticated: bool) -> bytes:
        """Truncate the body, or change or insert bytes."""
        path, text = self._template(authenticated)
        body = bytearray(text.encode())
        for _ in range(self._rng.choice((1, 1, 3, 20))):
            index = self._rng.randrange(len(body) or 1)
            choice = self._rng.randrange(4)
            if choice == 0:
                del body[index:]
            elif choice == 1 and body:
                body[index] = self._rng.randrange(256)
            elif choice == 2:
                body[index:index] = self._rng.choice(
                    (b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\x00")
                )
            else:
                body[index:index] = self._rng.randbytes(self._rng.randrange(64))
        return self._request(authenticated, path, bytes(body))

    def _encoding(self, authenticated: bool) -> bytes:
        """Change the character set, the content type or the content encoding."""
        path, text = self._template(authenticated)
        body = text.encode(self._rng.choice(("utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-7")))
        types = (
            "", "text/plain", "application/xml", "multipart/form-data; boundary=a", "a/b/c", "*/*",
            "application/x-www-form-urlencoded", "application/json; charset=utf-16",
            "application/json; charset=\x00", "text/event-stream", "application/octet-stream",
        )  # fmt: skip
        encodings = ("", "gzip", "br", "deflate", "identity", "gzip, gzip", "x" * 1_000)
        headers = (
            ("content-type", self._rng.choice(types)),
            ("content-encoding", self._rng.choice(encodings)),
        )
        return self._request(authenticated, path, body, headers=headers)

    def _transfer(self, authenticated: bool) -> bytes:
        """Send the body in chunks, or with a wrong length."""
        path, text = self._template(authenticated)
        body = text.encode()
        size = b"%x" % len(body)
        choice = self._rng.randrange(10)
        chunked = "transfer-encoding: chunked"
        if choice < 6:
            chunks = (
                size + b"\r\n" + body + b"\r\n0\r\n\r\n",
                b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n",
                size + b"\r\n" + body[:-3] + _CUT,
                b"zz\r\n" + body + b"\r\n0\r\n\r\n",
                b"f" * 40 + b"\r\n" + body + _CUT,
                b"-1\r\n" + body + b"\r\n0\r\n\r\n",
            )
            return self._request(authenticated, path, chunks[choice], length=chunked)
        lengths = (
            f"content-length: {len(body) + 100}",
            "content-length: -1",
            "content-length: 1e3",
            f"content-length: {len(body)}\r\n{chunked}",
        )
        body += _CUT if choice == 6 else b""
        return self._request(authenticated, path, body, length=lengths[choice - 6])

    def _headers(self, authenticated: bool) -> bytes:
        """Send large, many or invalid headers."""
        path, text = self._template(authenticated)
        headers: list[tuple[str, str]] = [("content-type", "application/json")]
        names = [
            n
            for n in HEADERS
            if authenticated or n not in {"authorization", "x-api-key", "api-key"}
        ]
        count = self._rng.choice((1, 2, 5))
        headers += [(self._rng.choice(names), random_text(self._rng)) for _ in range(count)]
        choice = self._rng.randrange(8)
        if choice == 0:
            headers.append(("x-large", "a" * self._rng.choice((10_000, 70_000, 500_000))))
        elif choice == 1:
            headers += [(f"x-{i}", "a") for i in range(self._rng.choice((100, 2_000)))]
        elif choice == 2:
            headers.append((random_text(self._rng)[:200], "a"))
        return self._request(authenticated, path, text.encode(), headers=tuple(headers))

    def _path(self, authenticated: bool) -> bytes:
        """Send another path, or an unknown method."""
        path, text = self._template(authenticated)
        path = self._rng.choice((*_PATHS, path))
        method = self._rng.choice(_METHODS)
        body = text.encode() if self._rng.random() < 0.5 else b""
        return self._request(authenticated, path, body, method=method)
