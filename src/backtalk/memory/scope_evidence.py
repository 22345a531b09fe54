"""Evidence for and against a request being in a scope: numbers that a classifier weighs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import log

import numpy as np

from backtalk.memory.scope_words import Condition, content_words, parse_condition, word_weights
from backtalk.memory.vectors import VectorCache, Vectors

_NEIGHBOURS = 3
"""Number of other requests of the store that a request is compared with."""
_RATIO = 2.0
"""Minimum ratio of the frequencies of a word inside and outside a scope to tell them apart."""
_SUPPORT = 3
"""Exponent of the share of examples with a word, which discounts words of few of them."""
_OUTSIDE_WEIGHT = 3
"""Weight of an example outside a scope, relative to another request of the store."""
_MIN_REQUESTS = 20
"""Number of requests from which on a word that none of them has does not tell them apart."""
_HALF, _WITHOUT_QUALIFIER = 0.6, 0.5
"""Share of a condition's words up to which a request without the words that say which of a kind
counts for less, and the factor."""
_WORD, _DIGIT = re.compile(r"\w+"), re.compile(r"\d")
_LIMIT = re.compile(
    r"\b(above|after|at|before|below|between|beyond|exceed(s|ing)?|fewer|from|less|longer|more|most"
    r"|over|shorter|since|than|to|under|until|up)\b",
    re.IGNORECASE,
)
"""Words of a condition whose numbers are limits."""
_SAME_WORD, _OTHER_WORD = 0.8, 0.35
"""Cosine similarities from which on two words mean the same, and up to which they do not."""


@dataclass(frozen=True)
class Background:
    """Other requests of the store: examples of requests in general."""

    texts: tuple[str, ...] = ()
    vectors: Vectors = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """Shape ``(len(texts), dimension)``, of length 1 each."""

    @cached_property
    def frequency(self) -> Counter[str]:
        """Number of requests with each content word."""
        return Counter(word for text in self.texts for word in content_words(text))


@dataclass(frozen=True)
class ScopeExamples:
    """Scope as its words and its examples, all of them texts."""

    where: str | None = None
    inside: tuple[str, ...] = ()
    """Requests to which it applies, also those that the entry was learned from."""
    outside: tuple[str, ...] = ()

    @cached_property
    def condition(self) -> Condition | None:
        """Condition in words, ``None`` without one."""
        return None if self.where is None else parse_condition(self.where)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """All content words of the condition."""
        if self.condition is None:
            return ()
        parts = (*self.condition.alternatives, *self.condition.exceptions)
        return tuple(dict.fromkeys(word for part in parts for word in part))

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts of which evidence needs the vectors."""
        return (*((self.where,) if self.where else ()), *self.inside, *self.outside, *self.words)


def evidence(
    scope: ScopeExamples, request: str, background: Background, vectors: VectorCache
) -> dict[str, float]:
    """Return the evidence that a request is in a scope, by name, as far as there is any.

    Words: ``condition``, the share of the condition's words in the request, by weight; ``meant``,
    the same with words of a similar meaning; ``except``, the share of an exception's words;
    ``topic``, the similarity of the request to the condition, less that of other requests.
    Examples: ``shared``, the share of the words by which the examples inside differ from those
    outside and from other requests; ``foreign``, the opposite; ``near``, the similarity to the
    examples inside; ``margin``, the same less that to the examples outside and to other requests.

    Parameters
    ----------
    scope : ScopeExamples
        Scope.
    request : str
        Text of the request, whose vector is in the cache, as are the scope's ``texts``.
    background : Background
        Other requests.
    vectors : VectorCache
        Vectors of the texts, and of the request's content words if the embedder knows meanings.
    """
    values: dict[str, float] = {}
    if scope.condition is not None:
        values |= _condition_evidence(scope, request, background, vectors)
    if scope.inside:
        values |= _example_evidence(scope, request, background, vectors)
    return values


def _condition_evidence(
    scope: ScopeExamples, request: str, background: Background, vectors: VectorCache
) -> dict[str, float]:
    condition, where = scope.condition, scope.where
    assert condition is not None
    assert where is not None
    parts = [_weights(scope, words, background) for words in condition.alternatives]
    literal = max((_share(part, request) for part in parts), default=0.0)
    own = {*content_words(request)}
    if literal <= _HALF and condition.qualifiers and not condition.qualifiers & own:
        literal *= _WITHOUT_QUALIFIER  # a report, but not for the board
    meant = max((_meant(part, request, vectors) for part in parts), default=0.0)
    if _names_another_number(where, request):  # product 7 is not product 8
        literal *= _WITHOUT_QUALIFIER
        meant *= _WITHOUT_QUALIFIER
    if condition.everywhere and _is_general(condition, background):
        literal = meant = 1.0
    weights = [
        word_weights(words, background.frequency, len(background.texts))
        for words in condition.exceptions
    ]
    values = {
        "condition": literal,
        "meant": meant,
        "except": max((_share(part, request) for part in weights), default=0.0),
    }
    if vectors.knows_meanings and not condition.everywhere:
        (vector,) = vectors.of([where])
        others = background.vectors @ vector if background.texts else np.zeros(1)
        similarity = float(vectors.of([request])[0] @ vector)
        values["topic"] = similarity - float(others.mean())
    return values


