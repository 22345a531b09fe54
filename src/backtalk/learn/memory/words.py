"""Words of people in follow-ups: corrections, standing wishes, facts about themselves, thanks."""

from __future__ import annotations

import re

_CORRECTION = re.compile(
    r"^(no[,.!:; ]|nope\b|not quite|actually\b|wrong\b|incorrect\b|that('s| is) (wrong|not)\b)"
    r"|\bi (meant|mean)\b|\bnot what i\b|\bi (asked|wanted)\b.*\bnot\b|\binstead of\b",
    re.IGNORECASE,
)
_STANDING = re.compile(
    r"\b(from now on|in (the )?future|always|never|every time|each time|whenever|at all times)\b"
    r"|\b(forget|ignore|disregard|never mind|take back|drop|cancel|scrap)\b.*"
    r"\b(i (said|told you|asked|wanted)|rules?|wish|instructions?|preferences?)\b"
    r"|\bi (prefer|like|hate|dislike|want you to)\b|\bplease (use|stop|avoid|don't|do not|keep)\b",
    re.IGNORECASE,
)
_FACT = re.compile(
    r"\b(i am|i'm|i live|i work|i speak|i study|i own|i have|my name is|call me|i was born)\b"
    r"|\bmy (\w+ ){1,3}(is|are)\b",
    re.IGNORECASE,
)
_NO_FACT = re.compile(
    r"\b(?:i am|i'm) (?:not |so |very |really |just |still |a bit )*"
    r"(?:happy|sorry|confused|sure|looking|trying|asking|afraid|tired|talking|done|glad|"
    r"saying|wondering|going|getting|unhappy|disappointed|annoyed)\b"
    r"|\bi have (?:no idea|a question|to |never|already|been)\b"
    r"|\bmy (?:question|point|mistake|bad)\b",
    re.IGNORECASE,
)
_THANKS = re.compile(
    r"^\W*(many |ok(ay)?[,.]? )?"
    r"(thanks?|thx|perfect|great|excellent|that('s| is) (it|right|perfect))\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, without spaces around them."""
    return [part.strip() for part in _SENTENCE.findall(text) if part.strip()]


def is_correction(text: str) -> bool:
    """Return true if a message says that the request was misunderstood or the answer is wrong."""
    return _CORRECTION.search(text.strip()) is not None


def is_thanks(text: str) -> bool:
    """Return true if a message thanks or praises, and says nothing against the answer."""
    return _THANKS.search(text.strip()) is not None and " but " not in text.lower()


def standing_wishes(text: str) -> list[str]:
    """Return the sentences that state a wish for all future answers.

    >>> standing_wishes("Thanks. From now on, use metric units. Is it far?")
    ['From now on, use metric units.']
    """
    return [one for one in sentences(text) if _STANDING.search(one) and not one.endswith("?")]


def facts(text: str) -> list[str]:
    """Return the sentences that state a fact about the speaker.

    >>> facts("I am a vegetarian. I am not happy with this.")
    ['I am a vegetarian.']
    """
    return [
        one
        for one in sentences(text)
        if _FACT.search(one)
        and not _NO_FACT.search(one)
        and not _STANDING.search(one)
        and not one.endswith("?")
    ]
