"""Words in the names of columns, and the kinds of feedback that they suggest."""

from __future__ import annotations

import re
from functools import lru_cache


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

BETTER = _set("chosen better best preferred accepted winning winner good positive")
"""Words for the better of two answers."""
WORSE = _set("rejected worse worst dispreferred losing loser bad negative")
"""Words for the worse of two answers."""
WINNER = _set(
    "winner preference preferred pref better best safer verdict chosen choice vote label judgment "
    "judgement"
)
"""Words for the result of a comparison."""
RATING = _set(
    "score rating rate reward star grade quality satisfaction helpfulness harmlessness "
    "correctness coherence complexity verbosity csat nps"
)
"""Words for a number on a scale."""
OUTCOME = _set("passed pass failed success succeeded test outcome compiled")
"""Words for the result of a check."""
BAD_IF_TRUE = _set(
    "bad dislike disliked downvote downvoted down rejected incorrect wrong failed harmful toxic "
    "toxicity unsafe hallucination hallucinated flagged undesirable"
)
"""Words of flags that are true for a bad answer."""
CRITIQUE = _set("critique comment feedback remark reason rationale explanation justification note")
"""Words for a remark in words."""
EDIT = _set("edit edited correction corrected revision revised improved mended fixed")
"""Words for a corrected answer."""
DEMONSTRATION = _set("ideal reference gold golden demonstration expected target")
"""Words for a model answer."""
CONFIDENCE = frozenset({"confidence", "certainty"})
STRENGTH = frozenset({"strength", "degree", "intensity", "margin"})
PROBABILITY = frozenset({"probability", "prob", "proba"})
COMPARISON = frozenset({"winner", "preferred", "preference", "better", "safer", "best"})
"""Words for a comparison, which needs two answers."""
MODEL = frozenset({"model", "generator"})
PEOPLE = frozenset({"agent", "author", "coder", "by", "expert", "member", "employee"})
"""Words that may name the person who gave feedback."""
RANK = frozenset({"rank", "ranking"})
TIME = _set("time timestamp ts date datetime created updated submitted at")
SESSION = _set("session conversation thread dialog dialogue chat")
CONTEXT = _set("input context passage document article")
"""Words for a text that follows the question."""
QUESTION = _set("prompt question instruction query")
GOOD = _set(
    "1 +1 true yes good up positive like liked correct accept accepted thumbs_up thumbsup 👍"
)
"""Values that mean good."""
BAD = _set(
    "0 -1 false no bad down negative dislike disliked incorrect wrong reject rejected thumbs_down "
    "thumbsdown 👎"
)
"""Values that mean bad."""

_OVERALL = _set(
    "label score rating rate reward rank ranking thumb thumbsup thumbsdown up down winner feedback "
    "kto tag preference preferred pref better best worse verdict vote upvote downvote like liked "
    "dislike disliked star grade judgment judgement good bad accepted approved annotation "
    "evaluation outcome passed failed success overall is response answer completion output reply "
    "generation chosen rejected user annotator rater human judge id value choice csat nps reaction "
    "emoji desirable undesirable acceptable decision comment remark opinion upvoted downvoted"
)
"""Words that name no aspect."""
_NOUNS = {"safer": "safety", "safe": "safety", "helpful": "helpfulness", "honest": "honesty"}


@lru_cache(maxsize=4096)
def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case, plurals as the singular.

    >>> words_of("thumbsUp"), words_of("score_chosen"), words_of("reply2")
    (('thumb', 'up'), ('score', 'chosen'), ('reply', '2'))
    """
    return tuple(_singular(word.lower()) for word in _WORD.findall(name))


def has_word(name: str, words: frozenset[str]) -> bool:
    """Return true if a name has one of the words."""
    return not words.isdisjoint(words_of(name))


def aspect_of(name: str) -> str | None:
    """Return the aspect that the name of a verdict states, ``None`` for the answer as a whole.

    >>> aspect_of("user_rating"), aspect_of("helpfulness_score"), aspect_of("safer_response_id")
    (None, 'helpfulness', 'safety')
    """
    words = [
        word
        for word in map(str.lower, _WORD.findall(name))
        if len(word) > 1 and word.isalpha() and _singular(word) not in _OVERALL
    ]
    return "_".join(_NOUNS.get(word, word) for word in words) or None


def _singular(word: str) -> str:
    if word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        return word[:-1]
    return word
