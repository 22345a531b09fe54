"""Phoenix (Arize): spans with their annotations and evaluations."""

from __future__ import annotations

from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.record import content_id
from backtalk.formats.cell_values import read_cells
from backtalk.formats.columns import is_empty
from backtalk.formats.content_ids import make_case, response_from_messages
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.trace_tools.join import FEEDBACK
from backtalk.formats.importers.trace_tools.messages import read_input, read_output, read_time
from backtalk.formats.importers.trace_tools.phoenix_spans import (
    JOIN,
    annotation_result,
    annotation_target,
    as_span,
    is_annotation,
    is_span,
    span_input,
    span_output,
)
from backtalk.formats.importers.trace_tools.scores import (
    RESPONSE,
    SCORE_OPTIONS,
    Score,
    ScoreOptions,
    read_options,
    score_feedback,
    stand_in,
)
from backtalk.formats.unusual import note_unusual

_EVALUATION = "eval."
"""Prefix of the columns of evaluations in exports of older versions: ``eval.NAME.label``."""


def _matches(row: RowData) -> bool:
    return is_span(row) or is_annotation(row) or bool(JOIN.items(row))


@import_format(
    "phoenix",
    title="Phoenix spans with annotations",
    source="https://arize.com/docs/phoenix/tracing/how-to-tracing/importing-and-exporting-traces/exporting-annotated-spans",
    matches=_matches,
    options=SCORE_OPTIONS,
    preprocess=JOIN,
)
def phoenix(row: RowData, **options: Any) -> list[Case | AnyFeedback]:
    """Parse a span with its annotations, or an annotation of a span in another file.

    A label whose word is known becomes a label, otherwise the score a rating; the explanation
    becomes a critique. The name of an annotation is the aspect, unless it means the answer as a
    whole. Spans inside a trace are left out if they are no calls of a model and have no
    annotations.

    Parameters
    ----------
    row : dict
        Row of the table of spans, of annotations or of both joined, or object of the API.
    **options : Any
        Fields of :class:`~backtalk.formats.importers.trace_tools.scores.ScoreOptions`.
    """
    settings = read_options(row, options)
    return [item for part in JOIN.expand(row) or [row] for item in _parse(part, settings)]


def _parse(row: RowData, options: ScoreOptions) -> list[Case | AnyFeedback]:
    if is_span(row):
        return [*_case(row, options)]
    kind, id_ = annotation_target(row)
    if kind in {"trace", "session"}:
        raise RecordError(
            f"{kind}_id: an annotation of a {kind}, whose spans are not in this file",
            "Put the spans and the annotations of their traces into one file",
        )
    if not kind:
        raise RecordError(
            "span_id: missing",
            "Write the index of the table too: annotations.reset_index().to_json(…)",
        )
    return [*_annotation(Fields(row), stand_in(_interaction_id(id_)), options)]


def _interaction_id(span: str) -> str:
    return content_id("phoenix", span)


def _case(row: RowData, options: ScoreOptions) -> list[Case]:
    span = Fields(as_span(row))
    attributes = span.data["attributes"]
    source, result = span_input(attributes), span_output(attributes)
    scored = is_annotation(row) or FEEDBACK in row or bool(_evaluations(row))
    if not scored and _is_left_out(span, source):
        return []
    prompt, answer = read_output(result, read_input(source, "input.value"), "output.value")
    fields = Fields(attributes)
    model = fields.optional_text("llm.model_name")
    details = {"model": model} if model else {}
    interaction = Interaction(
        id=_interaction_id(span.text("span_id")),
        prompt=prompt,
        responses=(response_from_messages(RESPONSE, answer, **details),) if answer else (),
        user=fields.optional_text("user.id"),
        session=fields.optional_text("session.id"),
        time=read_time(span, "start_time"),
        metadata=_metadata(span, attributes),
    )
    feedback = _feedback(row, interaction, options)
    if not feedback:
        note_unusual("span without annotations, kept as an interaction")
    return [make_case(interaction, feedback)]


