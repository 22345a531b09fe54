"""Prompts and parsers for the skills of the small models besides answering and refining.

Each skill is a prompt and a parser of the reply: critique, comparison, rule induction.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from backtalk.feedback import Message
from backtalk.feedback.interaction import Prompt, prompt_text
from backtalk.prompts import NO_ISSUES
from backtalk.worlds.world import Assessment, Rule, World

COMPARISON_REQUEST = "Which is better?"
TIE_VERDICT = "Both are equally good."
RULE_REQUEST = "Which rule do they follow?"
VAGUE_CRITIQUES = ("Please improve it.", "I do not like it.", "That could be better.")
"""Critiques without information about what to change."""
MAX_NAMED_ISSUES = 3
"""Maximum number of issues named in a critique."""

_SAME = 1e-9


def comparison_prompt(prompt: Prompt, a: str, b: str) -> Prompt:
    """Return the prompt that asks to compare two answers.

    Parameters
    ----------
    prompt : Prompt
        Prompt that both texts answer.
    a : str
        Text of answer A.
    b : str
        Text of answer B.
    """
    question = prompt_text(prompt)
    return (Message.user(f"{question}\n\nA:\n{a}\n\nB:\n{b}\n\n{COMPARISON_REQUEST}"),)


def rule_induction_prompt(examples: Sequence[str]) -> Prompt:
    """Return the prompt that asks for the rule that several examples follow."""
    return (Message.user("\n\n".join([*examples, RULE_REQUEST])),)


def true_critique(assessment: Assessment) -> str:
    """Return the true critique of an answer: the advice of its first issues."""
    advice = list(dict.fromkeys(issue.advice for issue in assessment.issues))
    return " ".join(advice[:MAX_NAMED_ISSUES]) or NO_ISSUES


def true_verdict(a: Assessment, b: Assessment) -> str:
    """Return the true comparison of two answers: the issues of each, then the better one."""
    if abs(a.utility - b.utility) < _SAME:
        better = TIE_VERDICT
    else:
        better = f"{'A' if a.utility > b.utility else 'B'} is better."
    return f"A: {_describe_issues(a)}\nB: {_describe_issues(b)}\n{better}"


def _describe_issues(assessment: Assessment) -> str:
    descriptions = list(dict.fromkeys(issue.description for issue in assessment.issues))
    return " ".join(descriptions[:MAX_NAMED_ISSUES]) or NO_ISSUES


def parse_verdict(text: str) -> Literal["a", "b", "tie"] | None:
    """Return the better answer according to a comparison, or ``None`` if it names none."""
    match = re.search(r"\b([AB]) is better", text)
    if match:
        return "a" if match[1] == "A" else "b"
    return "tie" if TIE_VERDICT in text else None


def parse_rule(world: World[Any], text: str) -> Rule | None:
    """Return the rule of a world that a text states, or ``None`` if it states none."""
    return next((rule for rule in world.rules if rule.text == text.strip()), None)
