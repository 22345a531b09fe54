"""Views whose answers with tool calls are written as texts, which is what methods read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from backtalk.feedback.answers import (
    Messages,
    MessageText,
    WriteAnswer,
    is_one_message,
    is_plain,
)
from backtalk.feedback.describe import describe_message
from backtalk.feedback.interaction import Message, Prompt
from backtalk.feedback.views import (
    Completion,
    Pair,
    RankingView,
    SpanWeights,
    StepLabels,
    View,
)

AnyView = TypeVar("AnyView", bound=View)


def describe_call(_: Prompt, message: Message) -> str:
    """Return an answer with tool calls in words, without the ids of the calls."""
    return describe_message(message)


def write_answer(prompt: Prompt, text: str, messages: Messages, write: WriteAnswer) -> str | None:
    """Return an answer as text, ``None`` if it has several messages.

    Parameters
    ----------
    prompt : Prompt
        Prompt of the answer.
    text : str
        Text of the answer.
    messages : tuple of Message
        All messages of the answer; empty if it is its text.
    write : WriteAnswer
        Function that writes a message with tool calls as text.

    Returns
    -------
    str or None
        A :class:`~backtalk.feedback.answers.MessageText` if the answer is more than its text.
    """
    if is_plain(messages):
        return text
    if not is_one_message(messages):
        return None
    written = write(prompt, messages[0])
    return written if isinstance(written, MessageText) else MessageText(written, messages[0])


def write_answers(view: AnyView, write: WriteAnswer) -> AnyView | None:
    """Return a view with its answers as texts, ``None`` if one has several messages.

    Offsets of spans and steps are those of the new text.

    Parameters
    ----------
    view : View
        View of any kind.
    write : WriteAnswer
        Function that writes a message with tool calls as text.
    """
    if view.is_plain:
        return view
    changes: dict[str, Any] = {}
    if isinstance(view, Pair):
        changes = {
            "chosen": write_answer(view.prompt, view.chosen, view.chosen_messages, write),
            "rejected": write_answer(view.prompt, view.rejected, view.rejected_messages, write),
        }
    elif isinstance(view, RankingView):
        tiers = [
            [write_answer(view.prompt, *answer, write) for answer in zip(*tier, strict=True)]
            for tier in zip(view.tiers, view.messages, strict=True)
        ]
        whole = all(text is not None for tier in tiers for text in tier)
        changes = {"tiers": tuple(map(tuple, tiers)) if whole else None}
    elif isinstance(view, Completion):
        changes = {"completion": write_answer(view.prompt, view.completion, view.messages, write)}
        shift = (changes["completion"] or "").find(view.completion)
        if isinstance(view, SpanWeights):
            changes["weights"] = _shifted(view.weights, shift)
        elif isinstance(view, StepLabels):
            changes["steps"] = _shifted(view.steps, shift)
    if any(value is None for value in changes.values()):
        return None
    return view.model_copy(update=changes)


def _shifted(ranges: Sequence[Any], shift: int) -> tuple[Any, ...] | None:
    """Return ranges of a text that begins later; ``None`` if the text is not there."""
    if shift < 0:
        return None
    return tuple(
        item.model_copy(update={"start": item.start + shift, "end": item.end + shift})
        for item in ranges
    )
