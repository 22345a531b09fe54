"""TRL's dataset types: preference, unpaired preference, stepwise, prompt-completion."""

from __future__ import annotations

from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.interaction import Message, Response
from backtalk.feedback.judgements import Label, Preference
from backtalk.feedback.parts import Step, Steps
from backtalk.feedback.views import Case
from backtalk.feedback.words import Demonstration
from backtalk.formats.chat import as_messages, parting, unread
from backtalk.formats.content_ids import (
    HUMAN,
    case,
    feedback,
    make_interaction,
    plain_interaction,
    written,
)
from backtalk.formats.fields import Fields
from backtalk.formats.format import Data, import_format

PAGE = "https://huggingface.co/docs/trl/dataset_formats"
SEPARATOR = "\n"
"""What stands between the steps of a response."""

_PAIR = ("prompt", "chosen", "rejected")
_SCORES = ("score_chosen", "score_rejected")


def _looks_like_pairs(row: Data) -> bool:
    if "chosen" not in row or "rejected" not in row:
        return False
    transcript = "prompt" not in row and str(row["chosen"]).startswith("\n\nHuman:")
    return not transcript and not {"prompt_id", *_SCORES} <= set(row)


@import_format(
    "trl-preference",
    title="TRL preference: prompt, chosen, rejected",
    source=PAGE,
    looks_like=_looks_like_pairs,
)
def trl_preference(row: Data) -> list[Case]:
    """A preference; what other columns hold is metadata.

    Texts or lists of messages. Without a prompt it is what chosen and rejected begin with alike.
    """
    fields = Fields(row)
    metadata = fields.rest(_PAIR) if len(row) > len(_PAIR) else {}
    prompt, chosen, rejected = row.get("prompt"), row.get("chosen"), row.get("rejected")
    if type(prompt) is str and type(chosen) is str and type(rejected) is str:
        differ = chosen != rejected
        interaction = plain_interaction(prompt, (chosen, rejected), metadata=metadata)
    else:
        messages, one, other = conversations(fields)
        differ = one.text != other.text or one.messages != other.messages
        metadata |= _unread(row, *_PAIR)
        interaction = make_interaction(messages, (one, other), metadata=metadata)
    if not differ:
        raise RecordError("rejected: the same as chosen, so that nothing is preferred")
    return [
        case(interaction, [feedback(Preference, interaction, HUMAN, a="0", b="1", verdict="a")])
    ]


def conversations(fields: Fields) -> tuple[tuple[Message, ...], Response, Response]:
    """Return the prompt and the two responses of a pair of texts or of lists of messages.

    Raises
    ------
    RecordError
        If they are neither, or the prompt is in none of them.
    """
    for name in ("chosen", "rejected"):
        if name not in fields:
            raise fields.error(name, "missing")
    chosen, rejected = (fields.data.get(name) for name in ("chosen", "rejected"))
    if isinstance(chosen, str) and isinstance(rejected, str):
        if "prompt" in fields:
            return fields.messages("prompt"), _text("0", chosen), _text("1", rejected)
        text, one, other = _parting_texts(chosen, rejected)
        return as_messages(text, "chosen"), _text("0", one), _text("1", other)
    whole = [_list(fields, name) for name in ("chosen", "rejected")]
    prompt = fields.messages("prompt") if "prompt" in fields else ()
    if not prompt or all(each[: len(prompt)] == prompt for each in whole):
        prompt, *whole = parting(*whole)
    return prompt, written("0", whole[0]), written("1", whole[1])


def _text(id_: str, text: str) -> Response:
    return Response(id=id_, text=text)


def _list(fields: Fields, name: str) -> tuple[Message, ...]:
    if isinstance(fields.data.get(name), str):
        raise fields.error(name, "a text, where the other answer is a list of messages")
    return fields.messages(name)


def _parting_texts(one: str, other: str) -> tuple[str, str, str]:
    """Split two texts where they part; a space there belongs to what follows."""
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    at = min(len(one), len(other)) if at is None else at
    at -= at > 0 and one[at - 1] == " "
    if at == 0:
        raise RecordError(
            "chosen and rejected have no beginning in common", "Give the prompt in a field prompt"
        )
    return one[:at], one[at:], other[at:]


def _unread(row: Data, *names: str) -> dict[str, Any]:
    return {path: value for name in names for path, value in unread(row.get(name), name).items()}


@import_format(
    "trl-unpaired",
    title="TRL unpaired preference: prompt, completion, label",
    source=PAGE,
    looks_like=lambda row: {"prompt", "completion", "label"} <= set(row),
)
def trl_unpaired(row: Data) -> list[Case]:
    """A label."""
    fields = Fields(row)
    names = ("prompt", "completion", "label")
    metadata = fields.rest(names) | _unread(row, *names)
    interaction = make_interaction(
        fields.messages("prompt"), [_completion(fields)], metadata=metadata
    )
    return [
        case(
            interaction,
            [feedback(Label, interaction, HUMAN, response="0", good=fields.flag("label"))],
        )
    ]


@import_format(
    "trl-prompt-completion",
    title="TRL prompt-completion: prompt, completion",
    source=PAGE,
    looks_like=lambda row: (
        {"prompt", "completion"} <= set(row)
        and not {"label", "feedback", "original_model_completion"} & set(row)
    ),
)
def trl_prompt_completion(row: Data) -> list[Case]:
    """A demonstration."""
    fields = Fields(row)
    names = ("prompt", "completion")
    metadata = fields.rest(names) | _unread(row, *names)
    interaction = make_interaction(fields.messages("prompt"), [], metadata=metadata)
    text = _completion(fields).text
    return [case(interaction, [feedback(Demonstration, interaction, HUMAN, text=text)])]


def _completion(fields: Fields) -> Response:
    value = fields.data.get("completion")
    return (
        _text("0", value) if isinstance(value, str) else written("0", _list(fields, "completion"))
    )


@import_format(
    "trl-stepwise",
    title="TRL stepwise supervision: prompt, completions, labels",
    source=PAGE,
    looks_like=lambda row: {"prompt", "completions", "labels"} <= set(row),
)
def trl_stepwise(row: Data) -> list[Case]:
    """Checked steps of one response, whose text is the steps, one a line."""
    fields = Fields(row)
    completions, labels = fields.entries("completions"), fields.entries("labels")
    if len(completions.data) != len(labels.data):
        raise fields.error("labels", f"{len(labels.data)} labels for {len(completions.data)} steps")
    texts = [completions.text(place) for place in completions.data]
    verdicts = ["right" if labels.flag(place) else "wrong" for place in labels.data]
    interaction = make_interaction(
        fields.messages("prompt"),
        [Response(id="0", text=SEPARATOR.join(texts))],
        metadata=fields.rest(("prompt", "completions", "labels")),
    )
    steps = laid_out(texts, verdicts)
    return [case(interaction, [feedback(Steps, interaction, HUMAN, response="0", steps=steps)])]


def laid_out(texts: list[str], verdicts: list[Any]) -> tuple[Step, ...]:
    """Return steps where they stand in the response; one without a verdict is left out."""
    steps = []
    start = 0
    for text, verdict in zip(texts, verdicts, strict=True):
        end = start + len(text)
        if verdict is not None:
            steps.append(Step(start=start, end=end, verdict=verdict))
        start = end + len(SEPARATOR)
    return tuple(steps)
