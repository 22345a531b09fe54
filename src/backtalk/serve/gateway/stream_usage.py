"""Usage of streamed completions: requested from upstreams, and hidden from other callers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from backtalk.models.endpoint.dialect import (
    Dialect,
    known_dialect,
    rejected_parameters,
    remember_dialect,
)
from backtalk.serve.backends.upstream import UpstreamRequest, with_body

_OPTIONS = "stream_options"
_ADDITION = b',"stream_options":{"include_usage":true}}'
_NULL_USAGE = re.compile(r',\s*"usage"\s*:\s*null(?=\s*[,}])|(?<=\{)\s*"usage"\s*:\s*null\s*,')


def with_usage(request: UpstreamRequest) -> UpstreamRequest | None:
    """Return a request for a stream that ends with its usage, ``None`` if it does anyway.

    The bytes of the body stay as they are, except for the option.

    Parameters
    ----------
    request : UpstreamRequest
        Request for a streamed completion.
    """
    body = request.json_body or {}
    options = body.get(_OPTIONS)
    if options is None and _OPTIONS not in body:
        raw_body = request.body.strip()
        if raw_body.startswith(b"{") and raw_body.endswith(b"}"):
            changed = {**body, _OPTIONS: {"include_usage": True}}
            return replace(request, body=raw_body[:-1] + _ADDITION, json_body=changed)
    options = {} if options is None else options
    if not isinstance(options, Mapping) or options.get("include_usage") is True:
        return None
    return with_body(request, {**body, _OPTIONS: {**options, "include_usage": True}})


def rejects_usage(address: str, model: str) -> bool:
    """Return true if a model is known to reject the option."""
    dialect = known_dialect(address, model)
    return dialect is not None and _OPTIONS in dialect.dropped


def learn_usage_rejection(address: str, model: str, error: Any) -> bool:
    """Return true, and remember it, if an error rejects the option.

    Parameters
    ----------
    address : str
        Address of the upstream.
    model : str
        Model that the request names.
    error : Any
        Body of the error, parsed or as text.
    """
    if not rejected_parameters(error, [_OPTIONS]):
        return False
    dialect = known_dialect(address, model) or Dialect()
    remember_dialect(address, model, dialect.adapted([_OPTIONS], [_OPTIONS]))
    return True


def hide_usage(chunk: Any, text: str) -> str | None:
    """Return a chunk of a stream as a caller sees it who did not request the usage.

    Usage in a chunk with an answer is left: servers report it there without being asked.

    >>> hide_usage({"choices": [{}], "usage": None}, '{"choices": [{}], "usage": null}')
    '{"choices": [{}]}'

    Parameters
    ----------
    chunk : Any
        Parsed chunk.
    text : str
        Its text.

    Returns
    -------
    str or None
        Text, ``None`` if the chunk has nothing but the usage.
    """
    if not isinstance(chunk, dict) or "usage" not in chunk:
        return text
    if chunk["usage"] is not None:
        return text if chunk.get("choices") or "error" in chunk else None
    matches = list(_NULL_USAGE.finditer(text))
    if len(matches) != 1:
        return text
    return text[: matches[0].start()] + text[matches[0].end() :]
