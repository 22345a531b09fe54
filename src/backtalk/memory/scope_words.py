"""Content words of scopes and requests, and the conditions that a scope states in words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log

from backtalk.memory.common_words import (
    ALL_WORDS,
    FUNCTION_WORDS,
    GENERAL_WORDS,
    UNSPECIFIC_WORDS,
)

GENERAL_WEIGHT = 0.3
"""Weight of a word for any kind of request, such as "mail" or "question", in a condition."""

COMMON_WEIGHT = 0.4
"""Weight of a word that every request has, relative to one that none has."""

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_VOWEL = re.compile("[aeiouy]")
_IDEOGRAPHS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_EXCEPT = re.compile(
    r"\b(?:except(?: for| in| when)?|unless|but not|other than|outside(?: of)?|apart from|excluding"
    r"|without|not|never|n't)\b"
)
_QUALIFIER = re.compile(r"^\W*\w+\b.*?\w+ (?:for|to|from|about|with|of|by)\b(?P<rest>.*)$")
_OR = re.compile(r"\s*(?:,|;|/|\bor\b|\band\b)\s*")


def stem(word: str) -> str:
    """Return a word without the ending of a plural or a verb form.

    >>> [stem(word) for word in ("mails", "e-mail", "cities", "cooking", "planned", "class")]
    ['mail', 'mail', 'city', 'cook', 'plan', 'class']
    """
    word = word.casefold().replace("\u2019", "'").removesuffix("'s")
    if word in {"email", "e-mail"}:
        return "mail"
    for ending, replacement, length in (("ies", "y", 5), ("sses", "ss", 5), ("ches", "ch", 5)):
        if word.endswith(ending) and len(word) >= length:
            return word.removesuffix(ending) + replacement
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        word = word[:-1]
    for ending in ("ing", "ed"):
        start = word.removesuffix(ending)
        if start != word and len(start) > 2 and _VOWEL.search(start):
            return _undoubled(start)
    return word


def _undoubled(word: str) -> str:
    return word[:-1] if word[-1] == word[-2] and word[-1] not in "aeioulsz" else word


@lru_cache(maxsize=1 << 14)
def content_words(text: str) -> tuple[str, ...]:
    """Return the distinct stems of a text's words with content, in their order.

    A text in a language without spaces gives pairs of adjacent characters.

    >>> content_words("in mails to my boss")
    ('mail', 'boss')
    """
    text = re.sub(r"\be-mail", "mail", text.casefold())
    stems: dict[str, None] = {}
    for match in _WORD.finditer(text):
        word = match.group()
        if _IDEOGRAPHS.search(word):
            stems.update(dict.fromkeys(_pairs(word)))
        elif word not in FUNCTION_WORDS:
            stems[stem(word)] = None
    return tuple(stems)


def _pairs(word: str) -> list[str]:
    return [word[i : i + 2] for i in range(len(word) - 1)] or [word]


@dataclass(frozen=True)
class Condition:
    """Condition in words: alternatives, of which one has to hold, and exceptions."""

    alternatives: tuple[tuple[str, ...], ...]
    """Content words of each alternative; empty if it holds for every request."""
    exceptions: tuple[tuple[str, ...], ...] = ()
    """Content words of each exception."""
    everywhere: bool = False
    """True if it is about all requests of a kind, such as "in all my mails"."""
    qualifiers: frozenset[str] = frozenset()
    """Content words that say which of a kind, such as "board" in "in reports for the board"."""

    @property
    def is_general(self) -> bool:
        """True if it names no kind of request at all, such as "in every answer"."""
        words = {word for alternative in self.alternatives for word in alternative}
        return self.everywhere and words <= UNSPECIFIC_WORDS


@lru_cache(maxsize=1 << 12)
def parse_condition(where: str) -> Condition:
    """Return the condition that a scope's ``where`` states.

    >>> parse_condition("in mails to my boss or customers").alternatives
    (('mail', 'boss'), ('mail', 'customer'))
    >>> parse_condition("everywhere except in mails to my boss")
    Condition(alternatives=(), exceptions=(('mail', 'boss'),), everywhere=True, \
qualifiers=frozenset())
    """
    positive, *negative = _EXCEPT.split(where.casefold())
    exceptions = tuple(words for part in negative for words in _alternatives(part))
    alternatives = _alternatives(positive)
    specific = any(word not in GENERAL_WORDS for words in alternatives for word in words)
    words = {match.group() for match in _WORD.finditer(positive)}
    everywhere = bool(words & ALL_WORDS) or (bool(exceptions) and not specific)
    qualified = _QUALIFIER.match(positive)
    qualifiers = frozenset(content_words(qualified["rest"]) if qualified else ())
    return Condition(alternatives, exceptions, everywhere, qualifiers)


def _alternatives(text: str) -> tuple[tuple[str, ...], ...]:
    """Return the content words of each alternative; later ones share the start of the first."""
    parts = [words for part in _OR.split(text) if (words := content_words(part))]
    if len(parts) < 2:
        return tuple(parts)
    first = parts[0]
    shared = first[:-1] if len(first) > 1 else ()
    return (first, *((*(w for w in shared if w not in part), *part) for part in parts[1:]))


def word_weights(
    words: Sequence[str], frequency: Mapping[str, int], count: int
) -> dict[str, float]:
    """Return the weight of each word of a condition, in (0, 1].

    Rare words of the store's requests weigh most, and general words of conditions least.

    Parameters
    ----------
    words : sequence of str
        Stems.
    frequency : Mapping[str, int]
        Number of requests with each stem.
    count : int
        Number of requests.
    """
    top = log(count + 2)
    weights = {}
    for word in words:
        rarity = log((count + 2) / (frequency.get(word, 0) + 1)) / top
        general = GENERAL_WEIGHT if word in GENERAL_WORDS else 1.0
        weights[word] = general * (COMMON_WEIGHT + (1 - COMMON_WEIGHT) * rarity)
    return weights
