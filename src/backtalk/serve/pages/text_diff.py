"""Texts taken apart for showing: what changed between two, what is marked in one."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Literal, NamedTuple

from backtalk.feedback import Message

Change = Literal["same", "out", "in"]

_WORD = re.compile(r"\w+\s*|[^\w\s]\s*|\s+")
"""With the space behind it: spaces on their own are all alike, and to compare these takes long."""
_MAX_WORDS = 1_500
"""Longer texts are compared by lines: comparing takes the product of both lengths."""
_MAX_LINES = 500
"""Texts of more lines are one change as a whole."""
_MAX_STEPS = 10_000_000
"""Of the comparison, at worst; where it could take more, it is done more coarsely."""


class DiffPiece(NamedTuple):
    """A stretch of text and what became of it."""

    change: Change
    text: str


class MarkedText(NamedTuple):
    """A stretch of a text, and the marks that are on it."""

    text: str
    marks: tuple[int, ...]
    """Which of the marks cover it, by their place in the list."""


def diff_words(before: str, after: str) -> list[DiffPiece]:
    """Return how one text becomes the other, word by word.

    >>> [(piece.change, piece.text) for piece in diff_words("We open at ten.", "We open at six.")]
    [('same', 'We open at '), ('out', 'ten'), ('in', 'six'), ('same', '.')]
    """
    old, new = _WORD.findall(before), _WORD.findall(after)
    if _is_too_long(old, new, _MAX_WORDS):
        old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
        if _is_too_long(old, new, _MAX_LINES):
            old, new = [before], [after]
    results: list[DiffPiece] = []
    matcher = SequenceMatcher(None, _stems(old), _stems(new), autojunk=False)
    for change, i1, i2, j1, j2 in matcher.get_opcodes():
        if change == "equal":
            for part, other in zip(old[i1:i2], new[j1:j2], strict=True):
                _append(results, part, other)
        else:
            _append(results, "".join(old[i1:i2]), "".join(new[j1:j2]))
    return results


def _stems(parts: Sequence[str]) -> list[str]:
    return [part.rstrip() for part in parts]


def _append(pieces: list[DiffPiece], old: str, new: str) -> None:
    """Add what became of a stretch, and apart from it of the space behind."""
    cut, put = len(old.rstrip()), len(new.rstrip())
    for was, now in ((old[:cut], new[:put]), (old[cut:], new[put:])):
        changes: tuple[tuple[Change, str], ...] = (("out", was), ("in", now))
        for change, text in (("same", was),) if was == now else changes:
            if text and pieces and pieces[-1].change == change:
                pieces[-1] = DiffPiece(change, pieces[-1].text + text)
            elif text:
                pieces.append(DiffPiece(change, text))


def _is_too_long(old: Sequence[str], new: Sequence[str], max_parts: int) -> bool:
    """Return whether it would take long to compare texts of many parts, or of many that are alike.

    To find the longest common stretch takes as many steps as there are pairs of equal parts, and
    that is done again for each stretch.
    """
    if max(len(old), len(new)) > max_parts:
        return True
    times = Counter(_stems(new))
    return sum(times[part] for part in _stems(old)) * min(len(old), len(new)) > _MAX_STEPS


def split_at_marks(text: str, spans: Sequence[tuple[int, int]]) -> list[MarkedText]:
    """Return a text cut where marks begin and end; marks may overlap.

    >>> [(part.text, part.marks) for part in marked("abcd", [(1, 3), (2, 4)])]
    [('a', ()), ('b', (0,)), ('c', (0, 1)), ('d', (1,))]
    """
    cuts = sorted({0, len(text), *(min(place, len(text)) for span in spans for place in span)})
    return [
        MarkedText(
            text[start:end],
            tuple(i for i, (first, last) in enumerate(spans) if first <= start and end <= last),
        )
        for start, end in pairwise(cuts)
    ]


def message_parts(messages: Iterable[Message]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the role, the text, and what else is in a message, in words or as JSON."""
    for message in messages:
        extras = [json.dumps(call, indent=1, ensure_ascii=False) for call in message.tool_calls]
        if isinstance(message.content, tuple):
            extras += [
                f"[{part.get('type', 'something that is not text')}]"
                for part in message.content
                if "text" not in part
            ]
        yield message.role, message.text, extras
