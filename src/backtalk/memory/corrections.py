"""Corrections of single requests, and the other requests that they say something about."""

from __future__ import annotations

import re

from backtalk.memory.entry import MemoryEntry
from backtalk.memory.scope_words import content_words

_CORRECTION = re.compile(r"On “(?P<request>.*?)”: (?P<words>.*)", re.DOTALL)
"""Correction of one request, as learning writes it."""
_ABOUT = re.compile(r"about “.*?”: ", re.DOTALL)
"""Part of an answer that a correction is about."""


def split_correction(text: str) -> tuple[str, str]:
    """Return the request that a correction quotes, empty if it quotes none, and its words.

    >>> split_correction("On “Two of tea”: Add milk.")
    ('Two of tea', 'Add milk.')
    >>> split_correction("Add milk.")
    ('', 'Add milk.')
    """
    match = _CORRECTION.fullmatch(text)
    return (match["request"], match["words"]) if match else ("", text)


def advice(text: str) -> str:
    """Return what a text says to do, without the request and the part that it is about.

    >>> advice("On “Tea”: about “with sugar”: Add milk.")
    'Add milk.'
    """
    words = split_correction(text)[1]
    match = _ABOUT.match(words)
    return words[match.end() :] if match else words


_SINGLE_VALUE = re.compile(r"“[^”]*\d[^”]*”|\d(?=\W*$|[.,;!?]*\s+[A-Z])", re.MULTILINE)
"""Numbers that are quoted or end a sentence: values of one answer, unlike "at most 50 words"."""


def is_about(entry: MemoryEntry, request: str) -> bool:
    """Return true unless an entry corrects what only another request has.

    A correction that repeats words of its own request, such as a name, a number or a date, is about
    requests with the same words. One that states a value, such as "The answer is 58", is about its
    own request. One that says nothing of the kind, such as "Leave out the weather", is about all
    requests in its scope.

    >>> from backtalk.feedback import Scope
    >>> scope = Scope(inside=("Invite Ada on Monday.",))
    >>> date = MemoryEntry(kind="correction", text="Write “Monday”, not “Friday”.", scope=scope)
    >>> is_about(date, "Invite Ada for lunch on Monday."), is_about(date, "Invite Ada on Tuesday.")
    (True, False)
    """
    inside = entry.scope.inside
    if entry.kind != "correction" or not inside or request in inside:
        return True
    text = advice(entry.text)
    words = {*content_words(text)}
    own = set.intersection(*({*content_words(one)} for one in inside))
    has_value = _SINGLE_VALUE.search(text) is not None
    return not has_value and words & own <= {*content_words(request)}
