"""Prompt texts that put feedback into words: requests for critiques, refinements and conditions.

The texts are short and neutral, so that the effect of a method comes from what it learns, not from
wording that suits one model. Trained models depend on them: a changed text is a new prompt.
"""

from __future__ import annotations

from collections.abc import Mapping

from backtalk.feedback import Message
from backtalk.feedback.interaction import Prompt

GOOD_CONDITION = "Give a good answer."
BAD_CONDITION = "Give a bad answer."
BETTER_REQUEST = "Now give a better answer."
WORSE_REQUEST = "Now give a worse answer."
PRAISE_CONDITION = "Nothing will be said against your answer."
BLAME_CONDITION = "Your answer will be found bad."
CRITIQUE_REQUEST = "What is wrong with it?"
NO_ISSUES = "Nothing is wrong."
REWRITE_REQUEST = "Write it again, and better."
OUTCOME_REQUEST = "What came of it?"

_CRITIQUE_PREFIX = "This will be said of your answer: "
_CONTROL_CODES_PREFIX = "Your answer is to be: "


def quality_condition(good: bool) -> str:
    """Return the system prompt that conditions on a good or a bad answer."""
    return GOOD_CONDITION if good else BAD_CONDITION


def critique_condition(critique: str) -> str:
    """Return the system prompt that conditions on a critique of the answer."""
    return f"{_CRITIQUE_PREFIX}{critique}"


def control_codes_condition(aspects: Mapping[str, bool]) -> str:
    """Return the system prompt that conditions on the presence or absence of aspects.

    >>> control_codes_condition({"polite": True, "brief": False})
    'Your answer is to be: polite, not brief.'
    """
    codes = (name if present else f"not {name}" for name, present in aspects.items())
    return f"{_CONTROL_CODES_PREFIX}{', '.join(codes)}."


def is_condition(text: str) -> bool:
    """Return true if a paragraph is a condition made by this module."""
    conditions = {GOOD_CONDITION, BAD_CONDITION, PRAISE_CONDITION, BLAME_CONDITION}
    return text in conditions or text.startswith((_CRITIQUE_PREFIX, _CONTROL_CODES_PREFIX))


def reports_no_issues(critique: str) -> bool:
    """Return true if a critique says that nothing is wrong."""
    return critique.strip().startswith(NO_ISSUES.rstrip("."))


def critique_prompt(prompt: Prompt, draft: str) -> Prompt:
    """Return the prompt that asks for a critique of a draft."""
    return (*prompt, Message.assistant(draft), Message.user(CRITIQUE_REQUEST))


def refinement_prompt(prompt: Prompt, draft: str, critique: str) -> Prompt:
    """Return the prompt that asks to refine a draft by a critique from the user.

    Parameters
    ----------
    prompt : Prompt
        Prompt that the draft answers.
    draft : str
        Text of the draft.
    critique : str
        Text of the critique.
    """
    return (*prompt, Message.assistant(draft), Message.user(critique))


def rewrite_prompt(prompt: Prompt, draft: str, critique: str) -> Prompt:
    """Return the prompt that asks to rewrite a draft after the model's own critique of it.

    Parameters
    ----------
    prompt : Prompt
        Prompt that the draft answers.
    draft : str
        Text of the draft.
    critique : str
        Text of the model's critique.
    """
    return (
        *critique_prompt(prompt, draft),
        Message.assistant(critique),
        Message.user(REWRITE_REQUEST),
    )


def outcome_prompt(prompt: Prompt, draft: str) -> Prompt:
    """Return the prompt that asks to predict the outcome of a check of a draft."""
    return (*prompt, Message.assistant(draft), Message.user(OUTCOME_REQUEST))
