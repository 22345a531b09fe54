"""The words that put feedback into prompts: what an answer should be like, what was said of one.

They are plain on purpose: a method's effect should come from what it learns, and not from a wording
that suits one model.
"""

from __future__ import annotations

from collections.abc import Mapping

from backtalk.feedback import Message

Chat = tuple[Message, ...]

GOOD = "Give a good answer."
BAD = "Give a bad answer."
BETTER = "Now give a better answer."
WORSE = "Now give a worse answer."
PRAISED = "Nothing will be said against your answer."
BLAMED = "Your answer will be found bad."
WHAT_IS_WRONG = "What is wrong with it?"
NOTHING_IS_WRONG = "Nothing is wrong."
WRITE_AGAIN = "Write it again, and better."
WHAT_CAME_OF_IT = "What came of it?"

_SAID = "This will be said of your answer: "
_CODES = "Your answer is to be: "


def condition(good: bool) -> str:
    """Return what asks for a good answer, or for a bad one."""
    return GOOD if good else BAD


def said(critique: str) -> str:
    """Return what asks for an answer of which this will be said."""
    return f"{_SAID}{critique}"


def codes(aspects: Mapping[str, bool]) -> str:
    """Return what asks for an answer that has some aspects and lacks others.

    >>> codes({"polite": True, "brief": False})
    'Your answer is to be: polite, not brief.'
    """
    named = (name if good else f"not {name}" for name, good in aspects.items())
    return f"{_CODES}{', '.join(named)}."


def is_condition(text: str) -> bool:
    """Return whether a paragraph is one of those that tell what an answer should be like."""
    return text in {GOOD, BAD, PRAISED, BLAMED} or text.startswith((_SAID, _CODES))


def finds_nothing(critique: str) -> bool:
    """Return whether a critique says that nothing is wrong."""
    return critique.strip().startswith(NOTHING_IS_WRONG.rstrip("."))


def to_criticise(prompt: Chat, draft: str) -> Chat:
    """Return the question what is wrong with a draft."""
    return (*prompt, Message.assistant(draft), Message.user(WHAT_IS_WRONG))


def to_refine(prompt: Chat, draft: str, critique: str) -> Chat:
    """Return the question for a better answer than a draft, given a critique of it."""
    return (*prompt, Message.assistant(draft), Message.user(critique))


def to_write_again(prompt: Chat, draft: str, critique: str) -> Chat:
    """Return the question for a better answer, behind the model's own critique of a draft."""
    return (
        *to_criticise(prompt, draft),
        Message.assistant(critique),
        Message.user(WRITE_AGAIN),
    )


def to_foretell(prompt: Chat, draft: str) -> Chat:
    """Return the question what a check of the draft found."""
    return (*prompt, Message.assistant(draft), Message.user(WHAT_CAME_OF_IT))
