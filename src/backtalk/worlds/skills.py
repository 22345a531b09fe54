"""What a small model can be asked beside answering: refine, criticise, judge, find a rule.

Each skill is a way to put the question as chat messages, and a way to read the reply.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from backtalk.feedback import Message
from backtalk.feedback.interaction import prompt_text
from backtalk.worlds.world import Assessment, Rule, World

Chat = tuple[Message, ...]

WHAT_IS_WRONG = "What is wrong with it?"
NOTHING_IS_WRONG = "Nothing is wrong."
WHICH_IS_BETTER = "Which is better?"
EQUALLY_GOOD = "Both are equally good."
WHICH_RULE = "Which rule do they follow?"
VAGUE = ("Please improve it.", "I do not like it.", "That could be better.")
"""Critiques that say nothing about what to change."""
NAMED_FAULTS = 3
"""How many faults a critique names at most."""


def to_refine(prompt: Chat, draft: str, critique: str) -> Chat:
    """Return the question for a better answer than a draft, given a critique of it."""
    return (*prompt, Message.assistant(draft), Message.user(critique))


def to_criticise(prompt: Chat, draft: str) -> Chat:
    """Return the question what is wrong with a draft."""
    return (*prompt, Message.assistant(draft), Message.user(WHAT_IS_WRONG))


def to_judge(prompt: Chat, a: str, b: str) -> Chat:
    """Return the question which of two answers is better."""
    asked = prompt_text(prompt)
    return (Message.user(f"{asked}\n\nA:\n{a}\n\nB:\n{b}\n\n{WHICH_IS_BETTER}"),)


def to_find_rule(examples: Sequence[str]) -> Chat:
    """Return the question which rule several examples follow."""
    return (Message.user("\n\n".join([*examples, WHICH_RULE])),)


def criticism(found: Assessment) -> str:
    """Return the true critique of an answer: its first faults with their mends."""
    said = list(dict.fromkeys(fault.advice for fault in found.faults))
    return " ".join(said[:NAMED_FAULTS]) or NOTHING_IS_WRONG


_SAME = 1e-9


def verdict(a: Assessment, b: Assessment) -> str:
    """Return the true judgement of two answers: the faults of each, then which is better."""
    if abs(a.utility - b.utility) < _SAME:
        better = EQUALLY_GOOD
    else:
        better = f"{'A' if a.utility > b.utility else 'B'} is better."
    return f"A: {_named(a)}\nB: {_named(b)}\n{better}"


def _named(found: Assessment) -> str:
    said = list(dict.fromkeys(fault.said for fault in found.faults))
    return " ".join(said[:NAMED_FAULTS]) or NOTHING_IS_WRONG


def read_verdict(text: str) -> Literal["a", "b", "tie"] | None:
    """Return which answer a judgement finds better; ``None`` where it does not say."""
    result = re.search(r"\b([AB]) is better", text)
    if result:
        return "a" if result[1] == "A" else "b"
    return "tie" if EQUALLY_GOOD in text else None


def read_rule(world: World[Any], text: str) -> Rule | None:
    """Return the rule that a text states, if it is one of the world's."""
    return next((rule for rule in world.rules if rule.text == text.strip()), None)
