"""Row format of the feedback API: every feedback kind, and short forms of the commonest.

>>> row = {"interaction": "0123", "thumb": "down", "user": "bo"}
>>> read_row(row, annotator="anybody").good
False
"""

from __future__ import annotations

from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback import KINDS, Annotator, AnyFeedback, json_schema, parse_feedback
from backtalk.feedback.short_forms import COMMON_FIELDS, SHORT_FORMS, expand_short_form


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
    fields = dict(row) if "kind" in row else expand_short_form(row)
    fields["annotator"] = _parse_annotator(
        fields.pop("user", None), fields.get("annotator"), annotator
    )
    if id is not None:
        fields["id"] = id
    return parse_feedback(fields)


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
    for name, form in SHORT_FORMS.items():
        names.append(f"Short{name.capitalize()}")
        common = {
            field: definitions["Label"]["properties"][field]
            for field in COMMON_FIELDS
            if field != "user"
        }
        definitions[names[-1]] = {
            "type": "object",
            "required": ["interaction", name],
            "additionalProperties": False,
            "properties": {name: form.schema, **form.fields, **common, "user": _USER},
        }
    schema["title"] = "Feedback accepted by POST /v1/feedback"
    schema["oneOf"] = [{"$ref": f"#/$defs/{name}"} for name in names]
    return schema


_USER = {"type": "string", "minLength": 1}
_ANNOTATOR = {"anyOf": [{"$ref": "#/$defs/Annotator"}, _USER]}
