"""Base classes of the mappings of all kinds of feedback."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator, AnnotatorKind
from backtalk.feedback.base import OVERALL
from backtalk.feedback.interaction import Interaction
from backtalk.feedback.kinds import AnyFeedback, FeedbackT
from backtalk.feedback.record import Name, OptionalField, Record, repeated
from backtalk.formats.content_ids import make_feedback
from backtalk.formats.fields import Fields
from backtalk.formats.mapping.cells import (
    AnySource,
    Degree,
    counted,
    degree,
    empty,
    text,
    timestamp,
    undefined,
    value,
)
from backtalk.formats.mapping.paths import normalise
from backtalk.formats.mapping.sources import Source, name_of

Target = Interaction | None
"""Interaction that feedback is about; ``None`` for the system as a whole."""
ResponseIndex = Annotated[int, Field(ge=0)]
"""Index of a response in the mapping's list, from 0."""


class AspectColumn(Record):
    """Column of the aspect: ``{column: criterion}``."""

    column: Source


Aspect = Annotated[
    Annotated[Name, Tag("name")] | Annotated[AspectColumn, Tag("column")],
    Discriminator(
        lambda item: "column" if isinstance(item, dict | AspectColumn) else "name",
    ),
]
"""Aspect of all rows, or its column."""


class Doubt(NamedTuple):
    """Reason why the numbers of a column cannot be read as they are."""

    column: AnySource
    problem: str
    mend: str

    def check(self, row: Fields) -> None:
        """Check that the row has no number in the column.

        Raises
        ------
        RecordError
            If it has one.
        """
        cell_value = value(row, self.column)
        if counted(cell_value) is not None:
            raise RecordError(f"{name_of(self.column)}: {self.problem}", self.mend)


class BaseMapping(Record):
    """Fields that the mappings of all kinds share."""

    # Building the validators takes longer than reading a mapping, and most imports need none.
    model_config = ConfigDict(defer_build=True)

    annotator: OptionalField[Source] = None
    """Column of the annotator's id."""
    annotator_kind: AnnotatorKind = "human"
    time: OptionalField[Source] = None
    """Column of the time."""
    confidence: OptionalField[Degree] = None
    """Column of the confidence, in [0, 1], or with its scale."""

    VALUE_FIELDS: ClassVar[tuple[str, ...]] = ()
    """Fields that list values of the column, one for each meaning."""

    ITEM_FIELDS: ClassVar[tuple[str, ...]] = ()
    """Fields that name fields of the objects in a cell, and no columns."""

    NEEDS_PROMPT: ClassVar[bool] = True
    """If true, feedback of this kind needs a prompt."""

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        names = [name for name in self.VALUE_FIELDS if name in self.model_fields_set]
        lists = [values for name in names if isinstance(values := getattr(self, name), tuple)]
        if (duplicate := repeated(item for values in lists for item in values)) is not None:
            raise ValueError(f"{' and '.join(names)}: the value {duplicate!r} has two meanings")
        return self

    def response_indices(self) -> dict[str, int]:
        """Return the indices of the responses that the feedback is about, by field."""
        return {}

    def is_present(self, row: Fields) -> bool:
        """Return true if the row has such feedback, which it has not if the cell is empty."""
        raise NotImplementedError

    def resolve(self, rows: Iterable[Fields], responses: int) -> tuple[Self, Doubt | None]:  # noqa: ARG002
        """Return the mapping that the first rows of a table imply, or a doubt about its numbers.

        Parameters
        ----------
        rows : iterable of Fields
            First rows of the table.
        responses : int
            Number of responses of the mapping.
        """
        return self, None

    def read(self, row: Fields, interaction: Target, distinct: str | None) -> list[AnyFeedback]:
        """Return the feedback in a row.

        Parameters
        ----------
        row : Fields
            Row of the table.
        interaction : Interaction or None
            Interaction that the row describes; ``None`` for the system as a whole.
        distinct : str or None
            Further part of the id, which distinguishes rows with the same content.
        """
        return [self._parse(row, interaction, distinct)] if self.is_present(row) else []

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> AnyFeedback:
        raise NotImplementedError

    def _build(
        self,
        kind: type[FeedbackT],
        row: Fields,
        interaction: Target,
        distinct: str | None,
        **fields: Any,
    ) -> FeedbackT:
        return make_feedback(
            kind,
            interaction,
            _annotator(text(row, self.annotator) or "unknown", self.annotator_kind),
            time=None if self.time is None else timestamp(row, self.time),
            confidence=self._confidence(row),
            distinct=distinct,
            **fields,
        )

    def _confidence(self, row: Fields) -> float | None:
        return None if self.confidence is None else degree(row, self.confidence, "confidence")

    @cached_property
    def meanings(self) -> dict[str, str]:
        """Meanings by value; values in the mapping file precede the defaults."""
        names = sorted(self.VALUE_FIELDS, key=lambda name: name not in self.model_fields_set)
        meanings: dict[str, str] = {}
        for name in names:
            values = getattr(self, name)
            for item in values if isinstance(values, tuple) else ():
                meanings.setdefault(item, name)
        return meanings

    def _listed_values(self) -> set[str]:
        """Return the values that the mapping file lists."""
        return {item for item, name in self.meanings.items() if name in self.model_fields_set}

    def _meaning(self, row: Fields, column: AnySource) -> str:
        cell_value = value(row, column)
        meaning = self.meanings.get(normalise(cell_value))
        if meaning is None:
            raise undefined(cell_value, row.field_path(name_of(column)), self.meanings)
        return meaning

    def _numbers(self, rows: Iterable[Fields], column: AnySource) -> set[str]:
        """Return the numbers in a column to which the mapping file gives no meaning."""
        numbers = {counted(value(row, column)) for row in rows}
        return {number for number in numbers if number is not None} - self._listed_values()


