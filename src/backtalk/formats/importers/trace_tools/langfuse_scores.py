"""Scores and comments of Langfuse, as feedback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.interaction import Interaction
from backtalk.feedback.kinds import AnyFeedback, Demonstration, Edit, FeedbackT
from backtalk.formats.content_ids import make_feedback
from backtalk.formats.fields import Fields
from backtalk.formats.importers.trace_tools.langfuse_rows import score_columns
from backtalk.formats.importers.trace_tools.scores import (
    RESPONSE,
    Score,
    ScoreOptions,
    comment_feedback,
    score_feedback,
)
from backtalk.formats.unusual import note_unusual

_MAX_WORDS = 3
"""Number of words in a category; a longer text is a remark."""


@dataclass(frozen=True)
class TableScores:
    """Values of one score in a table, which states neither their source nor their time."""

    values: list[Any]

    def feedback(
        self, name: str, interaction: Interaction, options: ScoreOptions
    ) -> list[AnyFeedback]:
        """Return the feedback that the values are.

        Parameters
        ----------
        name : str
            Name of the score.
        interaction : Interaction
            Interaction that they are about.
        options : ScoreOptions
            Meaning of names and words.
        """
        is_human = options.is_by_person(name)
        annotator = Annotator.human() if is_human else Annotator.verifier(name)
        if not is_human:
            note_unusual("score without its source, read as by a program; people=NAME changes that")
        items = []
        for value in self.values:
            is_remark = isinstance(value, str) and len(value.split()) > _MAX_WORDS
            score = (
                Score(name, None, annotator, comment=value)
                if is_remark
                else Score(name, value, annotator)
            )
            items += score_feedback(score, interaction, options)
        return items


def table_scores(fields: Fields) -> dict[str, TableScores]:
    """Return the scores in the columns of a table, by name."""
    columns = score_columns(dict(fields.data))
    return {
        name: TableScores(value if isinstance(value, list) else [_cell(value)])
        for name, value in columns.items()
        if value != []
    }


def _cell(value: Any) -> Any:
    """Return the number that a cell of a CSV file has as text, else the value itself."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def read_row_score(
    fields: Fields, interaction: Interaction, options: ScoreOptions
) -> list[AnyFeedback]:
    """Return the feedback that a score is.

    Parameters
    ----------
    fields : Fields
        Score, with the names of the API.
    interaction : Interaction
        Interaction that it is about.
    options : ScoreOptions
        Meaning of names and words.

    Raises
    ------
    RecordError
        If its type or value is not clear.
    """
    name, kind = fields.text("name"), str(fields.data.get("dataType") or "").upper()
    metadata = fields.data.get("metadata")
    score = Score(
        name=name,
        value=_value(fields, kind),
        annotator=_annotator(fields, name, options),
        time=fields.timestamp("timestamp"),
        comment=fields.optional_text("comment"),
        id=fields.text("id"),
        metadata={"metadata": metadata} if metadata not in (None, "", "{}", {}, []) else {},
    )
    if kind == "CORRECTION":
        return _correction(score, interaction, options)
    if kind == "TEXT":
        texts = (score.value, score.comment)
        remarks = [_with(score, text) for text in texts if text]
        return [comment_feedback(remark, interaction, options) for remark in remarks]
    return score_feedback(score, interaction, options)


def _value(fields: Fields, kind: str) -> Any:
    """Return the value of a score in any version of the API."""
    if kind in {"CATEGORICAL", "TEXT", "CORRECTION"}:
        return fields.text("stringValue" if "stringValue" in fields else "value")
    if kind == "BOOLEAN":
        return fields.boolean("value" if "value" in fields else "stringValue")
    if kind in {"NUMERIC", ""}:
        return fields.number("value")
    raise fields.error("dataType", f"a score of the unknown type {kind!r}")


def _with(score: Score, text: str) -> Score:
    id_ = score.id if text == score.comment else f"{score.id} value"
    return Score(score.name, None, score.annotator, score.time, text, id_, score.metadata)


def _correction(score: Score, interaction: Interaction, options: ScoreOptions) -> list[AnyFeedback]:
    """Return a corrected output as an edit, or as a demonstration if there was no output."""
    items: list[AnyFeedback] = []
    responses = getattr(interaction, "responses", None) or ()
    if any(response.text == score.value for response in responses):
        note_unusual("correction that changes nothing, left out")
    elif responses or "responses" not in interaction.model_fields_set:
        items.append(_make(Edit, score, interaction, response=RESPONSE))
    else:
        items.append(_make(Demonstration, score, interaction))
    if score.comment:
        items.append(comment_feedback(score, interaction, options))
    return items


def _make(
    kind: type[FeedbackT], score: Score, interaction: Interaction, **fields: Any
) -> FeedbackT:
    return make_feedback(
        kind,
        interaction,
        score.annotator,
        time=score.time,
        distinct=score.id,
        metadata=score.metadata,
        text=score.value,
        **fields,
    )


def _annotator(fields: Fields, name: str, options: ScoreOptions) -> Annotator:
    """Return the author, an evaluator, or, of scores sent to the API, a person or a program."""
    author = fields.optional_text("authorUserId") or fields.optional_text("authorUserName")
    source = fields.text("source")
    if author is not None or source == "ANNOTATION":
        return Annotator.human(author or "unknown")
    if source == "EVAL":
        return Annotator.model(name)
    return Annotator.human() if options.is_by_person(name) else Annotator.verifier(name)


def comment_items(
    fields: Fields, interaction: Interaction, options: ScoreOptions
) -> list[AnyFeedback]:
    """Return the comments of a row as critiques.

    Parameters
    ----------
    fields : Fields
        Row with a list of comments.
    interaction : Interaction
        Interaction that they are about.
    options : ScoreOptions
        Meaning of names.
    """
    items: list[AnyFeedback] = []
    for comment in fields.objects("comments") if "comments" in fields else []:
        names = ("authorUserId", "authorUserName", "author_email")
        author = next((comment.data[name] for name in names if comment.data.get(name)), "unknown")
        time = comment.timestamp("createdAt" if "createdAt" in comment else "created_at")
        score = Score(
            name="comment",
            value=None,
            annotator=Annotator.human(str(author)),
            time=time,
            comment=comment.text("content"),
            id=comment.optional_text("id"),
        )
        items.append(comment_feedback(score, interaction, options))
    return items
