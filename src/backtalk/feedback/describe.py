"""Feedback and answers in words, as a person would say them.

>>> from backtalk.feedback import Annotator, Preference
>>> ada = Annotator.human("ada")
>>> item = Preference(interaction="i", annotator=ada, time=None, a="0", b="1", verdict="a")
>>> describe_feedback(item)
'ada prefers answer 0 to answer 1'
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import singledispatch

from pydantic import JsonValue

from backtalk.feedback.answers import Messages, is_plain
from backtalk.feedback.base import OVERALL, BaseFeedback
from backtalk.feedback.interaction import Message
from backtalk.feedback.kinds import (
    Choice,
    Critique,
    Demonstration,
    Edit,
    FollowUp,
    Instruction,
    Label,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Spans,
    Steps,
)

_MAX_TEXT = 100
"""Maximum length, in characters, of a text that is quoted."""


def describe_feedback(item: BaseFeedback) -> str:
    """Return a sentence about feedback: the annotator, the verdict and the answers it is about."""
    annotator = item.annotator
    name = annotator.id if annotator.id != "unknown" else f"unknown {annotator.kind}"
    kind = "" if annotator.kind == "human" else f" ({annotator.kind})"
    aspect = getattr(item, "aspect", None)
    suffix = f", by {aspect}" if aspect not in {None, OVERALL} else ""
    time = "" if item.time is None else f", {item.time:%Y-%m-%d %H:%M}"
    subject = name if annotator.id == "unknown" else f"{name}{kind}"
    return f"{subject} {_describe(item)}{suffix}{time}"


def describe_message(message: Message) -> str:
    """Return a message on one or more lines: its text, its media by type, and its tool calls.

    >>> call = {"function": {"name": "find_hours", "arguments": '{"day": "Sunday"}'}}
    >>> describe_message(Message(role="assistant", content=None, tool_calls=(call,)))
    'calls find_hours({"day": "Sunday"})'
    """
    calls = [f"calls {describe_tool_call(call)}" for call in message.tool_calls]
    parts = message.content if isinstance(message.content, tuple) else ()
    media = [f"[{part.get('type', 'part')}]" for part in parts if "text" not in part]
    return " ".join(filter(None, [message.text, *media, *calls]))


def describe_tool_call(call: Mapping[str, JsonValue]) -> str:
    """Return a tool call as the name of the tool and its arguments."""
    name, arguments = tool_call_parts(call)
    return f"{name}({arguments})"


def tool_call_parts(call: Mapping[str, JsonValue]) -> tuple[str, str]:
    """Return the name of a called tool and its arguments, which usually are JSON."""
    function = call.get("function") or call.get("custom")
    data = function if isinstance(function, dict) else call
    arguments = data.get("arguments", data.get("input", ""))
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return str(data.get("name") or "a tool"), arguments


def describe_answer(text: str, messages: Messages = ()) -> str:
    """Return an answer as text: that of one plain message, or all of its messages in words.

    Parameters
    ----------
    text : str
        Text of the answer.
    messages : tuple of Message, default ()
        Messages of the answer; empty if it is one plain message.
    """
    if is_plain(messages):
        return messages[0].text if messages else text
    lines = ((message.role, describe_message(message)) for message in messages)
    return "\n".join(
        line if role == "assistant" else f"{role}: {line}" for role, line in lines if line
    )


def shorten(text: str, length: int = _MAX_TEXT) -> str:
    """Return a text on one line, cut to a length.

    Parameters
    ----------
    text : str
        Text with any line ends.
    length : int, default 100
        Maximum length in characters.
    """
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _answer(id_: str | None) -> str:
    return "the interaction" if id_ is None else f"answer {id_}"


@singledispatch
def _describe(item: BaseFeedback) -> str:
    raise TypeError(f"{type(item).__name__} has no description")


@_describe.register
def _(item: Rating) -> str:
    low, high = item.scale.low, item.scale.high
    return f"rates answer {item.response}: {item.value:g} on {low:g} to {high:g}"


@_describe.register
def _(item: Label) -> str:
    return f"calls answer {item.response} {'good' if item.good else 'bad'}"


@_describe.register
def _(item: Preference) -> str:
    if item.verdict == "tie":
        verdict = f"finds answers {item.a} and {item.b} equally good"
    elif item.verdict == "both_bad":
        verdict = f"finds answers {item.a} and {item.b} both bad"
    else:
        better, worse = (item.a, item.b) if item.verdict == "a" else (item.b, item.a)
        verdict = f"prefers answer {better} to answer {worse}"
    details = [
        f"{name} {value:.2g}"
        for name, value in (
            (f"probability of answer {item.a}", item.probability),
            ("strength", item.strength),
        )
        if value is not None
    ]
    return f"{verdict} ({', '.join(details)})" if details else verdict


@_describe.register
def _(item: Ranking) -> str:
    separator = " = " if item.within == "tied" else ", "
    return f"ranks the answers {' > '.join(separator.join(tier) for tier in item.tiers)}"


@_describe.register
def _(item: Critique) -> str:
    return f"remarks on {_answer(item.response)}: {shorten(item.text)}"


@_describe.register
def _(item: Edit) -> str:
    return f"rewrites answer {item.response} as: {shorten(item.text)}"


@_describe.register
def _(item: Demonstration) -> str:
    return f"writes as the ideal answer: {shorten(item.text)}"


@_describe.register
def _(item: Spans) -> str:
    if not item.spans:
        return f"marks nothing in answer {item.response}"
    marks = ", ".join(
        f"{span.start} to {span.end} as {span.label} ({'praise' if span.good else 'error'})"
        for span in item.spans
    )
    return f"marks in answer {item.response}: {shorten(marks)}"


@_describe.register
def _(item: Steps) -> str:
    verdicts = ", ".join(step.verdict for step in item.steps)
    return f"checks the steps of answer {item.response}: {shorten(verdicts)}"


@_describe.register
def _(item: Outcome) -> str:
    passed = {True: "passed", False: "failed", None: ""}[item.passed]
    score = "" if item.score is None else f"score {item.score:g}"
    return f"tests answer {item.response}: {', '.join(filter(None, (passed, score)))}"


@_describe.register
def _(item: FollowUp) -> str:
    act = "" if item.act is None else f" ({item.act})"
    return f"goes on after {_answer(item.response)}{act}: {shorten(item.text)}"


@_describe.register
def _(item: Choice) -> str:
    shown = ", ".join(display.response for display in item.shown)
    chosen = "none" if item.chosen is None else f"answer {item.chosen}"
    return f"picks {chosen} of {shown}"


@_describe.register
def _(item: Instruction) -> str:
    return f"asks for: {shorten(item.text)}"
