"""Contradictions between texts, found from their words and structure, without a model.

Two statements contradict each other if they name different values of a subject that has one at a
time ("metric units", "imperial units"), if one says what the other negates ("use emojis", "no
emojis"), if they give different numbers or forms for the same ("end with Cheers", "end with Best
wishes"), or if they give an attribute two values ("my name is Ada", "my name is Bob"). They have
to agree in their other words: "short answers" and "long reports" do not contradict each other, and
neither do a rule and its exception ("use emojis", "no emojis in mails to my boss").
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

from backtalk.memory.corrections import advice, split_correction
from backtalk.memory.facts import Fact
from backtalk.memory.opposites import NEUTRAL, ONE_OF_MANY
from backtalk.memory.statements import GENERAL_WORDS, Statement, statements_of, stem

_SIMILAR = 0.7
"""Least similarity of the subjects of statements that can contradict each other."""
_GENERAL_WEIGHT = 0.6
"""Weight of a word for kinds of text in the similarity."""
_TOPIC_WORDS = 2
"""Number of words of a statement that are topics, the longest."""


@lru_cache(maxsize=1 << 15)
def topics_of(text: str) -> frozenset[str]:
    """Return the subjects of a text; texts that contradict each other have one in common."""
    topics: set[str] = set()
    for statement in statements_of(advice(text)):
        topics |= {f"value {subject}" for subject in statement.values}
        topics |= {f"form {name}" for name, _, _ in statement.frames}
        topics |= {f"fact {' '.join(sorted(fact.subject))}" for fact in statement.facts}
        longest = sorted(statement.content, key=lambda word: (-len(word), word))
        topics |= {f"word {word}" for word in longest[:_TOPIC_WORDS]}
        if statement.retracts:
            topics |= {f"value {name}" for name in NEUTRAL if statement.content & _words_for(name)}
        if statement.retracts or statement.replaces is not None or len(longest) > _TOPIC_WORDS:
            topics |= {f"word {word}" for word in longest}
    return frozenset(topics)


@lru_cache(maxsize=1 << 15)
def contradiction(a: str, b: str) -> str | None:
    """Return the subject on which two texts contradict each other, ``None`` if they do not.

    >>> contradiction("Use metric units.", "Imperial after all, not metric.")
    'units'
    >>> contradiction("No emojis, please.", "Use emojis.")
    'emoji'
    >>> contradiction("Use metric units.", "No emojis, please.")

    Corrections of different requests do not contradict each other, and the words of a request are
    no part of what is said about it.

    >>> contradiction("On “Two of tea”: Add milk.", "On “One of tea”: Leave out milk.")
    """
    request_a, request_b = split_correction(a)[0], split_correction(b)[0]
    if request_a and request_b and request_a != request_b:
        return None
    for one, other in product(_last_said(advice(a)), _last_said(advice(b))):
        subject = _compare(one, other)
        if subject is not None:
            return subject
    return None


@lru_cache(maxsize=1 << 12)
def _last_said(text: str) -> tuple[Statement, ...]:
    """Return the statements of a text that no later one of it contradicts."""
    statements = statements_of(text)
    return tuple(
        one
        for index, one in enumerate(statements)
        if all(_compare(one, later) is None for later in statements[index + 1 :])
    )


def _compare(a: Statement, b: Statement) -> str | None:
    if a.retracts or b.retracts:
        return _compare_retracted(a, b) or _compare_retracted(b, a)
    if a.replaces is not None or b.replaces is not None:
        return _compare_replaced(a, b) or _compare_replaced(b, a)
    for rule in (_compare_facts, _compare_values, _compare_frames, _compare_polarity):
        subject = rule(a, b)
        if subject is not None:
            return subject
    return None


def _compare_replaced(replaced: Statement, other: Statement) -> str | None:
    """Compare the second half of "tea, not coffee" with a statement, such as "coffee"."""
    if replaced.replaces is None or other.replaces is not None or other.negative:
        return None
    if replaced.content == replaced.replaces:  # they differ in a number only
        return None
    rest = other.content - replaced.content
    if replaced.content <= other.content and rest <= replaced.replaces:
        return " ".join(sorted(replaced.content))
    return None


def _compare_retracted(retraction: Statement, other: Statement) -> str | None:
    """Compare "forget what I said about units" with a statement, such as "metric units"."""
    if not retraction.retracts or other.retracts:
        return None
    words = other.content.union(*(_words_for(subject) for subject in other.values))
    return " ".join(sorted(retraction.content)) if retraction.content <= words else None


def _words_for(subject: str) -> frozenset[str]:
    """Return the stems of the words for a subject of values."""
    return frozenset(map(stem, subject.split())) | NEUTRAL.get(subject, frozenset())


def _compare_facts(a: Statement, b: Statement) -> str | None:
    for one, other in product(a.facts, b.facts):
        if one.subject == other.subject and _differ(one, other):
            return " ".join(sorted(one.subject))
    return None


def _differ(a: Fact, b: Fact) -> bool:
    same_type = a.type == b.type or not (a.type and b.type)
    return same_type and not a.value <= b.value and not b.value <= a.value


def _compare_values(a: Statement, b: Statement) -> str | None:
    for subject in sorted(a.values.keys() & b.values.keys()):
        (named, excluded), (other_named, other_excluded) = a.values[subject], b.values[subject]
        exclusive = [one.is_exclusive for one in (a, b) if one.values[subject][0]]
        if subject in ONE_OF_MANY and not all(exclusive):
            continue
        if (
            named & excluded or other_named & other_excluded
        ):  # "British English, not American English"
            continue
        differ = named and other_named and not named & other_named
        if not (differ or named & other_excluded or other_named & excluded):
            continue
        if _similarity(_conditions(a, subject), _conditions(b, subject)) >= _SIMILAR:
            return subject
    return None


def _conditions(statement: Statement, subject: str) -> frozenset[str]:
    """Return the words of a statement that are neither about a value nor about its subject."""
    rest = statement.content - statement.value_words[subject] - NEUTRAL.get(subject, frozenset())
    return frozenset() if statement.is_universal and rest <= GENERAL_WORDS else rest


def _compare_frames(a: Statement, b: Statement) -> str | None:
    if a.negative or b.negative:
        return None
    for (name, value, words), (other, other_value, other_words) in product(a.frames, b.frames):
        is_same_form = name == other and _similarity(words, other_words) >= _SIMILAR
        if is_same_form and not value <= other_value and not other_value <= value:
            return name
    return None


def _compare_polarity(a: Statement, b: Statement) -> str | None:
    if not a.content or _similarity(a.content, b.content) < _SIMILAR:
        return None
    differ = a.numbers != b.numbers and len(a.numbers) == len(b.numbers)
    if a.negative != b.negative and not a.numbers == b.numbers == ():
        return None if differ else " ".join(sorted(a.content & b.content))
    if a.negative != b.negative or (differ and not a.negative):
        return " ".join(sorted(a.content & b.content))
    return None


def _similarity(a: frozenset[str], b: frozenset[str]) -> float:
    """Return the weight of the common words among all words, 1 if there are none."""
    union = _weight(a | b)
    return _weight(a & b) / union if union else 1.0


def _weight(words: frozenset[str]) -> float:
    return sum(_GENERAL_WEIGHT if word in GENERAL_WORDS else 1.0 for word in words)
