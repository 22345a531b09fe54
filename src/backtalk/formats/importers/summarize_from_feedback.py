"""Summarize from Feedback: comparisons of two summaries, and ratings of one on several axes."""

from __future__ import annotations

from typing import Any

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Response
from backtalk.feedback.kinds import AnyFeedback, Label, Rating, Scale
from backtalk.formats.cell_values import is_json_cell, read_cells
from backtalk.formats.content_ids import HUMAN, make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.comparisons import make_preference, read_choice

_COLUMNS = frozenset({"info", "summaries", "choice", "summary", "worker", "extra"})
_REFERENCE = "ref"
"""Policy of the summary that the author of the text wrote."""
_INFO_COLUMNS = ("id", "subreddit", "site", "title")
_CONFIDENCE = Scale(name="one-to-nine", low=1, high=9)


def _matches(row: RowData) -> bool:
    info, summary = row.get("info"), row.get("summary")
    axes = isinstance(summary, dict | str) and "axes" in summary
    return (isinstance(info, dict) or is_json_cell(info)) and (
        axes or {"summaries", "choice"} <= set(row)
    )


@import_format(
    "summarize-from-feedback",
    title="Summarize from Feedback: comparisons and axis evals",
    source="https://github.com/openai/summarize-from-feedback",
    matches=_matches,
    columns=_COLUMNS,
)
def summarize_from_feedback(row: RowData) -> list[Case]:
    """Parse a worker's choice between two summaries, or ratings of one summary from 1 to 7.

    The prompt has the subreddit, the title and the post, or the article, as in the prompts of the
    models. The policy of a summary is its model, except for a reference, which a person wrote.
    A confidence from 1 to 9 becomes one from 0 to 1. An axis with a number is the aspect of a
    rating, and one with true or false is the aspect of a label. Notes, which the workers wrote
    about the summary before they saw the text, are metadata of the feedback.
    """
    fields = Fields(read_cells(row, ("info", "summaries", "summary", "extra")))
    annotator = HUMAN
    if worker := fields.optional_text("worker"):
        annotator = Annotator.human(worker)
    if "summary" in fields:
        return [_axis_case(fields, fields.object("summary"), annotator)]
    return [_comparison_case(fields, fields.objects("summaries"), annotator)]


def _comparison_case(fields: Fields, summaries: list[Fields], annotator: Annotator) -> Case:
    if len(summaries) != 2:
        raise fields.error("summaries", f"expected two summaries, got {len(summaries)}")
    interaction = _interaction(fields, summaries)
    notes = {
        f"note_{i}": note
        for i, summary in enumerate(summaries)
        if (note := summary.optional_text("note"))
    }
    extra = fields.object("extra") if "extra" in fields else Fields({})
    preference = make_preference(
        interaction,
        annotator,
        read_choice(fields, "choice"),
        confidence=_confidence(extra),
        metadata=extra.other_fields(()) | notes,
    )
    return make_case(interaction, [preference])


def _confidence(extra: Fields) -> float | None:
    number = extra.optional_number("confidence")
    if number is None:
        return None
    if not _CONFIDENCE.low <= number <= _CONFIDENCE.high:
        raise extra.error("confidence", f"expected a number from 1 to 9, got {number:g}")
    return _CONFIDENCE.normalise(number)


def _axis_case(fields: Fields, summary: Fields, annotator: Annotator) -> Case:
    interaction = _interaction(fields, [summary])
    axes = summary.object("axes")
    metadata = summary.select("note")
    feedback: list[AnyFeedback] = []
    for axis in axes.data:
        if axis not in axes:
            continue
        common: dict[str, Any] = {"response": "0", "aspect": axis, "metadata": metadata}
        if isinstance(axes.data[axis], bool):
            good = axes.boolean(axis)
            feedback.append(make_feedback(Label, interaction, annotator, good=good, **common))
        else:
            value = axes.number(axis)
            feedback.append(
                make_feedback(
                    Rating, interaction, annotator, value=value, scale=Scale.LIKERT_7, **common
                )
            )
    if not feedback:
        raise summary.error("axes", "no axis has a value")
    return make_case(interaction, feedback)


def _interaction(fields: Fields, summaries: list[Fields]) -> Interaction:
    info = fields.object("info")
    return make_interaction(
        _prompt(info),
        [_summary(str(i), summary) for i, summary in enumerate(summaries)],
        metadata=info.select(*_INFO_COLUMNS) | fields.other_fields(_COLUMNS),
    )


def _summary(id_: str, summary: Fields) -> Response:
    policy = summary.optional_text("policy")
    reference = policy == _REFERENCE
    return Response(
        id=id_,
        text=summary.text("text"),
        model=None if reference else policy,
        metadata={"policy": policy} if reference else {},
    )


def _prompt(info: Fields) -> str:
    if article := info.optional_text("article"):
        return f"Article:\n{article}\n\nTL;DR:"
    parts = []
    if subreddit := info.optional_text("subreddit"):
        parts.append(f"SUBREDDIT: r/{subreddit}")
    if title := info.optional_text("title"):
        parts.append(f"TITLE: {title}")
    return "\n\n".join([*parts, f"POST: {info.text('post')}", "TL;DR:"])
