"""Export formats: TRL's dataset types, OpenAI's fine-tuning files, Backtalk's own layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backtalk.feedback.answers import Messages
from backtalk.feedback.case import Case
from backtalk.feedback.conversions import views
from backtalk.feedback.interaction import Message, prompt_text
from backtalk.feedback.views import Completion, LabelView, Pair, SFTExample, StepLabels
from backtalk.formats.exporters.format import Dropped, ExportRow, export_format

_TRL = "https://huggingface.co/docs/trl/dataset_formats"
_TOOLS = ("tools", "parallel_tool_calls", "functions")


def _message_rows(messages: Iterable[Message]) -> list[ExportRow]:
    return [message.to_dict() for message in messages]


def _completion_rows(item: Completion) -> list[ExportRow]:
    return _answer_rows(item.completion, item.messages, item.reasoning)


def _answer_rows(text: str, messages: Messages, reasoning: str | None) -> list[ExportRow]:
    """Return the messages of an answer; one message if the text is all of it."""
    rows = _message_rows(messages) if messages else [{"role": "assistant", "content": text}]
    if reasoning and not any("reasoning" in row for row in rows):
        rows[0] |= {"reasoning": reasoning}
    return rows


def _tools(case: Case) -> ExportRow:
    metadata = case.interaction.metadata
    return {name: metadata[name] for name in _TOOLS if name in metadata}


def _pairs(case: Case, dropped: Dropped) -> Iterator[Pair]:
    for pair in views(case, Pair):
        if pair.tie:
            dropped["a tie, which is no preference"] += 1
        elif pair.is_equal:
            dropped["a preference between two equal answers"] += 1
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
            "chosen": _answer_rows(pair.chosen, pair.chosen_messages, pair.chosen_reasoning),
            "rejected": _answer_rows(
                pair.rejected, pair.rejected_messages, pair.rejected_reasoning
            ),
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
            "completion": _completion_rows(item),
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
            "completion": _completion_rows(item),
        }
        for item in views(case, SFTExample)
    ]


@export_format(
    "openai-chat",
    title="OpenAI supervised fine-tuning: messages",
    source="https://platform.openai.com/docs/guides/supervised-fine-tuning",
    view=SFTExample,
    columns={"messages": "messages"},
    holds_reasoning=False,
)
def openai_chat(case: Case, dropped: Dropped) -> list[ExportRow]:  # noqa: ARG001 - drops nothing
    """Write one row per conversation that ends with a response to imitate."""
    tools = _tools(case)
    return [
        {"messages": [*_message_rows(item.prompt), *_completion_rows(item)]} | tools
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
    holds_reasoning=False,
)
def openai_preference(case: Case, dropped: Dropped) -> list[ExportRow]:
    """Write one row per pair of single messages; ties are dropped."""
    rows: list[ExportRow] = []
    for pair in _pairs(case, dropped):
        chosen = _answer_rows(pair.chosen, pair.chosen_messages, pair.chosen_reasoning)
        rejected = _answer_rows(pair.rejected, pair.rejected_messages, pair.rejected_reasoning)
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
