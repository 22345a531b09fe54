"""Short forms of the commonest feedback: a thumb, a rating, one of two answers, an edit, a comment.

>>> from backtalk.feedback import Interaction
>>> interaction = Interaction.of("When do you open?", "At nine.", "Soon.")
>>> short_feedback(interaction, rating="4/5", user="ada").value
4.0
>>> short_feedback(interaction, prefer=1, user="ada").chosen
'1'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.interaction import Interaction
from backtalk.feedback.kinds import KINDS, AnyFeedback, Scale, parse_feedback

COMMON_FIELDS = ("id", "interaction", "annotator", "user", "time", "confidence", "metadata")
"""Fields that every short form may have."""
DEFAULT_RESPONSE = "0"
"""Response that a short form is about by default: the first one."""

_THUMBS = {"up": True, "down": False, "+": True, "-": False, True: True, False: False}
_RATING = re.compile(r"\s*(-?[0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(?:/\s*([0-9]{1,9})|(%))?\s*")
_MAX_NUMBER = 1e9
_SCALES = {1: Scale.UNIT, 5: Scale.STARS, 7: Scale.LIKERT_7, 100: Scale.PERCENT}
_TIES = ("tie", "both_bad")


@dataclass(frozen=True)
class ShortForm:
    """Short form of a kind of feedback."""

    expand: Callable[[Any, dict[str, Any]], dict[str, Any]]
    """Function of the value and the other fields that returns the fields of a record."""
    schema: Mapping[str, Any]
    """JSON Schema of the value."""
    fields: Mapping[str, Any]
    """JSON Schemas of the fields that only this form has, besides the common ones."""


def _thumb(value: Any, fields: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value, (str, bool)) or value not in _THUMBS:
        raise RecordError(f"thumb: expected 'up' or 'down', or + or -, got {value!r}")
    return {"kind": "label", "good": _THUMBS[value], **fields}


def _rating(value: Any, fields: dict[str, Any]) -> dict[str, Any]:
    number, top = _read_rating(value)
    scale = fields.pop("scale", None)
    if scale is not None and top is not None:
        raise RecordError(
            "scale: the rating names its scale already", "Write 4/5, or 4 and scale 5"
        )
    if isinstance(scale, int) and not isinstance(scale, bool):
        scale = _scale(scale)
    elif scale is None:
        scale = _scale(5 if top is None else top)
    return {"kind": "rating", "value": number, "scale": scale, **fields}


def _read_rating(value: Any) -> tuple[float, int | None]:
    """Return the number of a rating, and the top of its scale if it is named."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _MAX_NUMBER:
        return float(value), None
    match = _RATING.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise RecordError(f"rating: expected a number, 4/5 or 80%, got {value!r}")
    number, top, percent = match.groups()
    return float(number), 100 if percent else int(top) if top else None


def _scale(top: int) -> dict[str, Any]:
    """Return the scale whose best value is a number: from 1, but from 0 for 1 and for 100."""
    if top < 1:
        raise RecordError(f"scale: the best value is 1 or more, got {top}")
    return (_SCALES.get(top) or Scale(name=f"1 to {top}", low=1, high=top)).to_dict()


def _prefer(value: Any, fields: dict[str, Any]) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise RecordError(f"prefer: expected the id of the better response or 'tie', got {value!r}")
    other = fields.pop("over", None)
    if value in _TIES:
        a, b, verdict = "0", "1", value
    else:
        a, b, verdict = str(value), "1" if str(value) == "0" else "0", "a"
    if other is not None:
        if value in _TIES:
            raise RecordError("over: a tie is between the responses 0 and 1", "Send a preference")
        b = str(other)
    return {"kind": "preference", "a": a, "b": b, "verdict": verdict, **fields}


def _edit(text: Any, fields: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "edit", "text": text, **fields}


def _comment(text: Any, fields: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "critique", "text": text, **fields}


_ID = {"type": "string", "minLength": 1}
_ASPECT = {"aspect": {**_ID, "description": "Aspect that it is about."}}
_RESPONSE = {"response": {**_ID, "description": "Id of the response, by default 0."}}
_ON_RESPONSE = {**_RESPONSE, **_ASPECT}

SHORT_FORMS: Mapping[str, ShortForm] = {
    "thumb": ShortForm(_thumb, {"enum": ["up", "down", "+", "-", True, False]}, _ON_RESPONSE),
    "rating": ShortForm(
        _rating,
        {
            "anyOf": [{"type": "number"}, {"type": "string", "pattern": f"^{_RATING.pattern}$"}],
            "description": "Number of stars from 1 to 5, or a text such as 4/5, 7/10 or 80%.",
        },
        {
            **_ON_RESPONSE,
            "scale": {
                "anyOf": [{"type": "integer", "minimum": 1}, {"type": "object"}],
                "description": "Best value of the scale, or a whole scale, for a plain number.",
            },
        },
    ),
    "prefer": ShortForm(
        _prefer,
        {
            "type": ["string", "integer"],
            "description": "Id of the better response, or tie or both_bad.",
        },
        {
            **_ASPECT,
            "over": {
                "type": ["string", "integer"],
                "description": "Id of the other response. Default: of the responses 0 and 1, the "
                "one that is not preferred.",
            },
        },
    ),
    "edit": ShortForm(_edit, {"type": "string"}, _RESPONSE),
    "comment": ShortForm(_comment, _ID, _ON_RESPONSE),
}
"""Short forms by name, which is the field with their value."""


def expand_short_form(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a feedback record from those of a short form.

    Parameters
    ----------
    row : Mapping[str, Any]
        Fields: one of ``thumb``, ``rating``, ``prefer``, ``edit`` and ``comment``, the common ones,
        and those that the form allows, such as ``response`` and ``aspect``.

    Raises
    ------
    RecordError
        If there is no short form or more than one, a value cannot be read, or a field is unknown.
    """
    names = [name for name in SHORT_FORMS if name in row]
    if len(names) != 1:
        raise RecordError(
            "kind: expected one of " + ", ".join(KINDS),
            "Or use one of the short forms " + ", ".join(SHORT_FORMS),
        )
    (name,) = names
    form = SHORT_FORMS[name]
    unknown = set(row) - {*COMMON_FIELDS, *form.fields, name}
    if unknown:
        raise RecordError(f"{min(unknown)}: the short form {name} has no such field")
    fields = {field: value for field, value in row.items() if field != name}
    if "response" in form.fields:
        fields.setdefault("response", DEFAULT_RESPONSE)
    return form.expand(row[name], fields)


def short_feedback(interaction: Interaction | str, *, user: str, **fields: Any) -> AnyFeedback:
    """Return feedback by a person in a short form.

    Parameters
    ----------
    interaction : Interaction or str
        Interaction, or its id.
    user : str
        Name of the person.
    **fields : Any
        ``thumb="up"``, ``rating="4/5"``, ``prefer=1``, ``edit="..."`` or ``comment="..."``, and
        fields of the record, such as ``response="1"`` and ``aspect="tone"``.

    Raises
    ------
    RecordError
        If the feedback is not valid, or does not fit the interaction.
    """
    id_ = interaction if isinstance(interaction, str) else interaction.id
    row = expand_short_form({"interaction": id_, **fields})
    row.setdefault("annotator", Annotator.human(user))
    feedback = parse_feedback(row)
    if isinstance(interaction, Interaction):
        feedback.check(interaction)
    return feedback
