"""Row format of the feedback API: every feedback kind, and short forms of the three commonest.

>>> row = {"interaction": "0123", "thumb": "down", "user": "bo"}
>>> read_row(row, annotator="anybody").good
False
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback import KINDS, Annotator, AnyFeedback, json_schema, parse_feedback

_THUMBS = {"up": True, "down": False, True: True, False: False}
_COMMON = ("id", "interaction", "annotator", "time", "confidence", "metadata", "response")
_DEFAULT_RESPONSE = "0"
"""Default response of a short form: the first choice of a completion."""


def _thumb(value: Any) -> dict[str, Any]:
    if not isinstance(value, (str, bool)) or value not in _THUMBS:
        raise RecordError(f"thumb: expected 'up' or 'down', got {value!r}")
    return {"kind": "label", "good": _THUMBS[value]}


SHORT: dict[str, Callable[[Any], dict[str, Any]]] = {
    "thumb": _thumb,
    "edit": lambda text: {"kind": "edit", "text": text},
    "comment": lambda text: {"kind": "critique", "text": text},
}
"""Conversion of each short form to the fields of a record."""


def read_row(row: Any, *, annotator: str, id: str | None = None) -> AnyFeedback:  # noqa: A002
    """Return the feedback in a row.

    Parameters
    ----------
    row : Any
        Record with its ``kind``, or a short form. Its ``annotator`` may be the name of a person,
        and ``user`` is an alias of it.
    annotator : str
        Default annotator, a person.
    id : str, optional
        Id that replaces the row's own.

    Raises
    ------
    RecordError
        If the row is neither; the message names the field.
    """
    if not isinstance(row, dict):
        raise RecordError("expected an object with the fields of a feedback record")
    short_forms = [name for name in SHORT if name in row]
    fields = dict(row) if "kind" in row else _expand(row, short_forms)
    fields["annotator"] = _parse_annotator(
        fields.pop("user", None), fields.get("annotator"), annotator
    )
    if id is not None:
        fields["id"] = id
    return parse_feedback(fields)


def _expand(row: Mapping[str, Any], short_forms: list[str]) -> dict[str, Any]:
    if len(short_forms) != 1:
        raise RecordError(
            "kind: expected one of " + ", ".join(KINDS),
            "Or use one of the short forms " + ", ".join(SHORT),
        )
    (name,) = short_forms
    unknown = set(row) - {*_COMMON, "user", name}
    if unknown:
        raise RecordError(f"{min(unknown)}: the short form {name} has no such field")
    fields = {field: row[field] for field in (*_COMMON, "user") if field in row}
    return {"response": _DEFAULT_RESPONSE, **fields, **SHORT[name](row[name])}


def _parse_annotator(user: Any, annotator: Any, default: str) -> Any:
    value = annotator if annotator is not None else user
    if value is None:
        return Annotator.human(default)
    if isinstance(value, str) and value:
        return Annotator.human(value)
    if annotator is None:
        raise RecordError(f"user: expected a name, got {user!r}")
    return annotator


def row_schema() -> dict[str, Any]:
    """Return the JSON Schema of a row."""
    schema = json_schema()
    definitions = schema["$defs"]
    for kind in KINDS.values():
        definition = definitions[kind.__name__]
        definition["required"] = [name for name in definition["required"] if name != "annotator"]
        definition["properties"] |= {"annotator": _ANNOTATOR, "user": _USER}
    names = [kind.__name__ for kind in KINDS.values()]
    for name, field in _SHORT_FIELDS.items():
        names.append(f"Short{name.capitalize()}")
        definitions[names[-1]] = {
            "type": "object",
            "required": ["interaction", name],
            "additionalProperties": False,
            "properties": {
                name: field,
                **{common: definitions["Label"]["properties"][common] for common in _COMMON},
                "user": _USER,
            },
        }
    schema["title"] = "Feedback accepted by POST /v1/feedback"
    schema["oneOf"] = [{"$ref": f"#/$defs/{name}"} for name in names]
    return schema


_USER = {"type": "string", "minLength": 1}
_ANNOTATOR = {"anyOf": [{"$ref": "#/$defs/Annotator"}, _USER]}
_SHORT_FIELDS = {
    "thumb": {"enum": ["up", "down", True, False]},
    "edit": {"type": "string"},
    "comment": {"type": "string", "minLength": 1},
}
