"""The layouts: TRL's dataset types, OpenAI's fine-tuning files, Backtalk's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backtalk.feedback.conversions import views
from backtalk.feedback.interaction import Message, prompt_text
from backtalk.feedback.views import Case, LabelView, Pair, SFTExample, StepLabels
from backtalk.formats.exporters.format import Dropped, Row, export_format

_TRL = "https://huggingface.co/docs/trl/dataset_formats"
_TOOLS = ("tools", "parallel_tool_calls", "functions")


def _messages(messages: Iterable[Message]) -> list[Row]:
    return [message.to_dict() for message in messages]


def _answer(case: Case, text: str) -> list[Row]:
    """Return the messages of an answer: those of the response with that text, if it has several."""
    for response in case.interaction.responses:
        if response.messages and response.text == text:
            return _messages(response.messages)
    return [{"role": "assistant", "content": text}]


def _tools(case: Case) -> Row:
    metadata = case.interaction.metadata
    return {name: metadata[name] for name in _TOOLS if name in metadata}


def _pairs(case: Case, dropped: Dropped) -> Iterator[Pair]:
    for pair in views(case, Pair):
        if pair.tie:
            dropped["a tie, which prefers neither"] += 1
        elif pair.chosen == pair.rejected:
            dropped["a preference between two equal texts"] += 1
        else:
            yield pair


@export_format(
    "trl-preference",
    title="TRL preference, conversational: prompt, chosen, rejected",
    source=_TRL,
    view=Pair,
    columns={"prompt": "messages", "chosen": "messages", "rejected": "messages"},
)
def trl_preference(case: Case, dropped: Dropped) -> list[Row]:
    """A pair each; ties are no preference and are left out."""
    return [
        {
            "prompt": _messages(pair.prompt),
            "chosen": _answer(case, pair.chosen),
            "rejected": _answer(case, pair.rejected),
        }
        for pair in _pairs(case, dropped)
    ]


@export_format(
    "trl-unpaired",
    title="TRL unpaired preference, conversational: prompt, completion, label",
    source=_TRL,
    view=LabelView,
    columns={"prompt": "messages", "completion": "messages", "label": "flag"},
)
def trl_unpaired(case: Case, dropped: Dropped) -> list[Row]:  # noqa: ARG001 - holds all
    """A completion each that is good or bad."""
    return [
        {
            "prompt": _messages(item.prompt),
            "completion": _answer(case, item.completion),
            "label": item.good,
        }
        for item in views(case, LabelView)
    ]


@export_format(
    "trl-stepwise",
    title="TRL stepwise supervision: prompt, completions, labels",
    source=_TRL,
    view=StepLabels,
    columns={"prompt": "text", "completions": "texts", "labels": "flags"},
)
def trl_stepwise(case: Case, dropped: Dropped) -> list[Row]:  # noqa: ARG001 - holds all
    """The checked steps of a response; a neutral one is no error and counts as right.

    Lightman et al. (2023), "Let's verify step by step", appendix C, count neutral as positive.
    """
    return [
        {
            "prompt": prompt_text(item.prompt),
            "completions": list(item.texts),
            "labels": [step.verdict != "wrong" for step in item.steps],
        }
        for item in views(case, StepLabels)
    ]


@export_format(
    "trl-prompt-completion",
    title="TRL prompt-completion, conversational: prompt, completion",
    source=_TRL,
    view=SFTExample,
    columns={"prompt": "messages", "completion": "messages"},
)
def trl_prompt_completion(case: Case, dropped: Dropped) -> list[Row]:  # noqa: ARG001 - holds all
    """A completion each to imitate."""
    return [
        {"prompt": _messages(item.prompt), "completion": _answer(case, item.completion)}
        for item in views(case, SFTExample)
    ]


@export_format(
    "openai-chat",
    title="OpenAI supervised fine-tuning: messages",
    source="https://platform.openai.com/docs/guides/supervised-fine-tuning",
    view=SFTExample,
    columns={"messages": "messages"},
)
def openai_chat(case: Case, dropped: Dropped) -> list[Row]:  # noqa: ARG001 - holds all
    """A conversation each that ends with an answer to imitate."""
    tools = _tools(case)
    return [
        {"messages": [*_messages(item.prompt), *_answer(case, item.completion)]} | tools
        for item in views(case, SFTExample)
    ]


@export_format(
    "openai-preference",
    title="OpenAI preference fine-tuning: input, preferred_output, non_preferred_output",
    source="https://platform.openai.com/docs/guides/direct-preference-optimization",
    view=Pair,
    columns={
        "input": "input",
        "preferred_output": "messages",
        "non_preferred_output": "messages",
    },
)
def openai_preference(case: Case, dropped: Dropped) -> list[Row]:
    """A pair each of single messages; ties are left out."""
    rows: list[Row] = []
    for pair in _pairs(case, dropped):
        chosen, rejected = _answer(case, pair.chosen), _answer(case, pair.rejected)
        if len(chosen) > 1 or len(rejected) > 1:
            dropped["an answer of several messages, where the layout holds one"] += 1
            continue
        asked: Row = {"messages": _messages(pair.prompt)} | _tools(case)
        rows.append({"input": asked, "preferred_output": chosen, "non_preferred_output": rejected})
    return rows


@export_format(
    "backtalk",
    title="Backtalk's own layout, complete",
    source="docs/formats.md",
    view=None,
    columns={"record": "text", "body": "text"},
)
def backtalk(case: Case, dropped: Dropped) -> list[Row]:  # noqa: ARG001 - holds all
    """An interaction with all its feedback."""
    return [{"interaction": case.interaction, "feedback": case.feedback}]
