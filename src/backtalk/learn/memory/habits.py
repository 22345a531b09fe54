"""Habits: the same change in several edits, or the same trait in several preferences.

A change that a person makes in nearly every edit that allows it is a preference. If they leave the
text as it is for some requests, the preference applies to the kind of request for which they change
it, which the requests on both sides show. A change of mind wins: the latest edits and preferences
count alone once they say the contrary of the earlier ones.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from backtalk.feedback import Scope
from backtalk.feedback.base import BaseFeedback
from backtalk.feedback.kinds import Edit
from backtalk.learn.lazy_modules import np
from backtalk.learn.memory.edit_words import MAX_PHRASE, phrase_changes
from backtalk.learn.memory.lesson import MAX_EXAMPLES, Lesson, make_lesson
from backtalk.learn.memory.traits import TRAITS, Trait

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_EDITS = 3
"""Minimum number of edits with the same change."""
ALWAYS = 0.8
"""Share of the occasions on which a habit is followed that makes it unconditional."""
MAX_P = 0.05
"""Largest p-value, over all traits of a person, at which preferences show a trait."""
MIN_SEPARATION = 0.8
"""Share of requests whose nearest other request is on the same side, for a scope by examples."""


@dataclass(frozen=True)
class Comparison:
    """Better and worse text for a request, and the feedback that says so."""

    request: str
    worse: str
    better: str
    item: BaseFeedback
    reliability: float
    order: int = 0
    """Position in the order of time, from 0."""

    @property
    def is_edit(self) -> bool:
        """True if a person changed the worse text into the better one."""
        return isinstance(self.item, Edit)


@dataclass
class _Evidence:
    """Comparisons in which a change was made, and those in which it could have been."""

    changed: list[Comparison] = field(default_factory=list)
    left: list[Comparison] = field(default_factory=list)
    contrary: list[Comparison] = field(default_factory=list)
    """Comparisons in which the contrary change was made."""

    def lesson(self, text: str) -> Lesson | None:
        """Return the habit that the evidence shows; ``None`` if it shows none now."""
        if len(self.changed) < MIN_EDITS:
            return None
        inside, outside = _requests(self.changed), _requests([*self.left, *self.contrary])
        total = len(self.changed) + len(self.left) + len(self.contrary)
        recent = self._since_contrary()
        if len(self.changed) >= ALWAYS * total and recent is not None:
            return _habit(text, self.changed, len(self.changed), total, Scope())
        if separable(inside, outside):
            scope = Scope(inside=inside, outside=outside)
            return _habit(text, self.changed, len(self.changed), len(self.changed), scope)
        return recent.lesson(text) if self.contrary and recent is not None else None

    def _since_contrary(self) -> _Evidence | None:
        """Return the evidence since the contrary was last done; ``None`` after a change of mind."""
        ends = max((one.order for one in self.contrary), default=-1)
        last = max(one.order for one in self.changed)
        if sum(one.order > last for one in self.contrary) >= MIN_EDITS:
            return None
        changed, left = (
            [one for one in part if one.order > ends] for part in (self.changed, self.left)
        )
        return _Evidence(changed, left)


def habits(comparisons: Sequence[Comparison]) -> list[Lesson]:
    """Return the habits that the comparisons of one person, or of one group, show."""
    timed = sorted(comparisons, key=_time)
    comparisons = [replace(one, order=order) for order, one in enumerate(timed)]
    edits = [item for item in comparisons if item.is_edit]
    judged = [item for item in comparisons if not item.is_edit]
    results = [*_edited_traits(edits), *_phrases(edits)]
    known = {lesson.text for lesson in results}
    return [*results, *(one for one in _preferred_traits(judged) if one.text not in known)]


def separable(inside: Sequence[str], outside: Sequence[str]) -> bool:
    """Return true if words tell the requests of two lists apart.

    For both lists, the nearest other request of most requests must be in the same list, by the
    cosine similarity of TF-IDF vectors.
    """
    from backtalk.embedders.hashed_tfidf import HashedTfidf  # noqa: PLC0415 - slow to import

    if len(inside) < 2 or len(outside) < 2 or set(inside) & set(outside):
        return False
    texts = [*inside, *outside]
    vectors = HashedTfidf.fit(texts)._embed(texts)  # noqa: SLF001 - without an event loop
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    side = np.arange(len(texts)) < len(inside)
    same = side[similarity.argmax(axis=1)] == side
    return bool(min(same[side].mean(), same[~side].mean()) >= MIN_SEPARATION)


def _edited_traits(edits: Sequence[Comparison]) -> Iterable[Lesson]:
    for trait in TRAITS:
        more, less = _Evidence(), _Evidence()
        for edit in edits:
            direction = trait.direction(edit.worse, edit.better)
            for evidence, sign in ((more, 1), (less, -1)):
                if direction:
                    (evidence.changed if direction == sign else evidence.contrary).append(edit)
                elif _allows(trait, sign, edit.worse):
                    evidence.left.append(edit)
        for evidence, text in ((more, trait.more), (less, trait.less)):
            lesson = evidence.lesson(text)
            if lesson is not None:
                yield lesson


def _allows(trait: Trait, sign: int, text: str) -> bool:
    """Return whether a text has the trait to be removed, or lacks the one to be added."""
    return trait.ratio > 1 or (trait.count(text) > 0) == (sign < 0)


def _phrases(edits: Sequence[Comparison]) -> Iterable[Lesson]:
    """Yield replacements and removals of the same phrase in several edits."""
    evidence: dict[tuple[str, str], _Evidence] = defaultdict(_Evidence)
    for edit in edits:
        for change in set(phrase_changes(edit.worse, edit.better)):
            if change.replaces and max(len(change.before), len(change.after)) <= MAX_PHRASE:
                evidence[change.before, change.after].changed.append(edit)
    for (before, after), item in evidence.items():
        if len(item.changed) < MIN_EDITS or not any(letter.isalpha() for letter in before):
            continue
        reverse = evidence.get((after, before))
        item.contrary = list(reverse.changed) if reverse is not None else []
        counted = {edit.order for edit in (*item.changed, *item.contrary)}
        others = (edit for edit in edits if edit.order not in counted)
        item.left = [edit for edit in others if before in edit.better]
        words = f"Write “{after}” instead of “{before}”." if after else f"Leave out “{before}”."
        lesson = item.lesson(words)
        if lesson is not None:
            yield lesson


def _binomial_p(successes: int, total: int) -> float:
    """Return the two-sided p-value of a fair coin; 1 where none can be significant."""
    if 2.0 ** (1 - total) > MAX_P:
        return 1.0
    from scipy.stats import binomtest  # noqa: PLC0415 - slow to import

    return float(binomtest(successes, total, 0.5).pvalue)


def _preferred_traits(judged: Sequence[Comparison]) -> Iterable[Lesson]:
    """Yield traits that preferred answers have significantly more or less often.

    Binomial tests with Holm's correction over all traits: Holm (1979), "A simple sequentially
    rejective multiple test procedure".
    """
    tests = []
    for trait in TRAITS:
        compared = [(one, trait.direction(one.worse, one.better)) for one in judged]
        directed = [(one, direction) for one, direction in compared if direction]
        directed = directed[change_of_mind([direction for _, direction in directed]) :]
        for sign, text in ((1, trait.more), (-1, trait.less)):
            agreed = [one for one, direction in directed if direction == sign]
            total = len(directed)
            if 2 * len(agreed) > total:
                p = _binomial_p(len(agreed), total)
                tests.append((p, text, agreed, total))
    tests.sort(key=lambda test: test[0])
    for rank, (p, text, agreed, total) in enumerate(tests):
        if p * (len(TRAITS) - rank) > MAX_P:
            return
        yield _habit(text, agreed, len(agreed), total, Scope())


def change_of_mind(signs: Sequence[int]) -> int:
    """Return the index from which on judgements say the contrary of the earlier ones; 0 if none.

    The split at which the shares of both parts differ most in likelihood, if their majorities are
    contrary and Fisher's exact test, with Bonferroni's correction over all splits, is significant.

    Parameters
    ----------
    signs : sequence of int
        Judgements in the order of their time, 1 or -1 each.

    Examples
    --------
    >>> change_of_mind([1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1])
    8
    >>> change_of_mind([1, -1, 1, 1, -1, 1])
    0
    """
    count, positive = len(signs), sum(sign > 0 for sign in signs)
    if positive in {0, count} or (count - 1) / math.comb(count, positive) > MAX_P:
        return 0
    from scipy.stats import hypergeom  # noqa: PLC0415 - slow to import

    before = np.cumsum(np.asarray(signs) > 0)[:-1]
    sizes = np.arange(1, count)
    shares = before / sizes, (positive - before) / (count - sizes)
    likelihood = sizes * _negative_entropy(shares[0]) + (count - sizes) * _negative_entropy(
        shares[1]
    )
    best = int(np.argmax(likelihood))
    size, hits, first, second = (
        int(sizes[best]),
        int(before[best]),
        shares[0][best],
        shares[1][best],
    )
    if (first - 0.5) * (second - 0.5) >= 0:
        return 0
    null = hypergeom(count, positive, size)
    p = null.sf(hits - 1) if first > second else null.cdf(hits)
    return size if p * (count - 1) <= MAX_P else 0


def _negative_entropy(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(shares, 1e-12, 1 - 1e-12)
    result: NDArray[np.float64] = clipped * np.log(clipped) + (1 - clipped) * np.log(1 - clipped)
    return result


def _time(one: Comparison) -> float:
    return one.item.time.timestamp() if one.item.time is not None else 0.0


def _habit(text: str, agreed: Sequence[Comparison], count: int, total: int, scope: Scope) -> Lesson:
    """Return a lesson with the mean of the Beta posterior of its share as confidence."""
    reliability = float(np.mean([one.reliability for one in agreed]))
    confidence = reliability * (count + 1) / (total + 2)
    items = [one.item for one in agreed]
    return make_lesson("preference", text, items, scope=scope, confidence=confidence)


def _requests(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.request for one in comparisons if one.request))[:MAX_EXAMPLES]
