"""Headers that are forwarded between callers and upstreams."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Header = tuple[str, str]

_HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings",
        "expect", "host", "content-length",
    }
)  # fmt: skip
_DROPPED_REQUEST_HEADERS = _HOP_BY_HOP | {
    "accept-encoding", "content-encoding", "cookie", "origin", "referer",
}  # fmt: skip
"""Request headers between the caller and the gateway. Bodies are forwarded decoded, and a web
page's origin has been checked."""
_DROPPED_RESPONSE_HEADERS = _HOP_BY_HOP | {"set-cookie", "date", "server", "alt-svc"}
_CROSS_ORIGIN = "access-control-"
"""Prefix of headers by which the upstream, not the gateway, would admit web pages."""

KEY_HEADERS = frozenset({"authorization", "x-api-key", "api-key"})
"""Headers that carry an API key, of OpenAI, Anthropic and Azure."""


def request_headers(headers: Sequence[Header], *, keep_key: bool) -> list[Header]:
    """Return the caller's headers that are forwarded to an upstream.

    Parameters
    ----------
    headers : Sequence[Header]
        Headers of the caller, with lower-case names.
    keep_key : bool
        If true, forward the caller's API key.
    """
    dropped = _DROPPED_REQUEST_HEADERS | _nominated(headers)
    return [
        (name, value)
        for name, value in headers
        if name not in dropped
        and not name.startswith("x-backtalk-")
        and (keep_key or name not in KEY_HEADERS)
    ]


def with_key(headers: Sequence[Header], key: str) -> list[Header]:
    """Return headers with the API key of an upstream in place of the caller's.

    Anthropic's API reads another header than OpenAI's, and is recognised by its version header.

    Parameters
    ----------
    headers : Sequence[Header]
        Headers of a request, with lower-case names.
    key : str
        API key.
    """
    other = [(name, value) for name, value in headers if name not in KEY_HEADERS]
    if any(name == "anthropic-version" for name, _ in other):
        other.append(("x-api-key", key))
    return [*other, ("authorization", f"Bearer {key}")]


def response_headers(
    raw_headers: Iterable[tuple[bytes, bytes]], *, decoded: bool
) -> dict[str, str]:
    """Return the headers of an upstream's response that are forwarded to the caller.

    Parameters
    ----------
    raw_headers : Iterable[tuple[bytes, bytes]]
        Headers of the response.
    decoded : bool
        If true, the body is forwarded without its content encoding.
    """
    pairs = [(k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in raw_headers]
    dropped = _DROPPED_RESPONSE_HEADERS | _nominated(pairs)
    headers: dict[str, str] = {}
    for name, value in pairs:
        is_dropped = name in dropped or name.startswith(_CROSS_ORIGIN)
        if not is_dropped and not (decoded and name == "content-encoding"):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _nominated(headers: Iterable[Header]) -> set[str]:
    """Return the names in ``Connection`` headers, which concern one connection only."""
    return {
        part.strip().lower()
        for name, value in headers
        if name == "connection"
        for part in value.split(",")
    }
