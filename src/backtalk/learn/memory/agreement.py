"""Agreement: statements that several people make, or one person makes again and again."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from backtalk.feedback import Scope
from backtalk.feedback.kinds import Critique
from backtalk.learn.lazy_modules import np
from backtalk.learn.memory.lesson import Lesson, make_lesson, merge_group, normalise
from backtalk.memory.contradictions import contradiction, topics_of
from backtalk.memory.statements import Statement, statements_of
from backtalk.models.protocol import Embedder

MIN_PEOPLE = 2
"""Minimum number of people who make a statement one for everybody."""
MIN_SHARE = 0.15
"""Minimum share of all people of the training set, so that a few cannot speak for many."""
MIN_REQUESTS = 3
"""Minimum number of requests on which one person says the same, for a preference of theirs."""
MIN_SIMILARITY = 0.6
"""Mean cosine similarity, in [0, 1], of statements that say the same."""
GENERAL_SHARE = 0.3
"""Share of the criticised requests from which a repeated critique applies to every request."""
MAX_EXAMPLES = 20
"""Maximum number of requests in and outside of a scope."""
SHARED_KINDS = frozenset({"preference", "instruction", "principle"})
"""Kinds of wishes that people can share."""
MAX_CLUSTERED = 2_000
"""Maximum number of different texts that are compared with each other."""


def supporters_needed(people: int) -> int:
    """Return the number of people who make a statement one for everybody.

    Parameters
    ----------
    people : int
        Number of people of the training set.
    """
    return max(MIN_PEOPLE, math.ceil(MIN_SHARE * people))


def promote(lessons: Sequence[Lesson], *, people: int = 0) -> list[Lesson]:
    """Return lessons in which the equal wishes of several people are one for everybody.

    They have to be at least two and 15 % of all people, and more than those who wish the contrary.
    A wish that a person took back since does not count. One that was said for certain users only
    stays theirs, as do facts about a user and what is keyed by a request.

    Parameters
    ----------
    lessons : sequence of Lesson
        Lessons.
    people : int, default 0
        Number of people of the training set.
    """
    groups: dict[tuple[str, ...], list[Lesson]] = defaultdict(list)
    results: list[Lesson] = []
    for lesson in lessons:
        if lesson.kind in SHARED_KINDS and not lesson.is_personal:
            groups[normalise(lesson.text), lesson.scope.where or ""].append(lesson)
        else:
            results.append(lesson)
    wished = _still_wished([one for one in lessons if one.kind in SHARED_KINDS])
    keys, held = {one.key for one in wished}, _by_topic(wished)
    for group in groups.values():
        everybody = any(not one.scope.users and one.key in keys for one in group)
        if len(group) > 1 and (everybody or _is_shared(group, held, supporters_needed(people))):
            kind = min((lesson.kind for lesson in group), key=_RANK.index)
            kind = "principle" if kind == "preference" else kind
            merged = merge_group([one.about(()) for one in group])
            results.append(replace(merged, kind=kind, is_shared=not everybody))
        else:
            results += group
    return results


def _is_shared(group: Sequence[Lesson], held: dict[str, list[Lesson]], needed: int) -> bool:
    """Return true if enough people still wish something, and more than wish the contrary."""
    topics = topics_of(group[0].text)
    related = {one.key: one for topic in topics for one in held.get(topic, ())}
    keys = {lesson.key for lesson in group}
    supporters = {person for key in keys & related.keys() for person in related[key].people}
    opponents = {
        person
        for one in related.values()
        if one.key not in keys and _contradict(one, group[0])
        for person in one.people
    }
    return len(supporters) >= needed and len(supporters) > len(opponents)


def _still_wished(lessons: Sequence[Lesson]) -> list[Lesson]:
    """Return the lessons that no later one of the same users contradicts."""
    by_users: dict[tuple[str, ...], list[Lesson]] = defaultdict(list)
    for lesson in sorted(lessons, key=_time):
        by_users[lesson.scope.users].append(lesson)
    results: list[Lesson] = []
    for group in by_users.values():
        later: dict[str, list[Lesson]] = defaultdict(list)
        for lesson in reversed(group):
            topics = topics_of(lesson.text)
            others = (other for topic in topics for other in later[topic])
            if not any(_contradict(lesson, other) for other in others):
                results.append(lesson)
            for topic in topics:
                later[topic].append(lesson)
    return results


def _by_topic(lessons: Sequence[Lesson]) -> dict[str, list[Lesson]]:
    by_topic: dict[str, list[Lesson]] = defaultdict(list)
    for lesson in lessons:
        for topic in topics_of(lesson.text):
            by_topic[topic].append(lesson)
    return by_topic


def _contradict(a: Lesson, b: Lesson) -> bool:
    same_place = (a.scope.where or "") == (b.scope.where or "")
    return same_place and contradiction(a.text, b.text) is not None


def _time(lesson: Lesson) -> float:
    return lesson.time.timestamp() if lesson.time is not None else 0.0


_RANK = ("instruction", "principle", "preference", "correction", "fact", "case")


async def cluster_texts(
    texts: Sequence[str], embedder: Embedder, *, min_similarity: float = MIN_SIMILARITY
) -> list[list[int]]:
    """Return the indices of texts in groups that say the same.

    Average linkage by cosine similarity. Past 2,000 different texts, only equal texts are grouped.

    Parameters
    ----------
    texts : sequence of str
        Texts.
    embedder : Embedder
        Embedder of the texts.
    min_similarity : float, default 0.6
        Mean cosine similarity, in [0, 1], of texts that say the same.
    """
    from sklearn.cluster import AgglomerativeClustering  # noqa: PLC0415 - slow to import

    equal: dict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(texts):
        equal[normalise(text)].append(index)
    groups = list(equal.values())
    if not 1 < len(groups) <= MAX_CLUSTERED:
        return groups
    vectors = await embedder.embed([texts[group[0]] for group in groups])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    distances = np.clip(1 - unit @ unit.T, 0, 2)
    labels = AgglomerativeClustering(
        n_clusters=None,
        metric="precomputed",
        linkage="average",
        distance_threshold=1 - min_similarity,
    ).fit_predict(distances)
    merged: dict[int, list[int]] = defaultdict(list)
    for group, label in zip(groups, labels.tolist(), strict=True):
        merged[label] += group
    return list(merged.values())


async def repeated_critiques(
    critiques: Sequence[tuple[Critique, str, tuple[str, ...], float]],
    embedder: Embedder,
    *,
    people: int = 0,
) -> list[Lesson]:
    """Return the principles that several critiques state.

    Critiques by several people make a principle for everybody, those of one person on several
    requests a preference of theirs. The text is the critique that is most like the others and has
    no word that most of them lack: such words, as names and days, are about single requests. What
    is said about few of the criticised requests applies to requests like those alone.

    Parameters
    ----------
    critiques : sequence of tuple
        Each critique with its request, the users whose wish it is, and its reliability.
    embedder : Embedder
        Embedder of the texts.
    people : int, default 0
        Number of people of the training set.
    """
    results = []
    every_request = list(dict.fromkeys(request for _, request, *_ in critiques))
    for group in await cluster_texts([item.text for item, *_ in critiques], embedder):
        members = [
            critiques[index]
            for index in group
            if not names_detail(critiques[index][0].text, critiques[index][1])
        ]
        authors = {item.annotator.id for item, *_ in members}
        requests = {request for _, request, *_ in members}
        several = len(authors) >= supporters_needed(people)
        if len(requests) < 2 or not (several or len(requests) >= MIN_REQUESTS):
            continue
        items = [item for item, *_ in members]
        confidence = float(np.mean([reliability for *_, reliability in members]))
        confidence *= (len(members) + 1) / (len(members) + 2)
        texts = shared_statements([item.text for item in items])
        if not texts:
            continue
        users = () if several else members[0][2]
        lesson = make_lesson(
            "principle" if not users else "preference",
            await _most_typical(texts, embedder),
            items,
            scope=_scope(requests, every_request),
            confidence=confidence,
        )
        results.append(lesson.about(users))
    return results


def _scope(requests: Collection[str], every_request: Sequence[str]) -> Scope:
    """Return the scope of what was said about some of the criticised requests."""
    if len(requests) >= GENERAL_SHARE * len(every_request):
        return Scope()
    inside = [request for request in every_request if request in requests]
    outside = [request for request in every_request if request not in requests]
    return Scope(inside=tuple(inside[:MAX_EXAMPLES]), outside=tuple(outside[:MAX_EXAMPLES]))


def shared_statements(texts: Sequence[str]) -> list[str]:
    """Return the texts that say nothing but what most of them say.

    >>> shared_statements(["Too long.", "This is too long.", "Still too long!"])
    ['Too long.', 'This is too long.', 'Still too long!']
    >>> shared_statements(["The day is Monday.", "The day is Friday.", "The day is Sunday."])
    []
    """
    contents = [
        frozenset(word for statement in statements_of(text) for word in _words(statement))
        for text in texts
    ]
    counts = Counter(word for content in contents for word in content)
    return [
        text
        for text, content in zip(texts, contents, strict=True)
        if all(2 * counts[word] > len(texts) for word in content)
    ]


def _words(statement: Statement) -> tuple[str, ...]:
    return (*statement.content, *statement.numbers)


def names_detail(text: str, request: str) -> bool:
    """Return true if a text names a name, a day or a number of its request.

    >>> names_detail("The day should be Sunday.", "Meeting moved: Sunday, 19:00.")
    True
    """
    return bool({*_DETAIL.findall(text)} & {*_DETAIL.findall(request)})


_DETAIL = re.compile(r"(?<=[\w,;:] )[A-Z][\w']+|\b\d[\d:.,]*\b")
"""Words that begin with a capital inside of a sentence, and numbers."""


async def _most_typical(texts: Sequence[str], embedder: Embedder) -> str:
    vectors = await embedder.embed(texts)
    return texts[int((vectors @ vectors.sum(axis=0)).argmax())]
