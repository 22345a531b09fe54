"""Replacement of ids in JSON that is otherwise forwarded byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def replace_strings(text: str, values: Mapping[str, str], *, within: str | None = None) -> str:
    """Return JSON with other strings as values of fields of an object.

    A field that is missing, or that is no string, is left as it is.

    Parameters
    ----------
    text : str
        JSON object.
    values : Mapping[str, str]
        New values by name of the field.
    within : str, optional
        Name of the field that holds the object with these fields. Default: the outermost object.

    Examples
    --------
    >>> replace_strings('{"response": {"n": 1.50, "id": "a"}}', {"id": "b"}, within="response")
    '{"response": {"n": 1.50, "id": "b"}}'
    """
    start = 0
    if within is not None:
        span = _fields(text, 0).get(within)
        if span is None or text[span[0]] != "{":
            return text
        start = span[0]
    spans = _fields(text, start)
    changes = [(*spans[name], value) for name, value in values.items() if name in spans]
    for begin, end, value in sorted(changes, reverse=True):
        if text[begin] == '"':
            text = text[:begin] + json.dumps(value, ensure_ascii=False) + text[end:]
    return text


def _fields(text: str, at: int) -> dict[str, tuple[int, int]]:
    """Return the spans of the values in the object at a position, the last of each name."""
    at = _skip_space(text, _skip_space(text, at) + 1)
    spans = {}
    while text[at] != "}":
        name, at = scanstring(text, at + 1, False)
        start = _skip_space(text, _skip_space(text, at) + 1)
        _, end = _DECODER.raw_decode(text, start)
        spans[name] = (start, end)
        at = _skip_space(text, end)
        if text[at] == ",":
            at = _skip_space(text, at + 1)
    return spans


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()
