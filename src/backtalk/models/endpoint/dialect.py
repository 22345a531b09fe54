"""Optional parameters that an endpoint rejects, found out from its errors and remembered.

OpenAI's reasoning models take ``max_completion_tokens`` in place of ``max_tokens``; Mistral takes
no ``seed``; older servers take no ``stream_options``. The first request to a model finds out.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from backtalk.models.options import LimitField

_OTHER_LIMIT: dict[str, LimitField] = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
_DROPPABLE = frozenset({"seed", "stream_options"})
_REJECTIONS = ("unsupported_parameter", "unknown_parameter", "unsupported_value", "extra_forbidden")
"""Codes by which servers say that they do not take a parameter."""
_REJECTED = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed"
    r"|cannot find field|extra (?:inputs?|fields?)|invalid (?:parameter|argument|field)\b"
    r"|no such (?:parameter|argument|field)|use '?`?max_(?:completion_)?tokens",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.;]\s|\n")


@dataclass(frozen=True)
class Dialect:
    """Parameters that a model at an endpoint takes."""

    limit_field: LimitField | None = None
    """Name of the maximum number of tokens; ``None`` if no error was about it."""
    dropped: frozenset[str] = field(default_factory=frozenset)
    """Optional parameters that are not sent."""

    def adapted(self, sent: Iterable[str], rejected: Iterable[str]) -> Dialect:
        """Return the dialect after an error; the same if there is nothing else to try.

        Parameters
        ----------
        sent : iterable of str
            Names of the parameters of the request.
        rejected : iterable of str
            Names of the parameters that the error rejects.
        """
        dropped = self.dropped | (_DROPPABLE & set(rejected) & set(sent))
        limit = self.limit_field
        if limit is None:
            limits = [_OTHER_LIMIT[name] for name in rejected if name in _OTHER_LIMIT]
            limit = next(iter(limits), None)
        return replace(self, limit_field=limit, dropped=dropped)


_lock = threading.Lock()
_dialects: dict[tuple[str, str], Dialect] = {}


def known_dialect(address: str, model: str) -> Dialect | None:
    """Return the dialect of a model, ``None`` before its first answer."""
    with _lock:
        return _dialects.get((address, model))


def remember_dialect(address: str, model: str, dialect: Dialect) -> None:
    """Remember the dialect of a model for the rest of the process.

    Parameters
    ----------
    address : str
        Address of the endpoint.
    model : str
        Name of the model there.
    dialect : Dialect
        Parameters that it takes.
    """
    with _lock:
        _dialects[address, model] = dialect


def rejected_parameters(body: Any, sent: Iterable[str]) -> list[str]:
    """Return the names of the parameters that the body of an error rejects.

    >>> rejected_parameters({"message": "Unknown name 'seed': Cannot find field."}, ["seed"])
    ['seed']
    >>> rejected_parameters({"message": "max_tokens is too large: 99999"}, ["max_tokens"])
    []

    Parameters
    ----------
    body : Any
        Body of the response, parsed or as text.
    sent : iterable of str
        Names of the parameters of the request.
    """
    named = set(_structured(body))
    sentences = [part for text in _texts(body) for part in _SENTENCE_END.split(text)]
    refusals = [part for part in sentences if _REJECTED.search(part)]
    return [
        name
        for name in sent
        if name in named or any(re.search(rf"(?<!\w){name}(?!\w)", part) for part in refusals)
    ]


def server_message(body: Any) -> str | None:
    """Return the message in the body of an error, in one line; ``None`` if there is none."""
    texts = [" ".join(text.split()) for text in _texts(body)]
    return "; ".join(dict.fromkeys(texts)) or None


def _structured(body: Any) -> Iterator[str]:
    """Yield the parameters that fields of an error name, as OpenAI and pydantic name them."""
    for part in _mappings(body):
        if part.get("code") in _REJECTIONS or part.get("type") in _REJECTIONS:
            location = part.get("loc")
            if isinstance(location, list) and len(location) == 2:
                yield str(location[1])
            if isinstance(part.get("param"), str):
                yield part["param"]


def _texts(body: Any) -> Iterator[str]:
    """Yield the messages in an error: of OpenAI, pydantic, Google."""
    if isinstance(body, str):
        yield body
    for part in _mappings(body):
        message = part.get("message", part.get("msg"))
        if isinstance(message, str):
            location = part.get("loc")
            where = f"{'.'.join(map(str, location[1:]))}: " if isinstance(location, list) else ""
            yield where + message
        elif isinstance(part.get("detail"), str):
            yield part["detail"]


def _mappings(body: Any) -> Iterator[dict[str, Any]]:
    """Yield all mappings in a body, also those that a message holds as JSON."""
    if isinstance(body, str) and body.lstrip().startswith(("{", "[")):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return
    if isinstance(body, dict):
        yield body
        for value in body.values():
            yield from _mappings(value)
    elif isinstance(body, list):
        for value in body:
            yield from _mappings(value)
