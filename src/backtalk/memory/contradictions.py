"""Contradictions between texts, found without a model."""

from __future__ import annotations

import re

_SLOTS = {
    "units": ({"metric", "celsius", "kilometres", "kilometers"}, {"imperial", "fahrenheit"}),
}
_NEGATIONS = {"no", "not", "never", "don't", "without", "avoid", "stop"}
_COMMON = {"use", "in", "the", "a", "an", "to", "of", "please", "always", "do", "any", "units"}


def _words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.casefold())


def _content(text: str) -> frozenset[str]:
    return frozenset(word.rstrip("s") for word in _words(text) if word not in _NEGATIONS | _COMMON)


def _values(text: str) -> dict[str, int]:
    words = _words(re.sub(r"\bnot \w+", "", text.casefold()))
    return {
        slot: number
        for slot, values in _SLOTS.items()
        for number, value in enumerate(values)
        if value & {*words}
    }


def topics_of(text: str) -> frozenset[str]:
    """Return the subjects of a text; texts that contradict each other have one in common."""
    return frozenset({*_values(text)} | {f"word:{word}" for word in _content(text)})


def contradiction(a: str, b: str) -> str | None:
    """Return the subject on which two texts contradict each other, ``None`` if they do not."""
    values, others = _values(a), _values(b)
    for slot in sorted(values.keys() & others.keys()):
        if values[slot] != others[slot]:
            return slot
    negative = [bool(_NEGATIONS & {*_words(text)}) for text in (a, b)]
    if negative[0] != negative[1] and _content(a) == _content(b):
        return " ".join(sorted(_content(a)))
    return None
