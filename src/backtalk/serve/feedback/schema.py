"""Rows of the feedback API: any kind of feedback as it is, and short forms of the three commonest.

>>> row = {"interaction": "0123", "thumb": "down", "user": "bo"}
>>> read_row(row, by="anybody").good
False
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback import KINDS, Annotator, AnyFeedback, json_schema, parse_feedback

_THUMBS = {"up": True, "down": False, True: True, False: False}
_COMMON = ("id", "interaction", "annotator", "time", "confidence", "metadata", "response")
_FIRST = "0"
"""The response that a short form is about, if it does not say: the first choice of an answer."""


def _thumb(value: Any) -> dict[str, Any]:
    if not isinstance(value, (str, bool)) or value not in _THUMBS:
        raise RecordError(f"thumb: expected 'up' or 'down', got {value!r}")
    return {"kind": "label", "good": _THUMBS[value]}


SHORT: dict[str, Callable[[Any], dict[str, Any]]] = {
    "thumb": _thumb,
    "edit": lambda text: {"kind": "edit", "text": text},
    "comment": lambda text: {"kind": "critique", "text": text},
}
"""What each short form stands for."""


def read_row(row: Any, *, by: str, id: str | None = None) -> AnyFeedback:  # noqa: A002
    """Return the feedback in a row.

    Parameters
    ----------
    row : Any
        A record with its ``kind``, or a short form. ``annotator`` may be the name of a person, or
        be called ``user``.
    by : str
        The person who gave it, where it does not say.
    id : str, optional
        Its id, whatever it says.

    Raises
    ------
    RecordError
        If it is neither; the message names the field.
    """
    if not isinstance(row, dict):
        raise RecordError("expected an object with the fields of a piece of feedback")
    given = [name for name in SHORT if name in row]
    fields = dict(row) if "kind" in row else _long(row, given)
    fields["annotator"] = _annotator(fields.pop("user", None), fields.get("annotator"), by)
    if id is not None:
        fields["id"] = id
    return parse_feedback(fields)


def _long(row: Mapping[str, Any], given: list[str]) -> dict[str, Any]:
    if len(given) != 1:
        raise RecordError(
            "kind: expected one of " + ", ".join(KINDS),
            "Or give one of " + ", ".join(SHORT) + " in its place",
        )
    unknown = set(row) - {*_COMMON, "user", *given}
    if unknown:
        raise RecordError(f"{min(unknown)}: a {given[0]} has no such field")
    fields = {name: row[name] for name in (*_COMMON, "user") if name in row}
    return {"response": _FIRST, **fields, **SHORT[given[0]](row[given[0]])}


def _annotator(user: Any, annotator: Any, by: str) -> Any:
    named = annotator if annotator is not None else user
    if named is None:
        return Annotator.human(by)
    if isinstance(named, str) and named:
        return Annotator.human(named)
    if annotator is None:
        raise RecordError(f"user: expected a name, got {user!r}")
    return annotator


def row_schema() -> dict[str, Any]:
    """Return the JSON Schema of a row."""
    schema = json_schema()
    definitions = schema["$defs"]
    for kind in KINDS.values():
        kept = definitions[kind.__name__]
        kept["required"] = [name for name in kept["required"] if name != "annotator"]
        kept["properties"] |= {"annotator": _WHO, "user": _USER}
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
    schema["title"] = "A piece of feedback, as POST /v1/feedback takes it"
    schema["oneOf"] = [{"$ref": f"#/$defs/{name}"} for name in names]
    return schema


_USER = {"type": "string", "minLength": 1}
_WHO = {"anyOf": [{"$ref": "#/$defs/Annotator"}, _USER]}
_SHORT_FIELDS = {
    "thumb": {"enum": ["up", "down", True, False]},
    "edit": {"type": "string"},
    "comment": {"type": "string", "minLength": 1},
}
