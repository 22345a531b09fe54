"""TensorZero: inferences and feedback on them, from its tables or its API."""

from __future__ import annotations

from typing import Any

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Prompt, Response
from backtalk.feedback.kinds import AnyFeedback, Demonstration, Preference
from backtalk.feedback.record import content_id
from backtalk.formats.cell_values import read_cells
from backtalk.formats.content_ids import (
    HUMAN,
    make_case,
    make_feedback,
    response_from_messages,
)
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.trace_tools.join import FEEDBACK
from backtalk.formats.importers.trace_tools.messages import read_time
from backtalk.formats.importers.trace_tools.scores import (
    RESPONSE,
    SCORE_OPTIONS,
    Score,
    ScoreOptions,
    comment_feedback,
    read_options,
    score_feedback,
    stand_in,
)
from backtalk.formats.importers.trace_tools.tensorzero_messages import read_answer, read_input
from backtalk.formats.importers.trace_tools.tensorzero_tables import (
    INFERENCE_ID,
    JOIN,
    inference_id,
    is_datapoint,
    is_feedback,
    is_inference,
)
from backtalk.formats.unusual import note_unusual

_AUTHOR_TAGS = ("author", "user_id", "user", "annotator", "reviewer")
_HUMAN_TAG = "tensorzero::human_feedback"
_JUDGE_TAG = "tensorzero::evaluator_inference_id"
_JSON_CELLS = ("input", "output", "tags", "dispreferred_outputs", "value", FEEDBACK)
_METADATA = (
    "function_name",
    "episode_id",
    "tags",
    "inference_params",
    "processing_time_ms",
    "ttft_ms",
    "output_schema",
)


def _matches(row: RowData) -> bool:
    return is_inference(row) or is_datapoint(row) or is_feedback(row) or bool(JOIN.items(row))


@import_format(
    "tensorzero",
    title="TensorZero inferences and feedback",
    source="https://www.tensorzero.com/docs/gateway/data-model",
    matches=_matches,
    options=SCORE_OPTIONS,
    preprocess=JOIN,
)
def tensorzero(row: RowData, **options: Any) -> list[Case | AnyFeedback]:
    """Parse an inference with its feedback, or feedback on an inference in another file.

    A boolean metric becomes a label, a float metric a rating, a comment a critique, and a
    demonstration an ideal answer. The name of a metric is the aspect, unless it means the answer
    as a whole, such as ``thumbs_up``. Feedback on an episode is about its last inference.

    Parameters
    ----------
    row : dict
        Row of a table, object of the API, or a page of its objects.
    **options : Any
        Fields of :class:`~backtalk.formats.importers.trace_tools.scores.ScoreOptions`.
    """
    settings = read_options(row, options)
    return [item for part in JOIN.expand(row) or [row] for item in _parse(part, settings)]


def _parse(row: RowData, options: ScoreOptions) -> list[Case | AnyFeedback]:
    fields = Fields(read_cells(row, _JSON_CELLS))
    if is_inference(row):
        return [_case(fields, options)]
    if is_datapoint(row):
        return [*_datapoint(fields)]
    target = fields.text("inference_id" if "inference_id" in fields else "target_id")
    interaction = stand_in(_interaction_id(target))
    return [*_feedback(fields, interaction, options)]


def _interaction_id(inference: str) -> str:
    return content_id("tensorzero", inference)


def _case(fields: Fields, options: ScoreOptions) -> Case:
    inference = inference_id(fields.data)
    responses, preferences = _responses(fields)
    interaction = Interaction(
        id=content_id("tensorzero", inference, *("dispreferred" for _ in preferences)),
        prompt=read_input(fields.object("input")),
        responses=responses,
        policy=fields.text("variant_name"),
        session=fields.optional_text("episode_id"),
        time=read_time(fields, "timestamp", "created_at"),
        metadata={INFERENCE_ID: inference, **_metadata(fields)},
    )
    items = fields.objects(FEEDBACK) if FEEDBACK in fields else []
    feedback = [one for item in items for one in _feedback(item, interaction, options)]
    feedback += [
        make_feedback(Preference, interaction, HUMAN, a=RESPONSE, b=name, verdict="a")
        for name in preferences
    ]
    if not feedback:
        note_unusual("inference without feedback, kept as an interaction")
    return make_case(interaction, feedback)


