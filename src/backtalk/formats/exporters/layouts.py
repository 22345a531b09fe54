"""Export formats: TRL's dataset types, OpenAI's fine-tuning files, Backtalk's own layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backtalk.feedback.case import Case
from backtalk.feedback.conversions import views
from backtalk.feedback.interaction import Message, prompt_text
from backtalk.feedback.views import LabelView, Pair, SFTExample, StepLabels
from backtalk.formats.exporters.format import Dropped, ExportRow, export_format

_TRL = "https://huggingface.co/docs/trl/dataset_formats"
_TOOLS = ("tools", "parallel_tool_calls", "functions")


def _message_rows(messages: Iterable[Message]) -> list[ExportRow]:
    return [message.to_dict() for message in messages]


def _response_messages(case: Case, text: str) -> list[ExportRow]:
    """Return the messages of the response with that text; one message if it has no others."""
    for response in case.interaction.responses:
        if response.messages and response.text == text:
            return _message_rows(response.messages)
    return [{"role": "assistant", "content": text}]


def _tools(case: Case) -> ExportRow:
    metadata = case.interaction.metadata
    return {name: metadata[name] for name in _TOOLS if name in metadata}


def _pairs(case: Case, dropped: Dropped) -> Iterator[Pair]:
    for pair in views(case, Pair):
        if pair.tie:
            dropped["a tie, which is no preference"] += 1
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
def trl_preference(case: Case, dropped: Dropped) -> list[ExportRow]:
    """Write one row per pair; ties are dropped."""
    return [
        {
            "prompt": _message_rows(pair.prompt),
            "chosen": _response_messages(case, pair.chosen),
            "rejected": _response_messages(case, pair.rejected),
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
def trl_unpaired(case: Case, dropped: Dropped) -> list[ExportRow]:  # noqa: ARG001 - drops nothing
    """Write one row per good or bad completion."""
    return [
        {
            "prompt": _message_rows(item.prompt),
            "completion": _response_messages(case, item.completion),
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
def trl_stepwise(case: Case, dropped: Dropped) -> list[ExportRow]:  # noqa: ARG001 - drops nothing
    """Write one row per response with checked steps; a neutral step counts as right.

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
def trl_prompt_completion(case: Case, dropped: Dropped) -> list[ExportRow]:  # noqa: ARG001 - drops nothing
    """Write one row per completion to imitate."""
    return [
        {
            "prompt": _message_rows(item.prompt),
            "completion": _response_messages(case, item.completion),
        }
        for item in views(case, SFTExample)
    ]


@export_format(
    "openai-chat",
    title="OpenAI supervised fine-tuning: messages",
    source="https://platform.openai.com/docs/guides/supervised-fine-tuning",
    view=SFTExample,
    columns={"messages": "messages"},
)
def openai_chat(case: Case, dropped: Dropped) -> list[ExportRow]:  # noqa: ARG001 - drops nothing
    """Write one row per conversation that ends with a response to imitate."""
    tools = _tools(case)
    return [
        {"messages": [*_message_rows(item.prompt), *_response_messages(case, item.completion)]}
        | tools
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
def openai_preference(case: Case, dropped: Dropped) -> list[ExportRow]:
    """Write one row per pair of single messages; ties are dropped."""
    rows: list[ExportRow] = []
    for pair in _pairs(case, dropped):
        chosen, rejected = (
            _response_messages(case, pair.chosen),
            _response_messages(case, pair.rejected),
        )
        if len(chosen) > 1 or len(rejected) > 1:
            dropped["a response of several messages, where the layout holds one"] += 1
            continue
        request: ExportRow = {"messages": _message_rows(pair.prompt)} | _tools(case)
        rows.append(
            {"input": request, "preferred_output": chosen, "non_preferred_output": rejected}
        )
    return rows


@export_format(
    "backtalk",
    title="Backtalk's own layout, complete",
    source="docs/formats.md",
    view=None,
    columns={"record": "text", "body": "text"},
)
def backtalk(case: Case, dropped: Dropped) -> list[ExportRow]:  # noqa: ARG001 - drops nothing
    """Write one row per interaction with all its feedback."""
    return [{"interaction": case.interaction, "feedback": case.feedback}]
