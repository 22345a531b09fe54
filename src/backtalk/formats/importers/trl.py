"""TRL's dataset types: preference, unpaired preference, stepwise, prompt-completion."""

from __future__ import annotations

import re
from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Prompt, Response
from backtalk.feedback.kinds import Demonstration, Label, Preference, Step, Steps
from backtalk.formats.cell_values import read_list_cells
from backtalk.formats.chat import (
    as_messages,
    require_answer,
    split_answer,
    split_at_prompt,
    unknown_fields,
)
from backtalk.formats.columns import is_empty
from backtalk.formats.content_ids import (
    HUMAN,
    make_case,
    make_feedback,
    make_interaction,
    response_from_messages,
)
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.prompts import (
    PROMPT_COLUMNS,
    has_prompt,
    read_annotator,
    read_author,
    read_prompt,
    with_system,
)
from backtalk.formats.text_pairs import make_text_pair

PAGE = "https://huggingface.co/docs/trl/dataset_formats"
SEPARATOR = "\n"
"""Separator of the steps of a response."""

_PAIR_FIELDS = (*PROMPT_COLUMNS, "chosen", "rejected")
_SCORE_FIELDS = ("score_chosen", "score_rejected")
_OTHER_PROMPT_FIELDS = frozenset(PROMPT_COLUMNS) - {"prompt"}
_COMPLETION_FIELDS = (*PROMPT_COLUMNS, "completion")
_TRANSCRIPT = re.compile(r"\s*Human:")


def _matches_pairs(row: RowData) -> bool:
    if "chosen" not in row or "rejected" not in row:
        return False
    transcript = "prompt" not in row and _TRANSCRIPT.match(str(row["chosen"]))
    return not transcript and not {"prompt_id", *_SCORE_FIELDS} <= set(row)


@import_format(
    "trl-preference",
    title="TRL preference: prompt, chosen, rejected; also Intel's orca pairs",
    source=PAGE,
    matches=_matches_pairs,
    columns=(*_PAIR_FIELDS, *_SCORE_FIELDS, "margin"),
    reads_person=True,
    fallback=True,
)
def trl_preference(row: RowData) -> list[Case]:
    """Parse a preference between texts or lists of messages; other columns are metadata.

    The prompt is read by :func:`~backtalk.formats.prompts.read_prompt`. Lists of messages may
    contain the prompt: it is what both share, up to the answer.
    """
    texts = _plain_texts(row)
    if texts is not None and len(row) == len(texts) and texts[1] != texts[2]:
        return [make_text_pair(*texts)]
    fields = Fields(row)
    if texts is not None:
        metadata = fields.other_fields(_PAIR_FIELDS)
        annotator = _check_pair(fields, metadata, same=texts[1] == texts[2])
        return [make_text_pair(*texts, metadata=metadata, annotator=annotator)]
    messages, a, b = parse_pair(fields)
    metadata = fields.other_fields(_PAIR_FIELDS) | _message_metadata(row, *_PAIR_FIELDS)
    same = a.text == b.text and a.messages == b.messages
    annotator = _check_pair(fields, metadata, same=same)
    interaction = make_interaction(messages, (a, b), metadata=metadata)
    preference = make_feedback(Preference, interaction, annotator, a="0", b="1", verdict="a")
    return [make_case(interaction, [preference])]


def _plain_texts(row: RowData) -> tuple[str, str, str] | None:
    """Return prompt, chosen and rejected, ``None`` if they are not the texts of a whole pair."""
    prompt, chosen, rejected = row.get("prompt"), row.get("chosen"), row.get("rejected")
    if not (type(prompt) is str and type(chosen) is str and type(rejected) is str):
        return None
    if not prompt or prompt.isspace() or not row.keys().isdisjoint(_OTHER_PROMPT_FIELDS):
        return None
    return prompt, chosen, rejected


def _check_pair(fields: Fields, metadata: dict[str, Any], *, same: bool) -> Annotator:
    """Return the annotator, if the row has two different answers and no contrary scores."""
    if same:
        raise RecordError("rejected: the same as chosen")
    if not metadata:
        return HUMAN
    _check_scores(fields)
    return read_annotator(fields)


def _check_scores(fields: Fields) -> None:
    if not all(name in fields for name in _SCORE_FIELDS):
        return
    better, worse = (fields.number(name) for name in _SCORE_FIELDS)
    if worse > better:
        raise fields.error("score_rejected", f"{worse:g} is above score_chosen, {better:g}")


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
        prompt = read_prompt(fields)
        return prompt, _text_response("0", chosen), _text_response("1", rejected)
    a, b = (_message_list(fields, name) for name in ("chosen", "rejected"))
    stated = read_prompt(fields) if has_prompt(fields) else None
    prompt, a, b = split_at_prompt(a, b, stated)
    require_answer(a, "chosen")
    require_answer(b, "rejected")
    if stated is None:
        prompt = with_system(fields, prompt)
    return prompt, response_from_messages("0", a), response_from_messages("1", b)


