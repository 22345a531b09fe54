"""Mappings to start from, as YAML with the open questions as comments, or as one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backtalk.errors import BacktalkError, UnknownName
from backtalk.formats.columns import meaning_of
from backtalk.formats.suggest.feedback import feedback_items
from backtalk.formats.suggest.flow import escape, flow
from backtalk.formats.suggest.guess import BAD, FIRST, GOOD, SCALE, SECOND, SIGN, Guess, Item
from backtalk.formats.suggest.roles import PROMPT, Roles, find_roles
from backtalk.formats.suggest.values import columns_of

_PLACEHOLDERS = {
    SCALE: f"{SCALE} stands for the worst and the best value, such as 1-5",
    FIRST: f"{FIRST} and {SECOND} stand for the values that prefer the first and the second answer",
    f"good: {GOOD}": f"{GOOD} and {BAD} stand for the values that mean good and bad",
    PROMPT: f"{PROMPT} stands for the column of the prompt",
    SIGN: f"{SIGN} is the answer that positive numbers prefer",
    "KIND": "KIND stands for the kind of feedback, such as rating or label",
}


def suggest_line(row: dict[str, Any], column: str) -> str:
    """Return a mapping of one line that reads a column of a row.

    A scale, which one row does not show, is the placeholder ``LOW-HIGH``.

    Parameters
    ----------
    row : dict
        Row as JSON data.
    column : str
        Name of the column that the mapping must read.
    """
    columns = columns_of([row])
    must_read = column if meaning_of(column) in {"verdict", None} else None
    roles = find_roles(columns, must_read)
    items = feedback_items(Guess(roles, columns, has_placeholders=True))
    fields = _row_fields(roles, items)
    fields["feedback"] = [item.fields for item in items] or [{"kind": "KIND", "column": column}]
    if not _mentions(fields, column):
        fields["metadata"] = [column]
    return flow(fields)


def explain_placeholders(line: str) -> str:
    """Return a sentence about the placeholders of a line, empty if it has none."""
    parts = [text for placeholder, text in _PLACEHOLDERS.items() if placeholder in line]
    return "; ".join(parts)


def _mentions(value: Any, column: str) -> bool:
    if isinstance(value, dict):
        return any(_mentions(item, column) for item in value.values())
    if isinstance(value, list):
        return any(_mentions(item, column) for item in value)
    return isinstance(value, str) and (
        value == column or value.startswith((f"{column}.", f"{column}["))
    )


def _row_fields(roles: Roles, items: list[Item]) -> dict[str, Any]:
    """Return the fields of a mapping except its feedback and its metadata."""
    fields: dict[str, Any] = {}
    if roles.conversations:
        fields["conversation"] = _with_models(roles, roles.conversations, "messages")
    elif roles.prompt:
        fields["prompt"] = roles.prompt[0] if len(roles.prompt) == 1 else roles.prompt
    if roles.system and fields:
        fields["system"] = roles.system
    kinds = {item.fields["kind"] for item in items}
    if roles.answers and not (kinds == {"demonstration"} and _demonstrates(roles, items)):
        fields["responses"] = _with_models(roles, roles.answers, "text")
    if roles.steps is not None:
        fields["responses"] = [{"text": roles.steps[0], "separator": "\n"}]
    has_prompt = "prompt" in fields or "conversation" in fields
    for name in ("user", "session", "time", "id") if has_prompt else ("id",):
        if column := getattr(roles, name):
            fields[name] = column
    return fields


def _demonstrates(roles: Roles, items: list[Item]) -> bool:
    """Return true if the only answer is itself the demonstration."""
    return [item.fields["column"] for item in items] == roles.answers


def _with_models(roles: Roles, names: Sequence[str], field: str) -> list[Any]:
    return [
        {field: name, "model": roles.models[name]} if name in roles.models else name
        for name in names
    ]


def suggest_mapping(first_rows: Sequence[dict[str, Any]]) -> str:
    """Return a mapping to start from, as YAML with the open questions as comments.

    Parameters
    ----------
    first_rows : sequence of dict
        First rows of the table, as JSON data.

    Raises
    ------
    BacktalkError
        If the rows have no column with a name and a value.
    """
    columns = columns_of(first_rows)
    if not columns:
        raise BacktalkError(
            "There is nothing to suggest a mapping from", "Give rows that have columns with values"
        )
    roles = find_roles(columns)
    items = feedback_items(Guess(roles, columns)) or [_unknown_feedback(roles, next(iter(columns)))]
    read = {**_row_fields(roles, items), "feedback": [item.fields for item in items]}
    roles.rest = [name for name in columns if not _mentions(read, name)]
    body = _render(roles, items)
    return "\n".join([*_header(len(first_rows)), *_refusals(body, first_rows), *body, ""])


def _unknown_feedback(roles: Roles, first: str) -> Item:
    """Return feedback that reads nothing until a column is named."""
    if roles.conversations and len(roles.conversations) == 1:
        doubt = "No column has a verdict. Is the last answer a model answer to imitate?"
        return Item({"kind": "demonstration", "response": 0}, [doubt])
    if not roles.prompt and not roles.conversations:
        doubt = f"No column looks like a prompt. Is {first} a remark on the system as a whole?"
        return Item({"kind": "critique", "column": first}, [doubt])
    if len(roles.responses) > 1:
        doubt = "Which column says which answer is better? Put its name in place of VERDICT"
        return Item({"kind": "preference", "column": "VERDICT"}, [doubt])
    doubt = "Which column has a model answer? Put its name in place of ANSWER"
    return Item({"kind": "demonstration", "column": "ANSWER"}, [doubt])


def _header(count: int) -> list[str]:
    rows = "1 row" if count == 1 else f"{count} rows"
    return [
        f"# Mapping suggested from {rows}. Comments with a question mark are open questions.",
        "# The fields are described in docs/formats.md.",
    ]


def _render(roles: Roles, items: list[Item]) -> list[str]:
    lines = [_comment(doubt) for doubt in roles.doubts]
    for name, value in _row_fields(roles, items).items():
        lines.append(f"{name}: {flow(value)}")
    lines.append("feedback:")
    for item in items:
        lines += [f"  {_comment(doubt)}" for doubt in item.doubts]
        lines.append(f"  - {flow(item.fields)}")
    if roles.rest:
        lines += ["# Are these columns worth keeping as metadata?", f"metadata: {flow(roles.rest)}"]
    return lines


def _comment(text: str) -> str:
    return "# " + escape(" ".join(text.split()))


def _refusals(body: list[str], rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return a comment on the sample rows that the mapping refuses as it stands."""
    from backtalk.formats.mapping import RowMapping, mapping_format  # noqa: PLC0415 - slow
    from backtalk.formats.read import parse_row  # noqa: PLC0415 - it imports the formats
    from backtalk.formats.readers import RejectedRow, Row  # noqa: PLC0415

    layout = mapping_format(RowMapping.from_yaml("\n".join(body)))
    sample = (Row("", number, row) for number, row in enumerate(rows, 1))
    try:
        prepared = list(layout.preprocess(sample) if layout.preprocess else sample)
    except UnknownName as error:
        return [_comment(f"As it stands, it reads no row. {error.what}")]
    results = [
        row if isinstance(row, RejectedRow) else parse_row(row, layout.parse) for row in prepared
    ]
    reasons = [row.reason for row in results if isinstance(row, RejectedRow)]
    if not reasons:
        return []
    count = f"{len(reasons)} of {len(rows)} rows"
    return [_comment(f"As it stands, it rejects {count}, the first one because of {reasons[0]}")]
