"""Backtalk's own layout: whole records, nothing left out."""

from __future__ import annotations

from collections.abc import Iterator

from backtalk.feedback.kinds import parse_feedback, parse_interaction
from backtalk.feedback.views import Case
from backtalk.formats.fields import Fields
from backtalk.formats.format import Data, Said, import_format
from backtalk.formats.readers import RejectedRow, Row
from backtalk.formats.readers.jsonl import parse_json


def _looks_like(row: Data) -> bool:
    return bool(row) and (set(row) <= {"interaction", "feedback"} or {"record", "body"} <= set(row))


def _gather(found: Iterator[Row | RejectedRow]) -> Iterator[Row | RejectedRow]:
    """Put each interaction's row and the rows of its feedback, which follow it, together."""
    open_: Row | None = None
    for row in found:
        if isinstance(row, RejectedRow) or "record" not in row.data:
            yield row
            continue
        try:
            fields = Fields(row.data)
            body = Fields({"body": parse_json(fields.text("body"))}).part("body").data
        except ValueError as error:
            yield RejectedRow(row.source, row.line, f"body: {error}", row.data)
            continue
        if row.data["record"] == "interaction":
            if open_ is not None:
                yield open_
            open_ = Row(row.source, row.line, {"interaction": body, "feedback": []})
        elif open_ is not None and open_.data["interaction"].get("id") == body.get("interaction"):
            open_.data["feedback"].append(body)
        else:
            yield Row(row.source, row.line, {"feedback": [body]})
    if open_ is not None:
        yield open_


@import_format(
    "backtalk",
    title="Backtalk's own JSON lines and Parquet, complete",
    source="docs/formats.md",
    looks_like=_looks_like,
    gather=_gather,
)
def backtalk(row: Data) -> list[Said]:
    """An interaction with its feedback, or feedback that is about none; ids and times are kept."""
    fields = Fields(row)
    said = [parse_feedback(dict(part.data)) for part in fields.parts("feedback")]
    if "interaction" in fields:
        return [Case(parse_interaction(dict(fields.part("interaction").data)), tuple(said))]
    for i, item in enumerate(said):
        if item.interaction is not None:
            raise fields.error(
                f"feedback.{i}.interaction", f"{item.interaction!r} is not in this row"
            )
    return list(said)