def _names_another_number(where: str, request: str) -> bool:
    """Return true if both have numbers, but none in common.

    Limits such as "over 200 words" are for other numbers as well.
    """
    own, other = (
        {word for word in _WORD.findall(text.casefold()) if _DIGIT.search(word)}
        for text in (where, request)
    )
    return bool(own and other) and own.isdisjoint(other) and not _LIMIT.search(where)


def _weights(
    scope: ScopeExamples, words: Sequence[str], background: Background
) -> dict[str, float]:
    """Return the weights of a condition's words; words that no example has count for less."""
    weights = word_weights(words, background.frequency, len(background.texts))
    inside = [content_words(text) for text in scope.inside]
    for word in words if inside else ():
        weights[word] *= (sum(word in text for text in inside) + 1) / (len(inside) + 1)
    return weights


def _share(weights: Mapping[str, float], text: str) -> float:
    total = sum(weights.values())
    own = content_words(text)
    return sum(weight for word, weight in weights.items() if word in own) / total if total else 0.0


def _meant(weights: Mapping[str, float], text: str, vectors: VectorCache) -> float:
    """Return the share of the words that the text has, or has with a similar meaning."""
    own, total = content_words(text), sum(weights.values())
    if not vectors.knows_meanings or not own or not total:
        return _share(weights, text)
    similarity = (vectors.of(list(weights)) @ vectors.of(own).T).max(axis=1)
    same = np.clip((similarity - _OTHER_WORD) / (_SAME_WORD - _OTHER_WORD), 0, 1)
    parts = [
        weight * (1.0 if word in own else float(value))
        for (word, weight), value in zip(weights.items(), same, strict=True)
    ]
    return sum(parts) / total


def _is_general(condition: Condition, background: Background) -> bool:
    """Return true if a condition about all requests names no kind that tells them apart."""
    words = {word for alternative in condition.alternatives for word in alternative}
    if not words or condition.is_general:
        return True
    if len(background.texts) < _MIN_REQUESTS:
        return False
    return not any(background.frequency[word] for word in words)


def _example_evidence(
    scope: ScopeExamples, request: str, background: Background, vectors: VectorCache
) -> dict[str, float]:
    vector = vectors.of([request])[0]
    similarities = vectors.of(scope.inside) @ vector
    others = background.vectors @ vector if background.texts else np.zeros(0)
    apart = [*(vectors.of(scope.outside) @ vector), *np.sort(others)[-_NEIGHBOURS:][:1]]
    near = float(similarities.max() + similarities.mean()) / 2
    return {
        "shared": _share(distinctive_words(scope, background), request),
        "foreign": _share(distinctive_words(scope, background, inside=False), request),
        "near": near,
        "margin": near - float(max(apart, default=0.0)),
    }


def distinctive_words(
    scope: ScopeExamples, background: Background, *, inside: bool = True
) -> dict[str, float]:
    """Return the words by which examples inside a scope differ from others, with their weights.

    The weight is the log of the ratio of the frequencies, times a power of the share of examples
    that have the word: a word that few examples share is likely to be a coincidence.

    Parameters
    ----------
    scope : ScopeExamples
        Scope with examples.
    background : Background
        Other requests.
    inside : bool, default True
        If false, return the words by which the examples outside differ from those inside.
    """
    own = scope.inside if inside else scope.outside
    other = scope.outside if inside else scope.inside
    if not own:
        return {}
    hits = Counter(word for text in own for word in content_words(text))
    misses = Counter(word for text in other for word in content_words(text))
    count = _OUTSIDE_WEIGHT * len(other) + len(background.texts) + 1
    weights = {}
    for word, number in hits.items():
        rest = _OUTSIDE_WEIGHT * misses[word] + background.frequency[word] + 0.5
        ratio = (number + 0.5) / (len(own) + 1) / (rest / count)
        if ratio >= _RATIO and number > misses[word] * len(own) / max(len(other), 1):
            weights[word] = log(ratio) * (number / len(own)) ** _SUPPORT
    return weights