def _responses(fields: Fields) -> tuple[tuple[Response, ...], list[str]]:
    """Return the output and the outputs to which it is preferred, and the ids of the latter."""
    answer = read_answer(fields.data.get("output"), fields.field_path("output"))
    if not answer:
        return (), []
    responses = [response_from_messages(RESPONSE, answer)]
    others = (
        fields.array_fields("dispreferred_outputs") if "dispreferred_outputs" in fields else None
    )
    for index, value in (others.data if others else {}).items():
        messages = read_answer(value, f"dispreferred_outputs.{index}")
        if messages:
            responses.append(response_from_messages(str(int(index) + 1), messages))
    return tuple(responses), [response.id for response in responses[1:]]


def _datapoint(fields: Fields) -> list[Case]:
    """Return a datapoint, whose output is an ideal answer; none if it was deleted."""
    if fields.data.get("is_deleted") in (True, "true", 1):
        note_unusual("deleted datapoint, left out")
        return []
    interaction = Interaction(
        id=content_id("tensorzero", "datapoint", fields.text("id")),
        prompt=read_input(fields.object("input")),
        session=fields.optional_text("episode_id"),
        time=None,
        metadata=fields.select("dataset_name", "id") | _metadata(fields),
    )
    answer = read_answer(fields.data.get("output"), fields.field_path("output"))
    if not answer:
        return [make_case(interaction, [])]
    text = _one_text(fields, "output", answer)
    return [make_case(interaction, [make_feedback(Demonstration, interaction, HUMAN, text=text)])]


def _metadata(fields: Fields) -> dict[str, Any]:
    return {
        name: value
        for name, value in fields.select(*_METADATA).items()
        if value not in ("", "{}", {}, [])
    }


def _feedback(fields: Fields, interaction: Interaction, options: ScoreOptions) -> list[AnyFeedback]:
    fields = Fields(read_cells(dict(fields.data), ("tags",)), fields.path)
    is_demonstration = "target_id" not in fields
    if is_demonstration:
        return [_demonstration(fields, interaction)]
    name = fields.optional_text("metric_name")
    if name is None:
        score = _score(fields, "comment", None, comment=fields.text("value"))
        return [comment_feedback(score, interaction, options)]
    value = fields.data.get("value")
    if value is None:
        raise fields.error("value", "missing")
    return score_feedback(
        _score(fields, name, _metric_value(fields, value), options=options), interaction, options
    )


def _metric_value(fields: Fields, value: Any) -> bool | float:
    """Return the value of a metric; a CSV file has it as text."""
    if isinstance(value, str) and value.strip().lower() in {"true", "false"}:
        return fields.boolean("value")
    return value if isinstance(value, bool) else fields.number("value")


def _score(
    fields: Fields,
    name: str,
    value: bool | float | None,
    *,
    comment: str | None = None,
    options: ScoreOptions | None = None,
) -> Score:
    is_human = value is None or (options is not None and options.is_by_person(name))
    return Score(
        name=name,
        value=value,
        annotator=_annotator(fields, name, is_human=is_human),
        time=read_time(fields, "timestamp", "created_at"),
        comment=comment,
        id=fields.text("id"),
        metadata=_tags(fields),
    )


def _demonstration(fields: Fields, interaction: Interaction) -> Demonstration:
    value = read_cells({"value": fields.data.get("value")}, ("value",))["value"]
    answer = read_answer(value, fields.field_path("value"))
    return make_feedback(
        Demonstration,
        interaction,
        _annotator(fields, "demonstration", is_human=True),
        time=read_time(fields, "timestamp", "created_at"),
        distinct=fields.text("id"),
        metadata=_tags(fields),
        text=_one_text(fields, "value", answer),
    )


def _one_text(fields: Fields, name: str, answer: Prompt) -> str:
    if len(answer) != 1 or answer[0].tool_calls:
        raise fields.error(
            name, "a demonstration is one message without tool calls", "Leave it out"
        )
    return answer[0].text


def _tags(fields: Fields) -> dict[str, Any]:
    tags = fields.data.get("tags")
    return {"tags": tags} if isinstance(tags, dict) and tags else {}


def _annotator(fields: Fields, name: str, *, is_human: bool) -> Annotator:
    """Return who gave feedback: the author that a tag names, a judge, or a program."""
    tags = _tags(fields).get("tags", {})
    author = next((tags[tag] for tag in _AUTHOR_TAGS if tags.get(tag)), None)
    if author is not None:
        return Annotator.human(str(author))
    if _JUDGE_TAG in tags and _HUMAN_TAG not in tags:
        return Annotator.model(name)
    if is_human or _HUMAN_TAG in tags:
        return Annotator.human()
    return Annotator.verifier(name)