def _text_response(id_: str, text: str) -> Response:
    return Response(id=id_, text=text)


def _message_list(fields: Fields, name: str) -> Prompt:
    value = fields.data.get(name)
    if isinstance(value, str):
        raise fields.error(name, "a text, but the other response is a list of messages")
    return fields.messages(name) if isinstance(value, list) else as_messages([value], name)


def _message_metadata(row: RowData, *names: str) -> dict[str, Any]:
    return {
        path: value for name in names for path, value in unknown_fields(row.get(name), name).items()
    }


def _matches_completion(row: RowData) -> bool:
    return not is_empty(row.get("completion")) and has_prompt(Fields(row))


@import_format(
    "trl-unpaired",
    title="TRL unpaired preference: prompt, completion, label",
    source=PAGE,
    matches=lambda row: "label" in row and _matches_completion(row),
    columns=(*_COMPLETION_FIELDS, "label"),
    reads_person=True,
    fallback=True,
)
def trl_unpaired(row: RowData) -> list[Case]:
    """Parse a label; a column that names a person is its annotator."""
    fields = Fields(row)
    names = (*_COMPLETION_FIELDS, "label")
    metadata = fields.other_fields(names) | _message_metadata(row, *names)
    prompt, completion = _prompt_and_completion(fields)
    interaction = make_interaction(prompt, [completion], metadata=metadata)
    label = make_feedback(
        Label, interaction, read_annotator(fields), response="0", good=fields.boolean("label")
    )
    return [make_case(interaction, [label])]


@import_format(
    "trl-prompt-completion",
    title="TRL prompt-completion: prompt, completion",
    source=PAGE,
    matches=lambda row: "label" not in row and _matches_completion(row),
    columns=_COMPLETION_FIELDS,
    reads_person=True,
    fallback=True,
)
def trl_prompt_completion(row: RowData) -> list[Case]:
    """Parse a demonstration of one message."""
    fields = Fields(row)
    metadata = fields.other_fields(_COMPLETION_FIELDS) | _message_metadata(row, *_COMPLETION_FIELDS)
    prompt, completion = _prompt_and_completion(fields)
    if len(completion.messages) > 1 or any(item.tool_calls for item in completion.messages):
        raise fields.error(
            "completion",
            "a demonstration is one message with text",
            "Join prompt and completion in one list messages, which the format openai-chat reads",
        )
    interaction = make_interaction(prompt, [], metadata=metadata)
    demonstration = make_feedback(
        Demonstration, interaction, read_author(fields), text=completion.text
    )
    return [make_case(interaction, [demonstration])]


def _prompt_and_completion(fields: Fields) -> tuple[Prompt, Response]:
    """Return the prompt and the completion, whose messages may repeat the prompt."""
    value = fields.data.get("completion")
    if is_empty(value):
        raise fields.error("completion", "missing")
    prompt = read_prompt(fields)
    if isinstance(value, str):
        return prompt, _text_response("0", value)
    prompt, answer = split_answer(_message_list(fields, "completion"), prompt, "completion")
    return prompt, response_from_messages("0", answer)


@import_format(
    "trl-stepwise",
    title="TRL stepwise supervision: prompt, completions, labels",
    source=PAGE,
    matches=lambda row: {"completions", "labels"} <= set(row) and has_prompt(Fields(row)),
    columns=(*PROMPT_COLUMNS, "completions", "labels"),
    reads_person=True,
    fallback=True,
)
def trl_stepwise(row: RowData) -> list[Case]:
    """Parse the checked steps of one response; its text has one step per line."""
    fields = Fields(read_list_cells(row, ("completions", "labels")))
    completions, labels = fields.array_fields("completions"), fields.array_fields("labels")
    if len(completions.data) != len(labels.data):
        raise fields.error("labels", f"{len(labels.data)} labels for {len(completions.data)} steps")
    texts = [completions.text(index) for index in completions.data]
    verdicts = ["right" if labels.boolean(index) else "wrong" for index in labels.data]
    interaction = make_interaction(
        read_prompt(fields),
        [Response(id="0", text=SEPARATOR.join(texts))],
        metadata=fields.other_fields((*PROMPT_COLUMNS, "completions", "labels")),
    )
    steps = steps_with_offsets(texts, verdicts)
    return [
        make_case(
            interaction,
            [make_feedback(Steps, interaction, read_annotator(fields), response="0", steps=steps)],
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
