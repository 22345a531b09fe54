"""Differences between texts, and texts split at marks, for display."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Literal, NamedTuple

Change = Literal["same", "out", "in"]

_WORD = re.compile(r"\w+\s*|[^\w\s]\s*|\s+")
"""A word with its trailing space: spaces alone are all equal, which makes comparing slow."""
_MAX_WORDS = 1_500
"""Maximum number of words compared; longer texts are compared by lines."""
_MAX_LINES = 500
"""Maximum number of lines compared; longer texts are one change."""
_MAX_STEPS = 10_000_000
"""Maximum number of steps of a comparison in the worst case."""


class DiffPiece(NamedTuple):
    """Part of a text, with its change."""

    change: Change
    text: str


class MarkedText(NamedTuple):
    """Part of a text, with the marks that cover it."""

    text: str
    marks: tuple[int, ...]
    """Indices of the marks that cover it."""


def diff_words(before: str, after: str) -> list[DiffPiece]:
    """Return the difference between two texts, by words.

    >>> [(piece.change, piece.text) for piece in diff_words("We open at ten.", "We open at six.")]
    [('same', 'We open at '), ('out', 'ten'), ('in', 'six'), ('same', '.')]
    """
    old, new = _WORD.findall(before), _WORD.findall(after)
    if _is_too_long(old, new, _MAX_WORDS):
        old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
        if _is_too_long(old, new, _MAX_LINES):
            old, new = [before], [after]
    pieces: list[DiffPiece] = []
    matcher = SequenceMatcher(None, _stems(old), _stems(new), autojunk=False)
    for change, i1, i2, j1, j2 in matcher.get_opcodes():
        if change == "equal":
            for a, b in zip(old[i1:i2], new[j1:j2], strict=True):
                _append(pieces, a, b)
        else:
            _append(pieces, "".join(old[i1:i2]), "".join(new[j1:j2]))
    return pieces


def _stems(parts: Sequence[str]) -> list[str]:
    return [part.rstrip() for part in parts]


def _append(pieces: list[DiffPiece], old: str, new: str) -> None:
    """Append a change, and separately that of its trailing space."""
    old_end, new_end = len(old.rstrip()), len(new.rstrip())
    for a, b in ((old[:old_end], new[:new_end]), (old[old_end:], new[new_end:])):
        changes: tuple[tuple[Change, str], ...] = (("out", a), ("in", b))
        for change, text in (("same", a),) if a == b else changes:
            if text and pieces and pieces[-1].change == change:
                pieces[-1] = DiffPiece(change, pieces[-1].text + text)
            elif text:
                pieces.append(DiffPiece(change, text))


def _is_too_long(old: Sequence[str], new: Sequence[str], max_parts: int) -> bool:
    """Return true if comparing would be slow: many parts, or many equal parts.

    Finding the longest common block takes a step for each pair of equal parts, and is repeated for
    each block.
    """
    if max(len(old), len(new)) > max_parts:
        return True
    counts = Counter(_stems(new))
    return sum(counts[part] for part in _stems(old)) * min(len(old), len(new)) > _MAX_STEPS


def split_at_marks(text: str, spans: Sequence[tuple[int, int]]) -> list[MarkedText]:
    """Return a text split where marks begin and end; marks may overlap.

    >>> [(part.text, part.marks) for part in split_at_marks("abcd", [(1, 3), (2, 4)])]
    [('a', ()), ('b', (0,)), ('c', (0, 1)), ('d', (1,))]
    """
    cuts = sorted({0, len(text), *(min(cut, len(text)) for span in spans for cut in span)})
    return [
        MarkedText(
            text[start:end],
            tuple(i for i, (first, last) in enumerate(spans) if first <= start and end <= last),
        )
        for start, end in pairwise(cuts)
    ]
