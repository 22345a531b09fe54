"""Scope decisions: the probability that a request is in the scope of a memory entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import expit

from backtalk.feedback import Scope
from backtalk.memory.scope_evidence import Background, ScopeExamples, evidence
from backtalk.memory.scope_weights import WEIGHTS
from backtalk.memory.scope_words import content_words
from backtalk.memory.vectors import VectorCache
from backtalk.models.protocol import Embedder

Verdict = Literal["inside", "outside", "unsure"]

INSIDE, OUTSIDE = 0.6, 0.4
"""Probability from which on a request is inside a scope, and below which it is outside."""

_EXCEPTED = 0.6
"""Share of the words of an exception from which on it applies."""


@dataclass(frozen=True)
class ScopeDecision:
    """Decision on a request and a scope."""

    probability: float
    """Probability that the request is in the scope."""

    @property
    def verdict(self) -> Verdict:
        """``"unsure"`` between the thresholds: the evidence does not suffice."""
        if self.probability >= INSIDE:
            return "inside"
        return "outside" if self.probability < OUTSIDE else "unsure"


def has_condition(scope: Scope) -> bool:
    """Return true if a scope depends on the request, not only on the user."""
    return bool(scope.where or scope.inside or scope.outside)


class ScopeClassifier:
    """Classifier of requests by the words and the examples of scopes.

    It weighs the evidence of :func:`~backtalk.memory.scope_evidence.evidence` by a logistic
    regression whose weights were fitted to other scopes and requests, so that a scope needs no
    training of its own: words alone, a single example, or both suffice. With an embedder that only
    counts words, a request in other words than the scope's gives no evidence, and is outside or
    unsure.

    Parameters
    ----------
    embedder : Embedder
        Embedder of requests.
    requests : sequence of str, default ()
        Other requests of the store, which show which words are common.

    Examples
    --------
    >>> from backtalk.embedders import HashedTfidf
    >>> from backtalk.models.run_sync import run_sync
    >>> classifier = ScopeClassifier(HashedTfidf.fit([]))
    >>> scope = Scope(where="in mails to my boss")
    >>> requests = "Write to my boss that I am late.", "Write to my landlord."
    >>> [run_sync(classifier.decide([scope], text))[0].verdict for text in requests]
    ['inside', 'outside']
    """

    def __init__(self, embedder: Embedder, requests: Sequence[str] = ()) -> None:
        self.vectors = VectorCache(embedder)
        self._requests = tuple(dict.fromkeys(requests))
        self._background: Background | None = None

    async def decide(self, scopes: Sequence[Scope], request: str) -> list[ScopeDecision]:
        """Return the decision on each scope, regardless of its users.

        Parameters
        ----------
        scopes : sequence of Scope
            Scopes.
        request : str
            Text of the request.
        """
        background = await self._background_texts()
        described = [
            ScopeExamples(where=scope.where, inside=scope.inside, outside=scope.outside)
            for scope in scopes
        ]
        texts = [text for scope in described for text in scope.texts]
        words = content_words(request) if self.vectors.knows_meanings else ()
        await self.vectors.add([request, *words, *texts])
        return [
            ScopeDecision(_probability(scope, request, background, self.vectors))
            for scope in described
        ]

    async def _background_texts(self) -> Background:
        if self._background is None:
            await self.vectors.add(self._requests)
            self._background = Background(self._requests, self.vectors.of(self._requests))
        return self._background


def _probability(
    scope: ScopeExamples, request: str, background: Background, vectors: VectorCache
) -> float:
    if request in scope.inside or request in scope.outside:
        return float(request in scope.inside)
    condition = scope.condition
    if not scope.inside and condition is None:
        return 1 - _probability_outside(scope, request, background, vectors)
    values = evidence(scope, request, background, vectors)
    if values.get("except", 0.0) >= _EXCEPTED:
        return 0.0
    if condition is not None and condition.everywhere and values["condition"] == 1.0:
        return 1 - _probability_outside(scope, request, background, vectors)
    parts = [name for name, there in (("where", scope.where), ("inside", scope.inside)) if there]
    weights = WEIGHTS[" ".join([*parts, "meaning" if vectors.knows_meanings else "words"])]
    return float(expit(sum(weight * values.get(name, 1.0) for name, weight in weights.items())))


def _probability_outside(
    scope: ScopeExamples, request: str, background: Background, vectors: VectorCache
) -> float:
    """Return the probability that a request is like the examples outside a scope."""
    if not scope.outside:
        return 0.0
    opposite = ScopeExamples(inside=scope.outside, outside=scope.inside)
    return _probability(opposite, request, background, vectors)