@lru_cache(maxsize=4096)
def _annotator(id: str, kind: AnnotatorKind) -> Annotator:  # noqa: A002
    return Annotator(id=id, kind=kind)


class ColumnMapping(BaseMapping):
    """Mapping of feedback in one column."""

    column: Source
    """Column of the feedback."""

    def is_present(self, row: Fields) -> bool:
        """Return true if the cell is not empty."""
        return not empty(row, self.column)


class ResponseMapping(ColumnMapping):
    """Mapping of feedback about one response."""

    response: ResponseIndex = 0
    """Index of the response."""

    def response_indices(self) -> dict[str, int]:
        """Return the index of the response."""
        return {"response": self.response}


class OptionalResponseMapping(ColumnMapping):
    """Mapping of feedback about a response or the interaction as a whole."""

    response: ResponseIndex | None = 0
    """Index of the response; ``null``, or a mapping without responses, for the interaction as a
    whole."""

    def response_indices(self) -> dict[str, int]:
        """Return the index of the response, if there is one."""
        return {} if self.response is None else {"response": self.response}

    def _response_id(self, interaction: Target) -> str | None:
        if self.response is None or interaction is None or not interaction.responses:
            return None
        return str(self.response)


def read_aspect(row: Fields, aspect: str | AspectColumn | None) -> str | None:
    """Return the aspect for a row; an empty cell is the response as a whole."""
    if isinstance(aspect, AspectColumn):
        return text(row, aspect.column) or OVERALL
    return aspect


def label_doubt(column: AnySource, numbers: set[str], fields: tuple[str, str]) -> Doubt | None:
    """Return a doubt if numbers are not just 0 and 1, or just -1 and 1.

    Parameters
    ----------
    column : str, Constant or Template
        Column of the labels.
    numbers : set of str
        Numbers in the column.
    fields : tuple of str
        Fields of the mapping that list the good and the bad values.
    """
    if numbers <= {"0", "1", "+1"} or numbers <= {"-1", "1", "+1"}:
        return None
    listed = ", ".join(sorted(numbers)[:6])
    good, bad = fields
    return Doubt(
        column,
        f"the column has the numbers {listed}, so that 0 and 1 may not mean {bad} and {good}",
        f"Name the values in the mapping: {good}: [VALUE] and {bad}: [VALUE]; or read the column "
        "as a rating",
    )
