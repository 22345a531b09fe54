"""Attributes of a user and their values, read from what the user wrote."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from backtalk.learn.memory.traits import TRAITS
from backtalk.learn.memory.words import sentences

_VALUE = r"(?P<value>[^.,;!?\n]{1,60})"
_PATTERNS = tuple(
    (attribute, re.compile(pattern, re.IGNORECASE))
    for attribute, pattern in (
        ("name", rf"\b(?:my name is|call me) {_VALUE}"),
        ("home", rf"\bi(?: now)? live in {_VALUE}"),
        ("home", rf"\bi (?:have )?moved to {_VALUE}"),
        ("workplace", rf"\bi(?: now)? work (?:at|for|in) {_VALUE}"),
        ("occupation", rf"\bi(?: now)? work as (?:an? )?{_VALUE}"),
        ("languages", rf"\bi speak {_VALUE}"),
        ("origin", rf"\bi (?:am|come) from {_VALUE}"),
        ("age", r"\bi(?: am|'m) (?P<value>\d{1,3})(?: years old)?\b"),
        ("likes", rf"\bi (?:like|love|enjoy) {_VALUE}"),
        ("dislikes", rf"\bi (?:dislike|hate|can't stand) {_VALUE}"),
    )
)
_MY = re.compile(
    rf"\bmy (?P<attribute>(?:\w+ ){{0,2}}\w+) (?:is|are)(?: now)? {_VALUE}", re.IGNORECASE
)
_I_AM = re.compile(r"\bi(?: am|'m)(?: now)? an? (?P<value>[^.,;!?\n]{1,60})", re.IGNORECASE)
_SEVERAL = frozenset({"likes", "dislikes", "languages", "description"})
"""Attributes that may have several values at once."""
_NO_ATTRIBUTE = frozenset({"name", "question", "point", "problem", "mistake", "issue", "request"})
_HEADS = re.compile(r"^\W*(\w+)")
_REST = re.compile(r"\s+(?:and i|but|because|so|now|too|again|instead)\b", re.IGNORECASE)
_CLOSING_LINE = 60
"""Maximum length of a closing line, in characters."""


@dataclass(frozen=True)
class Observation:
    """Value of an attribute, as one text shows it."""

    attribute: str
    value: str

    @property
    def is_exclusive(self) -> bool:
        """True if an attribute has one value, so that another one replaces it."""
        return self.attribute not in _SEVERAL


def stated_values(text: str) -> Iterator[Observation]:
    """Yield the attributes that a user states about themself.

    >>> list(stated_values("I live in Oslo. My favourite colour is green."))[1].attribute
    'favourite colour'
    """
    for sentence in sentences(text):
        if sentence.endswith("?"):
            continue
        for attribute, pattern in _PATTERNS:
            for match in pattern.finditer(sentence):
                yield Observation(attribute, _clean(match["value"]))
        for match in _MY.finditer(sentence):
            if match["attribute"].lower() not in _NO_ATTRIBUTE:
                yield Observation(match["attribute"].lower(), _clean(match["value"]))
        for match in _I_AM.finditer(sentence):
            yield Observation("description", _clean(match["value"]))


def present_traits(texts: Iterable[str]) -> frozenset[str]:
    """Return the names of the traits that at least one answer has."""
    missing = [trait for trait in TRAITS if trait.ratio == 1.0]
    present: set[str] = set()
    for text in texts:
        present |= {trait.name for trait in missing if trait.count(text)}
        missing = [trait for trait in missing if trait.name not in present]
    return frozenset(present)


def style_values(text: str, present: Collection[str]) -> Iterator[Observation]:
    """Yield the attributes of an answer that a user wrote, edited or preferred.

    Parameters
    ----------
    text : str
        Answer.
    present : collection of str
        Traits that answers of the project have. That an answer lacks another one tells nothing
        about its user.
    """
    first = _HEADS.match(text)
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if first is not None and len(lines) > 1:
        yield Observation("first word of answers", first[1])
    if len(lines) > 2 and len(lines[-2]) <= _CLOSING_LINE and not lines[-2].endswith((".", "?")):
        yield Observation("closing line of answers", lines[-2].rstrip(","))
    for trait in TRAITS:
        if trait.ratio == 1.0 and trait.name in present:
            yield Observation(f"{trait.name} in answers", "yes" if trait.count(text) else "no")


def _clean(value: str) -> str:
    return _REST.split(value.strip())[0].strip()
