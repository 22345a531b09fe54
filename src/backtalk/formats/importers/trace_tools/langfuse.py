"""Langfuse: traces and observations with their scores and comments."""

from __future__ import annotations

from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Message, Response
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.record import content_id
from backtalk.formats.columns import is_empty
from backtalk.formats.content_ids import make_case, response_from_messages
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.trace_tools.join import FEEDBACK
from backtalk.formats.importers.trace_tools.langfuse_rows import (
    JOIN,
    as_camel_case,
    is_comment,
    is_observation,
    is_root,
    is_row,
    is_trace,
    score_target,
)
from backtalk.formats.importers.trace_tools.langfuse_scores import (
    comment_items,
    read_row_score,
    table_scores,
)
from backtalk.formats.importers.trace_tools.messages import (
    parse_text,
    read_input,
    read_output,
    read_time,
)
from backtalk.formats.importers.trace_tools.scores import (
    RESPONSE,
    SCORE_OPTIONS,
    ScoreOptions,
    read_options,
    stand_in,
)
from backtalk.formats.readers import RejectedRow, Row
from backtalk.formats.unusual import note_unusual

_METADATA = ("name", "tags", "traceTags", "release", "version", "environment", "metadata", "type")


def _matches(row: RowData) -> bool:
    return is_row(row) or bool(JOIN.items(row))


@import_format(
    "langfuse",
    title="Langfuse traces and observations with scores and comments",
    source="https://langfuse.com/docs/api-and-data-platform/features/export-from-ui",
    matches=_matches,
    options=SCORE_OPTIONS,
    preprocess=JOIN,
)
def langfuse(row: RowData, **options: Any) -> list[Case | AnyFeedback]:
    """Parse a trace or an observation with its scores, or a score of a trace in another file.

    A boolean score, and a category whose word is known, becomes a label, a number a rating, a
    text or a comment a critique, and a correction an edit. The name of a score is the aspect,
    unless it means the answer as a whole, such as ``user-feedback``. Observations inside a trace
    are left out if they are no generations and have no scores.

    Parameters
    ----------
    row : dict
        Object of the API, row of an exported table, or a page of objects.
    **options : Any
        Fields of :class:`~backtalk.formats.importers.trace_tools.scores.ScoreOptions`.
    """
    settings = read_options(row, options)
    return [
        item
        for page_row in JOIN.expand(row) or [row]
        for part in _parts(as_camel_case(page_row))
        for item in _parse(part, settings)
    ]


def _list(row: RowData, name: str) -> list[Any]:
    value = row.get(name)
    if value is not None and not isinstance(value, list):
        raise RecordError(f"{name}: expected a list, got {value!r}")
    return value or []


def _parts(row: RowData) -> list[RowData]:
    """Return a trace, and the observations in it that have scores of their own."""
    row = {name: parse_text(value) for name, value in row.items()}
    inner, scores = (
        [item for item in _list(row, name) if isinstance(item, dict)]
        for name in ("observations", "scores")
    )
    if not is_trace(row) or not (inner or scores):
        return [row]
    trace = {**row, **_root_content(row, inner), "model": _only_model(inner)}
    rows = [Row("", 1, item) for item in (trace, *inner, *scores)]
    parts = []
    for item in JOIN(iter(rows)):
        if isinstance(item, RejectedRow):
            raise RecordError(f"scores: {item.reason}")
        if not is_observation(item.data) or FEEDBACK in item.data:
            parts.append(item.data)
    return parts


def _root_content(row: RowData, inner: list[RowData]) -> RowData:
    """Return input and output of the only root observation, if the trace has none of its own."""
    roots = [item for item in inner if is_root(item)]
    if len(roots) != 1 or not (is_empty(row["input"]) and is_empty(row["output"])):
        return {}
    return {name: roots[0].get(name) for name in ("input", "output")}


def _only_model(inner: list[RowData]) -> str | None:
    names = {item.get("model") or item.get("providedModelName") for item in inner} - {None, ""}
    return names.pop() if len(names) == 1 else None


def _parse(row: RowData, options: ScoreOptions) -> list[Case | AnyFeedback]:
    fields = Fields(row)
    if is_trace(row) or is_observation(row):
        return [*_case(fields, options)]
    kind, id_ = score_target(row)
    if kind not in {"trace", "observation"} or not id_:
        raise RecordError(
            f"a score or comment on {kind or 'nothing'}, which is no trace and no observation",
            "Export scores with the id of their trace; of API version 3, with the fields subject",
        )
    return [*_row_feedback(fields, stand_in(_interaction_id(kind, id_)), options)]


def _interaction_id(kind: str, id_: str) -> str:
    return content_id("langfuse", kind, id_)


def _case(fields: Fields, options: ScoreOptions) -> list[Case]:
    row = dict(fields.data)
    has_feedback = FEEDBACK in row or bool(row.get("comments"))
    scores = table_scores(fields)
    if not has_feedback and not scores and _is_left_out(row):
        return []
    prompt, answer = read_output(row.get("output"), read_input(row.get("input"), "input"), "output")
    inside = is_observation(row) and not is_root(row)
    kind, id_ = ("observation", row["id"]) if inside else ("trace", row.get("traceId", row["id"]))
    interaction = Interaction(
        id=_interaction_id(kind, str(id_)),
        prompt=prompt,
        responses=_responses(fields, answer),
        user=fields.optional_text("userId"),
        session=fields.optional_text("sessionId"),
        time=read_time(fields, "timestamp", "startTime"),
        metadata={f"{kind}Id": id_, **_metadata(fields)},
    )
    items = fields.objects(FEEDBACK) if FEEDBACK in fields else []
    feedback = [one for item in items for one in _row_feedback(item, interaction, options)]
    for name, values in scores.items():
        feedback += values.feedback(name, interaction, options)
    feedback += comment_items(fields, interaction, options)
    if not feedback:
        note_unusual(_note_without_feedback(row))
    return [make_case(interaction, feedback)]


def _is_left_out(row: RowData) -> bool:
    """Return true if a row without feedback is no answer to a prompt, and count it."""
    if is_observation(row) and row["type"] != "GENERATION" and not is_root(row):
        note_unusual("observation without scores that is no generation, left out")
        return True
    if is_empty(row.get("input")):
        note_unusual("trace without input and without scores, left out")
        return True
    return False


def _note_without_feedback(row: RowData) -> str:
    if row.get("scores"):
        return "trace whose scores have only ids; the file of the scores is needed too"
    return "trace without feedback, kept as an interaction"


def _responses(fields: Fields, answer: tuple[Message, ...]) -> tuple[Response, ...]:
    if not answer:
        return ()
    name = fields.optional_text("model") or fields.optional_text("providedModelName")
    details = {"model": name} if name else {}
    return (response_from_messages(RESPONSE, answer, **details),)


def _metadata(fields: Fields) -> dict[str, Any]:
    return {
        name: value
        for name, value in fields.select(*_METADATA).items()
        if value not in ("", "{}", {}, [])
    }


def _row_feedback(
    fields: Fields, interaction: Interaction, options: ScoreOptions
) -> list[AnyFeedback]:
    row = as_camel_case(dict(fields.data))
    fields = Fields(row, fields.path)
    if is_comment(row):
        return comment_items(Fields({"comments": [row]}), interaction, options)
    return read_row_score(fields, interaction, options)
