"""Meaning of a column by its name: a prompt, an answer, a verdict or a person.

>>> meaning_of("user_rating"), meaning_of("annotatorId"), meaning_of("prompt_tokens")
('verdict', 'person', None)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal

Meaning = Literal["prompt", "answer", "verdict", "person"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORDS: dict[Meaning, frozenset[str]] = {
    "prompt": _words(
        "prompt question instruction input query context system history message conversation "
        "trajectory dialog dialogue transcript chat turn problem passage document article "
        "utterance request"
    ),
    "answer": _words("answer response completion output reply generation demonstration"),
    "verdict": _words(
        "label score rating rate reward rank ranking thumb thumbsup thumbsdown winner feedback "
        "kto preference preferred preferable pref better best worse worst safer safe chosen "
        "rejected verdict vote upvote downvote like liked dislike disliked star grade judgment "
        "judgement correct incorrect correctness helpfulness harmlessness helpful harmful "
        "critique comment correction good bad accepted approved satisfaction evaluation "
        "annotation quality outcome passed failed success margin tie tied resolved csat nps "
        "sentiment reaction emoji desirable undesirable upvoted downvoted acceptable accuracy "
        "relevance relevant faithfulness fluency coherence truthfulness honesty safety toxicity "
        "toxic hallucination hallucinated flagged remark opinion decision"
    ),
    "person": _words(
        "user username annotator rater worker labeler labeller reviewer voter assessor person "
        "participant judge evaluator"
    ),
}
_MACHINES = _words("judge evaluator")
"""Words for a person or a program."""
_COMPARISONS = _words("better best safer winner preferred worse worst")
"""First words of a name whose column may have the id of a response as its verdict."""
_MAKING = _words("generated written produced answered made followed grouped sorted ordered split")
"""Words before "by" after which a model or a column is named, not a person who judged."""
_USERS = _words("user username")
_NAMES = _words("id name key uuid")
"""Last words of a name that identify a person."""
_ATTRIBUTES = _NAMES | _words(
    "at category character chars count created date domain field file fingerprint format hash "
    "idx index kind lang language len length model num path prompt provider reason seed "
    "session size source split status temperature template time timestamp title token tool "
    "type url version"
)
"""Last words of a name that make it an attribute: ``prompt_tokens``, ``score_type``."""
_COUNTS = _words("n num number count total has mean max min")
"""First words of a name that make it a count: ``num_turns``."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@lru_cache(maxsize=4096)
def meaning_of(name: str) -> Meaning | None:
    """Return the meaning that the name of a column suggests, ``None`` if there is none.

    The name is split at punctuation and capitals; plurals count as the singular. A word for a
    verdict decides, else the last word with a meaning: ``rating_of_answer`` is a verdict,
    ``user_message`` a prompt.
    """
    words = [_singular(word.lower()) for word in _WORD.findall(name) if not word.isdigit()]
    if not words or (len(words) > 1 and words[0] in _COUNTS):
        return None
    if len(words) > 1 and words[-1] == "by":
        return None if words[-2] in _MAKING else "person"
    if len(words) > 1 and words[-1] in _ATTRIBUTES:
        return _attribute_meaning(words)
    if not _WORDS["verdict"].isdisjoint(words):
        return "verdict"
    meanings = (item for word in reversed(words) for item in _WORDS if word in _WORDS[item])
    return next(meanings, None)


def _attribute_meaning(words: list[str]) -> Meaning | None:
    """Return the meaning of an attribute: ``user_id``, ``better_response_id``, ``raw_prompt``."""
    last = words[-1]
    if last in _NAMES and not _WORDS["person"].isdisjoint(words):
        return "person"
    if last == "prompt" and _WORDS["verdict"].isdisjoint(words):
        return "prompt"
    if last in {"id", "index", "idx", "model", "name"} and words[0] in _COMPARISONS:
        return "verdict"
    return None


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > len("ties"):
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def is_person_column(name: str) -> bool:
    """Return true if a column names a person, not a person or a program (``judge``)."""
    if meaning_of(name) != "person":
        return False
    words = {_singular(word.lower()) for word in _WORD.findall(name)}
    return words.isdisjoint(_MACHINES)


def is_user_column(name: str) -> bool:
    """Return true if a column names the user of a system, who may have judged its answer."""
    words = {_singular(word.lower()) for word in _WORD.findall(name)}
    return is_person_column(name) and not words.isdisjoint(_USERS)


def is_empty(value: Any) -> bool:
    """Return true if a cell is null, a blank text, or an empty list or object."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or value in ([], {})


def unread_columns(
    row: Mapping[str, Any], columns: Iterable[str], *, reads_person: bool = False
) -> list[str]:
    """Return the columns that have a meaning and a value but are not read.

    A number is neither a prompt nor an answer.

    Parameters
    ----------
    row : Mapping[str, Any]
        Row as JSON data.
    columns : iterable of str
        Names of the columns that are read.
    reads_person : bool, default False
        If true, columns that name a person are read.
    """
    return [
        name
        for name in unread_names(tuple(row), frozenset(columns), reads_person)
        if not is_empty(row[name])
        and (meaning_of(name) in {"verdict", "person"} or not isinstance(row[name], int | float))
    ]


@lru_cache(maxsize=1024)
def unread_names(
    names: tuple[str, ...], columns: frozenset[str], reads_person: bool
) -> tuple[str, ...]:
    """Return the names that have a meaning but are not among the columns read.

    Parameters
    ----------
    names : tuple of str
        Names of all columns of a row.
    columns : frozenset of str
        Names of the columns that are read.
    reads_person : bool
        If true, columns that name a person are read.
    """
    return tuple(
        name
        for name in names
        if name not in columns
        and meaning_of(name) is not None
        and not (reads_person and is_person_column(name))
    )
