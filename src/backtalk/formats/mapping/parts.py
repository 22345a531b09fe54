"""Mappings of marked parts of a response: spans and steps."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, model_validator

from backtalk.errors import RecordError
from backtalk.feedback.kinds import Span, Spans, Step, Steps
from backtalk.feedback.record import Name, OptionalField
from backtalk.formats.fields import Fields
from backtalk.formats.mapping.base import ResponseMapping, Target
from backtalk.formats.mapping.cells import (
    Degree,
    Values,
    cell,
    counted,
    degree,
    empty,
    read_list,
    shorten,
    text,
    value,
)
from backtalk.formats.mapping.paths import normalise
from backtalk.formats.mapping.sources import Constant, Source, name_of
from backtalk.formats.offsets import OffsetUnit, astral_before, to_code_points

FieldName = Annotated[Name, BeforeValidator(lambda name: str(name) if type(name) is int else name)]
"""Name or path of a field of each object, or index in each list."""


class _PartMapping(ResponseMapping):
    start: FieldName = "start"
    """Field of the start offset."""
    end: FieldName = "end"
    """Field of the end offset, which is exclusive."""
    text: OptionalField[FieldName] = None
    """Field of the text of the part."""
    comment: OptionalField[FieldName] = None
    """Field of a comment."""
    offsets: OffsetUnit = "code-points"
    """Unit of the offsets: ``code-points``, ``utf-16`` or ``utf-8`` bytes."""

    def _items(self, row: Fields) -> list[Fields]:
        path = name_of(self.column)
        items = read_list(row, self.column)
        return [_item(item, f"{path}.{index}") for index, item in enumerate(items)]

    def _response_text(self, interaction: Target) -> str:
        for response in interaction.responses if interaction else ():
            if response.id == str(self.response):
                return response.text
        raise RecordError(f"response {self.response}: the row has no such response to mark")

    def _range(self, item: Fields, whole: str) -> tuple[int, int]:
        """Return the start and the end of a part in code points."""
        own = text(item, self.text)
        if empty(item, self.start) and empty(item, self.end) and own is not None:
            return _unique_range(whole, own, item.path)
        start, end = (_integer(item, name) for name in (self.start, self.end))
        if own is None and "offsets" not in self.model_fields_set:
            _require_plain(whole, end, item.path)
        try:
            converted = [to_code_points(whole, offset, self.offsets) for offset in (start, end)]
        except ValueError as error:
            raise RecordError(
                f"{item.path}: {error}",
                "Check the unit of the offsets in the mapping: offsets: "
                "code-points, utf-16 or utf-8",
            ) from None
        if own is not None and whole[slice(*converted)] != own:
            raise RecordError(
                f"{item.path}: {start} to {end} marks {whole[slice(*converted)]!r}, not {own!r}",
                _unit_hint(whole, (start, end), own),
            )
        return converted[0], converted[1]


class SpansMapping(_PartMapping):
    """Mapping of spans: a list of marked parts with labels; an empty list marks nothing."""

    kind: Literal["spans"]
    label: FieldName | Constant = "label"
    """Field of the label, or a constant."""
    good: Values = ()
    """Labels that are praise."""
    severity: OptionalField[Degree] = None
    """Field of the severity, in [0, 1], or with its scale."""
    ITEM_FIELDS: ClassVar = ("severity",)

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Spans:
        whole = self._response_text(interaction)
        spans = [span for item in self._items(row) for span in self._spans(item, whole)]
        return self._build(
            Spans, row, interaction, distinct, response=str(self.response), spans=tuple(spans)
        )

    def _spans(self, item: Fields, whole: str) -> list[Span]:
        start, end = self._range(item, whole)
        return [
            Span(
                start=start,
                end=end,
                label=label,
                good=normalise(label) in self.good,
                severity=degree(item, self.severity, "severity"),
                comment=text(item, self.comment),
            )
            for label in _labels(item, self.label)
        ]


class StepsMapping(_PartMapping):
    """Mapping of steps: a list of texts with a list of labels, or a list of objects.

    The steps are found in the response one after the other. A step without a label has no verdict.
    """

    kind: Literal["steps"]
    labels: OptionalField[Source] = None
    """Column of the list of labels, if the steps are texts."""
    text: OptionalField[FieldName] = "text"
    """Field of the text of each step, if the steps are objects."""
    label: FieldName = "label"
    """Field of the label of each step, if the steps are objects."""
    right: Values = ("1", "+1", "true", "right", "correct", "good", "yes", "positive", "+")
    wrong: Values = ("-1", "false", "wrong", "incorrect", "bad", "no", "negative", "-")
    neutral: Values = ("neutral",)
    VALUE_FIELDS: ClassVar = ("right", "wrong", "neutral")

    @model_validator(mode="after")
    def _labels_or_objects(self) -> Self:
        fields = {"label", "text", "start", "end", "comment"} & self.model_fields_set
        if self.labels is not None and fields:
            raise ValueError(f"labels: a list of labels excludes {min(fields)}, a field of objects")
        return self

    def _items(self, row: Fields) -> list[Fields]:
        if self.labels is None:
            return super()._items(row)
        path, texts = name_of(self.column), read_list(row, self.column)
        labels = read_list(row, self.labels)
        if len(texts) != len(labels):
            raise RecordError(
                f"{name_of(self.labels)}: {len(labels)} labels for {len(texts)} steps"
            )
        return [
            Fields({"text": step, "label": label}, f"{path}.{index}")
            for index, (step, label) in enumerate(zip(texts, labels, strict=True))
        ]

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Steps:
        whole = self._response_text(interaction)
        end, steps = 0, []
        for item in self._items(row):
            start, end = self._next_range(item, whole, end)
            if not empty(item, self.label):
                verdict, comment = self._verdict(item), text(item, self.comment)
                steps.append(
                    Step.model_validate(
                        {"start": start, "end": end, "verdict": verdict, "comment": comment}
                    )
                )
        if not steps:
            raise RecordError(f"{name_of(self.column)}: no step has a label")
        return self._build(
            Steps, row, interaction, distinct, response=str(self.response), steps=tuple(steps)
        )

    def _verdict(self, item: Fields) -> str:
        label, known = value(item, self.label), self.meanings
        if counted(label) == "0" and "0" not in known:
            raise RecordError(
                f"{item.field_path(self.label)}: 0 could mean wrong or neutral",
                "Say in the mapping which: wrong: [0, false], or wrong: -1 and neutral: 0",
            )
        return self._meaning(item, self.label)

    def _next_range(self, item: Fields, whole: str, position: int) -> tuple[int, int]:
        """Return the range of the next step, which begins at or after a position."""
        own = text(item, self.text)
        if own is None or not (empty(item, self.start) and empty(item, self.end)):
            return self._range(item, whole)
        start = whole.find(own, position)
        if start < 0:
            raise RecordError(
                f"{item.path}: the step {shorten(own)} is not in the response",
                "Name the response that the steps make up; a list of texts is joined with "
                'separator: "\\n"',
            )
        is_next = not whole[position:start].strip()
        if not is_next and whole.find(own, start + 1) >= 0:
            raise RecordError(f"{item.path}: the step {shorten(own)} is in the response twice")
        return start, start + len(own)


def _item(item: Any, path: str) -> Fields:
    if isinstance(item, list):
        item = {str(index): field for index, field in enumerate(item)}
    if not isinstance(item, dict):
        raise RecordError(
            f"{path}: expected an object, got {shorten(item)}",
            "Name the column of the labels if the steps are texts: labels: COLUMN",
        )
    return Fields(item, path)


def _integer(item: Fields, name: str) -> int:
    return cell(item, name).integer("it")


def _labels(item: Fields, label: str | Constant) -> list[str]:
    """Return the labels of a part, several if the field has a list."""
    labels = value(item, label)
    labels = labels if isinstance(labels, list) else [text(item, label)]
    if not labels or not all(isinstance(one, str) and one.strip() for one in labels):
        raise RecordError(
            f"{item.field_path(name_of(label))}: missing",
            "Name the field of the label in the mapping: label: FIELD or label: {constant: error}",
        )
    return labels


def _unique_range(whole: str, own: str, path: str) -> tuple[int, int]:
    """Return the range of a text that is in the response exactly once."""
    count = whole.count(own)
    if count != 1:
        where = "not in the response" if count == 0 else f"in the response {count} times"
        raise RecordError(
            f"{path}: the text {shorten(own)} is {where}", "Give its start and end as offsets"
        )
    start = whole.index(own)
    return start, start + len(own)


def _require_plain(whole: str, end: int, path: str) -> None:
    """Check that offsets up to ``end`` are the same in code points and UTF-16 units."""
    if (character := astral_before(whole, end)) is not None:
        raise RecordError(
            f"{path}: the character {character!r} stands before the end, and counts as two in "
            "UTF-16 units",
            "Say in the mapping what the offsets count: offsets: utf-16 (JavaScript), or offsets: "
            "code-points (Python)",
        )


def _unit_hint(whole: str, offsets: tuple[int, int], own: str) -> str:
    """Return the remedy for offsets that mark another text than they state."""
    units: tuple[OffsetUnit, ...] = ("code-points", "utf-16", "utf-8")
    for unit in units:
        try:
            part = slice(*(to_code_points(whole, offset, unit) for offset in offsets))
        except ValueError:
            continue
        if whole[part] == own:
            return f"The offsets count {unit}; say so in the mapping: offsets: {unit}"
    return "Check that the offsets are those of this response, and that the end is exclusive"
