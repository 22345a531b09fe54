"""Facts that a sentence states: an attribute of somebody or something, and its value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from backtalk.memory.opposites import (
    ATTRIBUTES,
    COUNTRIES,
    FUNCTION,
    ONE_OF_MANY,
    SINGULAR,
    words_of,
)
from backtalk.memory.scope_words import stem

_VERBS = {
    # Attribute: verb with its preposition. The subject is before it, the value after it.
    "home": r"lives?\b(?: \w+ly)? (?:in|at)",
    "employer": r"works? (?:for|at)",
    "origin": r"(?:am|is|are|comes?|'m) from",
    "birth": r"(?:was|were) born (?:in|on)",
    "name": r"(?:am|is|are|'m) (?:called|named)",
    "spouse": r"(?:am|is|'m) married to",
    "boss": r"reports? to",
    "school": r"stud(?:y|ies) at",
    "age": r"(?:am|is|'m) (?=\d+\b)",
}
_VERB_FACTS = [
    (
        name,
        re.compile(
            rf"^(?P<subject>[^,]*?) ?\b(?:now |currently )?{verb} ?(?P<value>.+)$", re.IGNORECASE
        ),
    )
    for name, verb in _VERBS.items()
]
_IS = re.compile(
    r"^(?P<subject>[^,]+?)(?: is| are|'s|:| =)(?: now| actually| currently)?"
    r"(?: at| on| in| due(?: on| by)?| called)? (?P<value>(?!not\b|n't\b).+)$",
    re.IGNORECASE,
)
_POSSESSIVE = re.compile(
    r"^(?:my|our|his|her|their|its|the user's|.+'s|the .+ of) ?", re.IGNORECASE
)
_DATE_WORDS = frozenset(f"{ONE_OF_MANY['weekday']}|{ONE_OF_MANY['month']}".split("|"))
_TIME = re.compile(
    r"^\d{1,2}(?:[:.]\d{2})? ?(?:am|pm|o'clock)?$|^(?:noon|midnight)$", re.IGNORECASE
)
_NOT_SINGULAR = words_of("open available free closed busy")
_WORDS = re.compile(r"[\w@.+:]*\w")
_NOT_IN_VALUE = FUNCTION | {"now", "instead", "again", "anymore", "really", "actually", "s", "old"}


@dataclass(frozen=True)
class Fact:
    """Attribute of somebody or something, with its value."""

    subject: frozenset[str]
    """Stems of the words for the subject and the attribute."""
    value: frozenset[str]
    type: str
    """Type of the value: two values of different types do not exclude each other."""


def find_facts(sentence: str) -> tuple[Fact, ...]:
    """Return the facts that a sentence states, in its original case."""
    return tuple(_find(sentence.strip(" .!")))


def _find(sentence: str) -> Iterator[Fact]:
    for name, pattern in _VERB_FACTS:
        if (match := pattern.match(sentence)) and match["value"].strip(" .,\n\r\t"):
            yield _fact(f"{match['subject']} {name}", match["value"])
            return
    match = _IS.match(sentence)
    if match is None:
        return
    subject, value = match["subject"], match["value"]
    if not value.strip(" .,\n\r\t"):
        return
    words = {stem(word) for word in _WORDS.findall(subject.casefold())}
    value_words = {*_WORDS.findall(value.casefold())}
    if value_words & _NOT_SINGULAR:
        return
    has_attribute = bool(_POSSESSIVE.match(subject) or words & SINGULAR)
    type_ = _type(value)
    if words & SINGULAR or (has_attribute and words & ATTRIBUTES):
        yield _fact(subject, value, "")
    elif type_ in {"date", "time", "number"}:
        yield _fact(subject, value)


def _fact(subject: str, value: str, type_: str | None = None) -> Fact:
    return Fact(
        frozenset(map(stem, _WORDS.findall(subject.casefold()))) - FUNCTION - SINGULAR,
        frozenset(map(stem, _WORDS.findall(value.casefold()))) - _NOT_IN_VALUE,
        _type(value) if type_ is None else type_,
    )


def _type(value: str) -> str:
    words = value.split()
    lower = [word.casefold().strip(".,") for word in words]
    if {*lower} & _DATE_WORDS:
        return "date"
    if _TIME.match(" ".join(lower)) or {"am", "pm"} & {*lower}:
        return "time"
    if lower and lower[0][:1].isdigit():
        return "number"
    if {*lower} & COUNTRIES:
        return "country"
    if words[0][0].isupper():
        return "name"
    return "words"