def _is_left_out(span: Fields, source: Any) -> bool:
    """Return true if a span without annotations is no answer to a prompt, and count it."""
    if span.data["span_kind"] != "LLM" and span.data["parent_id"] is not None:
        note_unusual("span without annotations that is no call of a model, left out")
        return True
    if is_empty(source):
        note_unusual("span without input and without annotations, left out")
        return True
    return False


def _metadata(span: Fields, attributes: dict[str, Any]) -> dict[str, Any]:
    metadata = span.select("span_id", "trace_id", "name", "span_kind")
    own = {"metadata": attributes.get("metadata"), "tags": attributes.get("tag.tags")}
    return metadata | {name: value for name, value in own.items() if not is_empty(value)}


def _feedback(row: RowData, interaction: Interaction, options: ScoreOptions) -> list[AnyFeedback]:
    items: list[AnyFeedback] = []
    if is_annotation(row):
        items += _annotation(Fields(row), interaction, options)
    fields = Fields(row)
    for item in fields.objects(FEEDBACK) if FEEDBACK in fields else []:
        items += _annotation(item, interaction, options)
    for name, result in _evaluations(row).items():
        score = _score(name, Fields(result, f"{_EVALUATION}{name}"), Annotator.model(name), options)
        items += score_feedback(score, interaction, options)
    return items


def _evaluations(row: RowData) -> dict[str, dict[str, Any]]:
    """Return the evaluations in columns such as ``eval.Hallucination.label``."""
    results: dict[str, dict[str, Any]] = {}
    for column, value in row.items():
        name, _, part = column.removeprefix(_EVALUATION).rpartition(".")
        known = part in {"label", "score", "explanation"}
        if column.startswith(_EVALUATION) and name and known and not is_empty(value):
            results.setdefault(name, {})[part] = value
    return results


def _annotation(
    fields: Fields, interaction: Interaction, options: ScoreOptions
) -> list[AnyFeedback]:
    row = read_cells(dict(fields.data), ("result", "metadata"))
    if row.get("document_position") is not None:
        note_unusual("annotation of a retrieved document, left out")
        return []
    name = fields.text("annotation_name" if "annotation_name" in fields else "name")
    score = _score(
        name, Fields(annotation_result(row), "result"), _annotator(fields, name), options
    )
    details = {key: _filled(row.get(key)) for key in ("identifier", "metadata")}
    full = Score(
        score.name,
        score.value,
        score.annotator,
        fields.timestamp("created_at"),
        score.comment,
        fields.optional_text("id"),
        {**score.metadata, **{key: item for key, item in details.items() if not is_empty(item)}},
    )
    return score_feedback(full, interaction, options)


def _filled(value: Any) -> Any:
    """Return an object without the null values that a Parquet file adds to it."""
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if item is not None}


def _score(name: str, result: Fields, annotator: Annotator, options: ScoreOptions) -> Score:
    """Return a score whose value is the label, or the number if the label is not known."""
    label, number = result.optional_text("label"), result.optional_number("score")
    is_label = label is not None and (number is None or options.knows(label))
    other = {"score": number} if is_label else {"label": label}
    return Score(
        name=name,
        value=label if is_label else number,
        annotator=annotator,
        comment=result.optional_text("explanation"),
        metadata={key: value for key, value in other.items() if value is not None},
    )


def _annotator(fields: Fields, name: str) -> Annotator:
    kind = fields.text("annotator_kind").upper()
    if kind == "HUMAN":
        return Annotator.human(fields.optional_text("user_id") or "unknown")
    if kind == "LLM":
        return Annotator.model(name)
    if kind == "CODE":
        return Annotator.verifier(name)
    raise fields.error("annotator_kind", f"expected HUMAN, LLM or CODE, got {kind!r}")
