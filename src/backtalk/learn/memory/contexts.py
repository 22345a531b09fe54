"""Contexts of edits: the words of requests with which a person makes the same change."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from backtalk.feedback.base import BaseFeedback
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Prompt
from backtalk.learn.lazy_modules import np
from backtalk.learn.memory.induction import Example
from backtalk.learn.memory.lesson import MAX_EXAMPLES, Lesson
from backtalk.memory.requests import request_text
from backtalk.memory.scope_words import content_words, stem

if TYPE_CHECKING:
    from numpy.typing import NDArray


MIN_SHARED = 2
"""Minimum number of edits that share a word or a change."""

MIN_GENERAL = 4
"""Minimum number of edits that show a change without a condition."""
ALWAYS = 0.9
"""Share of edits with a change from which on it needs no condition."""

_WORD = re.compile(r"[\w'\u2019-]+")
_TOKEN = re.compile(r"[\w'\u2019-]+|[^\w\s.,:;]")


@dataclass(frozen=True)
class EditedAnswer:
    """Answer with what a person made of it, or what they preferred to it."""

    prompt: Prompt
    worse: str
    better: str
    item: BaseFeedback
    users: tuple[str, ...] = ()
    """Users whose wish it is; empty for all."""
    reliability: float = 1.0

    @classmethod
    def of(
        cls, case: Case, item: BaseFeedback, better: str, worse: str, users: tuple[str, ...]
    ) -> EditedAnswer:
        """Return an edited answer of a case.

        Parameters
        ----------
        case : Case
            Interaction with its feedback.
        item : BaseFeedback
            Feedback that says it.
        better : str
            Text after the change.
        worse : str
            Text before it.
        users : tuple of str
            Users whose wish it is.
        """
        return cls(case.interaction.prompt, worse, better, item, users)

    @property
    def request(self) -> str:
        """Text of the request."""
        return request_text(self.prompt)

    @property
    def example(self) -> Example:
        """The same as an example for a model."""
        return Example(self.prompt, self.better, self.worse)


@dataclass(frozen=True)
class Contrast:
    """Change that goes with a word of the request, and edits that show it."""

    word: str
    """Stem of a word of the request; empty if the change goes with all requests."""
    where: str | None
    """The word as requests have it; ``None`` if the change goes with all requests."""
    change: str
    """Word that was added, after ``+``, or removed, after ``-``."""
    inside: tuple[int, ...]
    """Numbers of the edits with both."""
    outside: tuple[int, ...]
    """Numbers of the edits with neither."""
    p: float
    """One-sided p-value of Fisher's exact test of their association."""


def find_contrasts(edits: Sequence[EditedAnswer]) -> list[Contrast]:
    """Return the changes of edits that go with words of their requests, the clearest first.

    Fisher's exact test of each pair of a word and a change that two edits share. A change that
    nearly all edits make goes with no word, and comes first.

    Parameters
    ----------
    edits : sequence of EditedAnswer
        Edits of one user, or of one group of users.
    """
    from scipy.stats import hypergeom  # noqa: PLC0415 - slow to import

    words = _incidence([content_words(edit.request) for edit in edits])
    changes = _incidence([changed_words(edit.worse, edit.better) for edit in edits])
    if not words.names or not changes.names:
        return []
    both = words.matrix.T.astype(int) @ changes.matrix.astype(int)
    word_totals, change_totals = words.matrix.sum(axis=0), changes.matrix.sum(axis=0)
    rows, columns = np.nonzero(both >= MIN_SHARED)
    p_values = hypergeom.sf(
        both[rows, columns] - 1, len(edits), word_totals[rows], change_totals[columns]
    )
    results = _general(changes)
    for order in np.argsort(p_values, kind="stable"):
        word, change = int(rows[order]), int(columns[order])
        has_word, has_change = words.matrix[:, word], changes.matrix[:, change]
        results.append(
            Contrast(
                words.names[word],
                surface_form(words.names[word], edits[int(has_word.argmax())].request),
                changes.names[change],
                tuple(np.flatnonzero(has_word & has_change).tolist()),
                tuple(np.flatnonzero(~has_word & ~has_change).tolist()),
                float(p_values[order]),
            )
        )
    return results


