"""Texts taken apart for showing: what changed between two, what is marked in one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Literal, NamedTuple

from backtalk.feedback import Message

Change = Literal["same", "out", "in"]

_WORD = re.compile(r"\s+|\w+|[^\w\s]")
_MOST_WORDS = 1_500
"""Longer texts are compared by lines: comparing takes the product of both lengths."""
_MOST_LINES = 500
"""Texts of more lines are one change as a whole."""


class Piece(NamedTuple):
    """A stretch of text and what became of it."""

    change: Change
    text: str


class Mark(NamedTuple):
    """A stretch of a text, and the marks that are on it."""

    text: str
    marks: tuple[int, ...]
    """Which of the marks cover it, by their place in the list."""


def diff_words(before: str, after: str) -> list[Piece]:
    """Return how one text becomes the other, word by word.

    >>> [(piece.change, piece.text) for piece in diff_words("We open at ten.", "We open at six.")]
    [('same', 'We open at '), ('out', 'ten'), ('in', 'six'), ('same', '.')]
    """
    old, new = _WORD.findall(before), _WORD.findall(after)
    if max(len(old), len(new)) > _MOST_WORDS:
        old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
        if max(len(old), len(new)) > _MOST_LINES:
            old, new = [before], [after]
    found: list[Piece] = []
    for change, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if change == "equal":
            found.append(Piece("same", "".join(old[i1:i2])))
            continue
        if i2 > i1:
            found.append(Piece("out", "".join(old[i1:i2])))
        if j2 > j1:
            found.append(Piece("in", "".join(new[j1:j2])))
    return found


def marked(text: str, spans: Sequence[tuple[int, int]]) -> list[Mark]:
    """Return a text cut where marks begin and end; marks may overlap.

    >>> [(part.text, part.marks) for part in marked("abcd", [(1, 3), (2, 4)])]
    [('a', ()), ('b', (0,)), ('c', (0, 1)), ('d', (1,))]
    """
    cuts = sorted({0, len(text), *(min(place, len(text)) for span in spans for place in span)})
    return [
        Mark(
            text[start:end],
            tuple(i for i, (first, last) in enumerate(spans) if first <= start and end <= last),
        )
        for start, end in pairwise(cuts)
    ]


def message_parts(messages: Iterable[Message]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the role, the text, and what else is in a message, in words or as JSON."""
    for message in messages:
        beside = [json.dumps(call, indent=1, ensure_ascii=False) for call in message.tool_calls]
        if isinstance(message.content, tuple):
            beside += [
                f"[{part.get('type', 'something that is not text')}]"
                for part in message.content
                if "text" not in part
            ]
        yield message.role, message.text, beside
