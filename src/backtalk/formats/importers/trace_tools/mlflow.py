"""MLflow: traces with assessments, feedback and expectations, as JSON or as tables."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import from_json

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction
from backtalk.feedback.kinds import AnyFeedback, Demonstration
from backtalk.feedback.record import content_id
from backtalk.formats.content_ids import make_case, make_feedback, response_from_messages
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.trace_tools.join import TraceJoin
from backtalk.formats.importers.trace_tools.messages import read_input, read_output, read_time
from backtalk.formats.importers.trace_tools.mlflow_traces import (
    Trace,
    is_table_row,
    is_trace,
    read_trace,
    score_numbers,
)
from backtalk.formats.importers.trace_tools.scores import (
    RESPONSE,
    SCORE_OPTIONS,
    Score,
    ScoreOptions,
    read_options,
    score_feedback,
)
from backtalk.formats.unusual import note_unusual

_IDEAL_ANSWER = re.compile(
    r"(expected|ideal|correct|reference|target|golden?)[_ -]?(response|answer|output|reply)|"
    r"ground[_ -]?truth",
    re.IGNORECASE,
)
"""Names of expectations whose text is an ideal answer."""


_FILE = TraceJoin(
    items=lambda _: [], trace_keys=lambda _: {}, targets=lambda _: (), numbers=score_numbers
)


def _matches(row: RowData) -> bool:
    return is_trace(row) or is_table_row(row)


@import_format(
    "mlflow",
    title="MLflow traces with assessments",
    source="https://mlflow.org/docs/latest/genai/assessments/feedback/",
    matches=_matches,
    options=SCORE_OPTIONS,
    preprocess=_FILE,
)
def mlflow(row: RowData, **options: Any) -> list[Case]:
    """Parse a trace: ``Trace.to_json``, or a row of the table of ``mlflow.search_traces``.

    Feedback becomes a label or a rating, its rationale a critique. The name is the aspect, unless
    it means the answer as a whole. An expectation of an answer, such as ``expected_response``,
    becomes a demonstration, any other one metadata. Feedback that was overridden, that failed, or
    that is about a span inside the trace is left out.

    Parameters
    ----------
    row : dict
        Trace as JSON, or row of the table.
    **options : Any
        Fields of :class:`~backtalk.formats.importers.trace_tools.scores.ScoreOptions`.
    """
    settings = read_options(row, options)
    trace = read_trace(row)
    prompt, answer = read_output(trace.output, read_input(trace.input, "request"), "response")
    details: dict[str, Any] = {"model": trace.model} if trace.model else {}
    assessments = [item for item in trace.assessments if _is_current(item, trace)]
    interaction = Interaction(
        id=content_id("mlflow", trace.id),
        prompt=prompt,
        responses=(response_from_messages(RESPONSE, answer, **details),) if answer else (),
        user=trace.user,
        session=trace.session,
        time=trace.time,
        metadata={**trace.metadata, **_other_expectations(assessments)},
    )
    feedback = [one for item in assessments for one in _feedback(item, interaction, settings)]
    if not feedback:
        note_unusual("trace without feedback, kept as an interaction")
    return [make_case(interaction, feedback)]


def _is_current(item: Fields, trace: Trace) -> bool:
    """Return true if an assessment is of the whole trace, is not replaced, and has a value."""
    error = item.object("feedback").data.get("error") if "feedback" in item else None
    if item.data.get("valid") is False or item.optional_text("assessment_id") in trace.overridden:
        note_unusual("feedback that a later one overrides, left out")
    elif item.data.get("span_id") not in (None, "", *trace.root_spans):
        note_unusual("assessment of a span inside a trace, left out")
    elif error is not None and item.object("feedback").data.get("value") is None:
        note_unusual("feedback of a judge that failed, left out")
    else:
        return True
    return False


def _name(item: Fields) -> str:
    return item.text("assessment_name" if "assessment_name" in item else "name")


def _annotator(item: Fields) -> Annotator:
    source = item.object("source") if "source" in item else Fields({})
    kind = str(source.data.get("source_type", "")).upper()
    name = source.optional_text("source_id")
    if kind == "HUMAN":
        return Annotator.human(name if name not in (None, "default") else "unknown")
    if kind in {"LLM_JUDGE", "AI_JUDGE"}:
        return Annotator.model(name or _name(item))
    if kind == "CODE":
        named = name if name not in (None, "default") else _name(item)
        return Annotator.verifier(named)
    raise source.error(
        "source_type", f"expected HUMAN, LLM_JUDGE or CODE, got {source.data.get('source_type')!r}"
    )


def _feedback(item: Fields, interaction: Interaction, options: ScoreOptions) -> list[AnyFeedback]:
    if "expectation" in item:
        return _demonstration(item, interaction)
    if "feedback" not in item:
        raise item.error("feedback", "missing, as is expectation")
    value = item.object("feedback").data.get("value")
    score = Score(
        name=_name(item),
        value=value,
        annotator=_annotator(item),
        time=read_time(item, "create_time", "create_time_ms"),
        comment=item.optional_text("rationale"),
        id=item.optional_text("assessment_id"),
        metadata=item.select("metadata") if item.data.get("metadata") else {},
    )
    return score_feedback(score, interaction, options)


def _expectation(item: Fields) -> Any:
    """Return the value of an expectation; lists and objects are stored as JSON."""
    fields = item.object("expectation")
    if "serialized_value" not in fields:
        return fields.data.get("value")
    stored = fields.object("serialized_value")
    try:
        return from_json(stored.text("value"))
    except ValueError:
        raise stored.error("value", "not JSON") from None


def _is_ideal_answer(item: Fields) -> bool:
    named = "expectation" in item and _IDEAL_ANSWER.fullmatch(_name(item)) is not None
    value = _expectation(item) if named else None
    return isinstance(value, str) and bool(value.strip())


def _other_expectations(assessments: list[Fields]) -> dict[str, Any]:
    others = {
        _name(item): _expectation(item)
        for item in assessments
        if "expectation" in item and not _is_ideal_answer(item)
    }
    return {"expectations": others} if others else {}


def _demonstration(item: Fields, interaction: Interaction) -> list[AnyFeedback]:
    if not _is_ideal_answer(item):
        return []
    return [
        make_feedback(
            Demonstration,
            interaction,
            _annotator(item),
            time=read_time(item, "create_time", "create_time_ms"),
            distinct=item.optional_text("assessment_id"),
            metadata=item.select("metadata") if item.data.get("metadata") else {},
            text=_expectation(item),
        )
    ]
