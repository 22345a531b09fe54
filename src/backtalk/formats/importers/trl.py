"""TRL's dataset types: preference, unpaired preference, stepwise, prompt-completion."""

from __future__ import annotations

from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Prompt, Response
from backtalk.feedback.kinds import Demonstration, Label, Preference, Step, Steps
from backtalk.formats.chat import as_messages, split_common_prefix, unknown_fields
from backtalk.formats.content_ids import (
    HUMAN,
    make_case,
    make_feedback,
    make_interaction,
    make_text_interaction,
    response_from_messages,
)
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format

PAGE = "https://huggingface.co/docs/trl/dataset_formats"
SEPARATOR = "\n"
"""Separator of the steps of a response."""

_PAIR_FIELDS = ("prompt", "chosen", "rejected")
_SCORE_FIELDS = ("score_chosen", "score_rejected")


def _matches_pairs(row: RowData) -> bool:
    if "chosen" not in row or "rejected" not in row:
        return False
    transcript = "prompt" not in row and str(row["chosen"]).startswith("\n\nHuman:")
    return not transcript and not {"prompt_id", *_SCORE_FIELDS} <= set(row)


@import_format(
    "trl-preference",
    title="TRL preference: prompt, chosen, rejected",
    source=PAGE,
    matches=_matches_pairs,
)
def trl_preference(row: RowData) -> list[Case]:
    """Parse a preference between texts or lists of messages; other columns are metadata.

    Without a prompt column, the prompt is the common beginning of chosen and rejected.
    """
    fields = Fields(row)
    metadata = fields.other_fields(_PAIR_FIELDS) if len(row) > len(_PAIR_FIELDS) else {}
    prompt, chosen, rejected = row.get("prompt"), row.get("chosen"), row.get("rejected")
    if type(prompt) is str and type(chosen) is str and type(rejected) is str:
        same = chosen == rejected
        interaction = make_text_interaction(prompt, (chosen, rejected), metadata=metadata)
    else:
        messages, a, b = parse_pair(fields)
        same = a.text == b.text and a.messages == b.messages
        metadata |= _message_metadata(row, *_PAIR_FIELDS)
        interaction = make_interaction(messages, (a, b), metadata=metadata)
    if same:
        raise RecordError("rejected: the same as chosen")
    return [
        make_case(
            interaction, [make_feedback(Preference, interaction, HUMAN, a="0", b="1", verdict="a")]
        )
    ]


def parse_pair(fields: Fields) -> tuple[Prompt, Response, Response]:
    """Return the prompt and the two responses of a pair of texts or of lists of messages.

    Raises
    ------
    RecordError
        If they are neither, or have no common prompt.
    """
    for name in ("chosen", "rejected"):
        if name not in fields:
            raise fields.error(name, "missing")
    chosen, rejected = (fields.data.get(name) for name in ("chosen", "rejected"))
    if isinstance(chosen, str) and isinstance(rejected, str):
        if "prompt" in fields:
            return (
                fields.messages("prompt"),
                _text_response("0", chosen),
                _text_response("1", rejected),
            )
        text, a, b = _split_common_text(chosen, rejected)
        return as_messages(text, "chosen"), _text_response("0", a), _text_response("1", b)
    conversations = [_message_list(fields, name) for name in ("chosen", "rejected")]
    prompt = fields.messages("prompt") if "prompt" in fields else ()
    if not prompt or all(messages[: len(prompt)] == prompt for messages in conversations):
        prompt, *conversations = split_common_prefix(*conversations)
    return (
        prompt,
        response_from_messages("0", conversations[0]),
        response_from_messages("1", conversations[1]),
    )


def _text_response(id_: str, text: str) -> Response:
    return Response(id=id_, text=text)


def _message_list(fields: Fields, name: str) -> Prompt:
    if isinstance(fields.data.get(name), str):
        raise fields.error(name, "a text, but the other response is a list of messages")
    return fields.messages(name)


