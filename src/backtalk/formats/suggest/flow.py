"""YAML in flow style: ``{prompt: question, responses: [answer]}``."""

from __future__ import annotations

import json
import re
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_][\w/@+-]*([ .][\w/@+-]+)*|\d+(\.\d+)?-\d+(\.\d+)?|-\d+(\.\d+)?-\d+")
_RESERVED = frozenset({"y", "n", "yes", "no", "true", "false", "on", "off", "null", "none"})
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def flow(value: Any) -> str:
    """Return a value in YAML's flow style.

    >>> flow({"kind": "rating", "column": "a: b", "scale": "1-5", "good": ["yes", 1]})
    '{kind: rating, column: "a: b", scale: 1-5, good: ["yes", 1]}'
    """
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{scalar(name)}: {flow(item)}" for name, item in value.items()) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value) if isinstance(value, str) else json.dumps(value)


def scalar(text: str) -> str:
    """Return a text as a YAML scalar, in quotes only where they are needed."""
    plain = text.isascii() and _PLAIN.fullmatch(text) and text.lower() not in _RESERVED
    if plain:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return escape(quoted)


def escape(text: str) -> str:
    """Return a text with escapes in place of characters that YAML does not allow."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