def _general(changes: _Incidence) -> list[Contrast]:
    """Return the changes that nearly all edits make."""
    totals = changes.matrix.sum(axis=0)
    size = len(changes.matrix)
    return [
        Contrast(
            "",
            None,
            changes.names[column],
            tuple(np.flatnonzero(changes.matrix[:, column]).tolist()),
            (),
            0.0,
        )
        for column in np.argsort(-totals, kind="stable").tolist()
        if totals[column] >= max(MIN_GENERAL, ALWAYS * size)
    ]


def context_word(
    inside: Sequence[str], outside: Sequence[str], *, max_p: float = 0.01
) -> str | None:
    """Return the word that tells requests apart from others best; ``None`` if none does well.

    Fisher's exact test of each word that two requests inside share.

    Parameters
    ----------
    inside : sequence of str
        Requests of one kind.
    outside : sequence of str
        Other requests.
    max_p : float, default 0.01
        Largest one-sided p-value.
    """
    from scipy.stats import hypergeom  # noqa: PLC0415 - slow to import

    texts = [*inside, *outside]
    words = _incidence([content_words(text) for text in texts])
    if not words.names or not outside:
        return None
    is_inside = np.arange(len(texts)) < len(inside)
    shared = words.matrix[is_inside].sum(axis=0)
    p_values = hypergeom.sf(shared - 1, len(texts), len(inside), words.matrix.sum(axis=0))
    best = int(np.argmin(p_values))
    if p_values[best] > max_p or shared[best] < MIN_SHARED:
        return None
    example = int((words.matrix[:, best] & is_inside).argmax())
    return surface_form(words.names[best], texts[example])


def with_context(lesson: Lesson, requests: Iterable[str]) -> Lesson:
    """Return a lesson whose scope names the word that its requests share, unlike the others.

    Parameters
    ----------
    lesson : Lesson
        Lesson whose scope has requests inside.
    requests : iterable of str
        All requests on which something of the kind was said.
    """
    inside = lesson.scope.inside
    outside = [text for text in dict.fromkeys(requests) if text not in inside]
    word = lesson.scope.where or context_word(inside, outside)
    scope = lesson.scope.model_copy(
        update={"where": word, "outside": tuple(sorted(outside))[:MAX_EXAMPLES]}
    )
    return replace(lesson, scope=scope)


def surface_form(word: str, request: str) -> str:
    """Return the first word of a request with a stem; the stem itself if there is none.

    >>> surface_form("boss", "Write to my boss.")
    'boss'
    """
    return next(
        (one for one in _WORD.findall(request) if stem(one.casefold()) == word), word
    ).casefold()


def changed_words(worse: str, better: str) -> tuple[str, ...]:
    """Return the words that a change added, after ``+``, and removed, after ``-``.

    >>> changed_words("Hello Bo.", "Dear Bo.")
    ('+dear', '-hello')
    """
    before, after = (dict.fromkeys(_TOKEN.findall(text.casefold())) for text in (worse, better))
    added = (f"+{word}" for word in after if word not in before)
    return (*added, *(f"-{word}" for word in before if word not in after))


@dataclass(frozen=True)
class _Incidence:
    names: list[str]
    matrix: NDArray[np.bool_]
    """Shape ``(texts, names)``."""


def _incidence(texts: Sequence[Sequence[str]]) -> _Incidence:
    """Return which texts have which words, for the words that several texts share."""
    counts = Counter(word for words in texts for word in set(words))
    names = sorted(word for word, count in counts.items() if count >= MIN_SHARED)
    columns = {name: number for number, name in enumerate(names)}
    matrix = np.zeros((len(texts), len(names)), dtype=bool)
    for row, words in enumerate(texts):
        matrix[row, [columns[word] for word in words if word in columns]] = True
    return _Incidence(names, matrix)