def _split_common_text(a: str, b: str) -> tuple[str, str, str]:
    """Split two texts after their common beginning, and before a space at its end."""
    pairs = enumerate(zip(a, b, strict=False))
    end = next((i for i, (char_a, char_b) in pairs if char_a != char_b), min(len(a), len(b)))
    end -= end > 0 and a[end - 1] == " "
    if end == 0:
        raise RecordError(
            "chosen and rejected have no beginning in common", "Give the prompt in a field prompt"
        )
    return a[:end], a[end:], b[end:]


def _message_metadata(row: RowData, *names: str) -> dict[str, Any]:
    return {
        path: value for name in names for path, value in unknown_fields(row.get(name), name).items()
    }


@import_format(
    "trl-unpaired",
    title="TRL unpaired preference: prompt, completion, label",
    source=PAGE,
    matches=lambda row: {"prompt", "completion", "label"} <= set(row),
)
def trl_unpaired(row: RowData) -> list[Case]:
    """Parse a label."""
    fields = Fields(row)
    names = ("prompt", "completion", "label")
    metadata = fields.other_fields(names) | _message_metadata(row, *names)
    interaction = make_interaction(
        fields.messages("prompt"), [_completion(fields)], metadata=metadata
    )
    return [
        make_case(
            interaction,
            [make_feedback(Label, interaction, HUMAN, response="0", good=fields.boolean("label"))],
        )
    ]


@import_format(
    "trl-prompt-completion",
    title="TRL prompt-completion: prompt, completion",
    source=PAGE,
    matches=lambda row: (
        {"prompt", "completion"} <= set(row)
        and not {"label", "feedback", "original_model_completion"} & set(row)
    ),
)
def trl_prompt_completion(row: RowData) -> list[Case]:
    """Parse a demonstration."""
    fields = Fields(row)
    names = ("prompt", "completion")
    metadata = fields.other_fields(names) | _message_metadata(row, *names)
    interaction = make_interaction(fields.messages("prompt"), [], metadata=metadata)
    text = _completion(fields).text
    return [make_case(interaction, [make_feedback(Demonstration, interaction, HUMAN, text=text)])]


def _completion(fields: Fields) -> Response:
    value = fields.data.get("completion")
    return (
        _text_response("0", value)
        if isinstance(value, str)
        else response_from_messages("0", _message_list(fields, "completion"))
    )


@import_format(
    "trl-stepwise",
    title="TRL stepwise supervision: prompt, completions, labels",
    source=PAGE,
    matches=lambda row: {"prompt", "completions", "labels"} <= set(row),
)
def trl_stepwise(row: RowData) -> list[Case]:
    """Parse the checked steps of one response; its text has one step per line."""
    fields = Fields(row)
    completions, labels = fields.array_fields("completions"), fields.array_fields("labels")
    if len(completions.data) != len(labels.data):
        raise fields.error("labels", f"{len(labels.data)} labels for {len(completions.data)} steps")
    texts = [completions.text(index) for index in completions.data]
    verdicts = ["right" if labels.boolean(index) else "wrong" for index in labels.data]
    interaction = make_interaction(
        fields.messages("prompt"),
        [Response(id="0", text=SEPARATOR.join(texts))],
        metadata=fields.other_fields(("prompt", "completions", "labels")),
    )
    steps = steps_with_offsets(texts, verdicts)
    return [
        make_case(
            interaction, [make_feedback(Steps, interaction, HUMAN, response="0", steps=steps)]
        )
    ]


def steps_with_offsets(texts: list[str], verdicts: list[Any]) -> tuple[Step, ...]:
    """Return the steps of a response with their offsets, without those that have no verdict."""
    steps = []
    start = 0
    for text, verdict in zip(texts, verdicts, strict=True):
        end = start + len(text)
        if verdict is not None:
            steps.append(Step(start=start, end=end, verdict=verdict))
        start = end + len(SEPARATOR)
    return tuple(steps)
