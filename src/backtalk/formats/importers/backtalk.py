"""Backtalk's own layout, with complete records."""

from __future__ import annotations

from collections.abc import Iterator

from backtalk.feedback.case import Case
from backtalk.feedback.kinds import parse_feedback, parse_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import Parsed, RowData, import_format
from backtalk.formats.readers import RejectedRow, Row
from backtalk.formats.readers.jsonl import parse_json


def _matches(row: RowData) -> bool:
    return bool(row) and (set(row) <= {"interaction", "feedback"} or {"record", "body"} <= set(row))


def _preprocess(rows: Iterator[Row | RejectedRow]) -> Iterator[Row | RejectedRow]:
    """Combine each interaction's row with the rows of its feedback, which follow it."""
    current: Row | None = None
    for row in rows:
        if isinstance(row, RejectedRow) or "record" not in row.data:
            yield row
            continue
        try:
            fields = Fields(row.data)
            body = Fields({"body": parse_json(fields.text("body"))}).object("body").data
        except ValueError as error:
            yield RejectedRow(row.source, row.line, f"body: {error}", row.data)
            continue
        if row.data["record"] == "interaction":
            if current is not None:
                yield current
            current = Row(row.source, row.line, {"interaction": body, "feedback": []})
        elif current is not None and current.data["interaction"].get("id") == body.get(
            "interaction"
        ):
            current.data["feedback"].append(body)
        else:
            yield Row(row.source, row.line, {"feedback": [body]})
    if current is not None:
        yield current


@import_format(
    "backtalk",
    title="Backtalk's own JSON lines and Parquet, complete",
    source="docs/formats.md",
    matches=_matches,
    columns=("interaction", "feedback", "record", "body"),
    preprocess=_preprocess,
)
def backtalk(row: RowData) -> list[Parsed]:
    """Parse an interaction with its feedback, or feedback without one; ids and times are kept."""
    fields = Fields(row)
    feedback = [parse_feedback(dict(part.data)) for part in fields.objects("feedback")]
    if "interaction" in fields:
        return [Case(parse_interaction(dict(fields.object("interaction").data)), tuple(feedback))]
    for i, item in enumerate(feedback):
        if item.interaction is not None:
            raise fields.error(
                f"feedback.{i}.interaction", f"{item.interaction!r} is not in this row"
            )
    return list(feedback)
