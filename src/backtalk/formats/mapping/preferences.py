"""Mapping of preferences: a verdict in one or several columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from backtalk.errors import RecordError
from backtalk.feedback.base import OVERALL
from backtalk.feedback.kinds import Preference, Verdict
from backtalk.feedback.record import OptionalField, Record
from backtalk.formats.fields import Fields
from backtalk.formats.mapping.base import (
    Aspect,
    BaseMapping,
    Doubt,
    ResponseIndex,
    Target,
    read_aspect,
)
from backtalk.formats.mapping.cells import (
    AnySource,
    Degree,
    ScaledColumn,
    Values,
    cell,
    check_on_scale,
    counted,
    degree,
    degree_column,
    degree_tag,
    empty,
    is_empty,
    number,
    undefined,
    value,
)
from backtalk.formats.mapping.paths import normalise
from backtalk.formats.mapping.sources import Source, name_of

_FIRST, _SECOND = "1", "2"
"""Numbers of the two responses if a column counts from 1."""

_VERDICTS: tuple[Verdict, ...] = ("a", "b", "tie", "both_bad")
_AMBIGUOUS = "{} could count from 0 or from 1, or be a tie"
_AMBIGUOUS_MEND = (
    "Say in the mapping what the numbers mean: a: 0 and b: 1 if they count from 0, a: 1 and b: 2 "
    "if they count from 1, and tie: VALUE if one of them is a tie"
)


class ValueColumn(Record):
    """Column of the value that prefers a response: ``{column: model_a}``."""

    column: Source


VerdictValues = Annotated[
    Annotated[Values, Tag("values")] | Annotated[ValueColumn, Tag("column")],
    Discriminator(
        lambda item: "column" if isinstance(item, dict | ValueColumn) else "values",
    ),
]
"""Values of the verdict, or the column that has the value."""


class Strength(ScaledColumn):
    """Strength with its scale; on a scale such as -3 to 3 the sign is the verdict."""

    positive: OptionalField[Literal["a", "b"]] = None
    """Response that positive numbers prefer, on a scale with negative numbers."""

    @model_validator(mode="after")
    def _symmetric(self) -> Self:
        if self.scale.low < 0 and self.scale.low != -self.scale.high:
            raise ValueError(
                f"scale: {self.scale.low:g} to {self.scale.high:g} is not symmetric, as -3-3 is"
            )
        if self.positive is not None and not self.signed:
            raise ValueError("positive: only for a scale with negative numbers, such as -3-3")
        return self

    @property
    def signed(self) -> bool:
        """True if the scale has negative numbers."""
        return self.scale.low < 0

    def read(self, row: Fields) -> float | None:
        """Return the number, ``None`` if the cell is empty.

        Raises
        ------
        RecordError
            If it is not on the scale.
        """
        strength = number(row, self.column)
        if strength is not None:
            check_on_scale(strength, self.scale, name_of(self.column))
        return strength


StrengthSource = Annotated[
    Annotated[Source, Tag("source")] | Annotated[Strength, Tag("scaled")],
    Discriminator(degree_tag),
]
"""Column of a strength in (0, 1], or a column with its scale."""


class Flags(Record):
    """One column for each verdict; one of them is true: ``{a: a_wins, b: b_wins, tie: draw}``."""

    a: Source
    b: Source
    tie: OptionalField[Source] = None
    both_bad: OptionalField[Source] = None

    def columns(self) -> dict[Verdict, AnySource]:
        """Return the columns by verdict."""
        return {name: getattr(self, name) for name in _VERDICTS if getattr(self, name) is not None}


class PreferenceMapping(BaseMapping):
    """Mapping of preferences: which of two responses is better.

    The verdict is a word or number in a column, a probability, the sign of a strength, the higher
    of two scores, one of several flags, or, if one column has the better and another the worse
    response, the same in every row.
    """

    kind: Literal["preference"]
    column: OptionalField[Source] = None
    """Column of the verdict."""
    probability: OptionalField[Degree] = None
    """Column of the probability, in [0, 1], that the first response is better."""
    scores: OptionalField[Annotated[tuple[Source, ...], Field(min_length=2, max_length=2)]] = None
    """Columns of the scores of the two responses; the higher one is better, equal ones tie."""
    flags: OptionalField[Flags] = None
    """Columns of flags, one for each verdict."""
    always: OptionalField[Literal["a", "b"]] = None
    """Verdict of every row: the first response, or the second."""
    first: ResponseIndex = 0
    second: ResponseIndex = 1
    a: VerdictValues = ("a", "first", "left", "model_a", "response_a")
    """Values for which the first response is better."""
    b: VerdictValues = ("b", "second", "right", "model_b", "response_b")
    """Values for which the second response is better."""
    tie: Values = ("tie", "equal", "same")
    both_bad: Values = ("both_bad", "both bad", "neither", "tie (bothbad)", "bothbad")
    strength: OptionalField[StrengthSource] = None
    """Column of the strength of the preference, in (0, 1], or with its scale."""
    aspect: Aspect = OVERALL
    VALUE_FIELDS: ClassVar = _VERDICTS

    @model_validator(mode="after")
    def _one_verdict_source(self) -> Self:
        names = ("column", "probability", "scores", "flags", "always")
        sources = [name for name in names if getattr(self, name) is not None]
        if len(sources) > 1 or not (sources or self._signed()):
            raise ValueError(
                "column: a preference needs one of column, probability, scores, flags, always and "
                "a strength with a scale such as -3-3"
            )
        if self.first == self.second:
            raise ValueError("second: the same response as first")
        return self

    def _signed(self) -> Strength | None:
        strength = self.strength
        return strength if isinstance(strength, Strength) and strength.signed else None

    def response_indices(self) -> dict[str, int]:
        """Return the indices of the two responses."""
        return {"first": self.first, "second": self.second}

    def is_present(self, row: Fields) -> bool:
        """Return true if the row has a verdict."""
        if self.column is not None:
            return not empty(row, self.column)
        if self.always is not None:
            return True
        return any(not empty(row, column) for column in self._verdict_columns())

    def _verdict_columns(self) -> Iterable[AnySource]:
        if self.flags is not None:
            return self.flags.columns().values()
        if self.scores is not None:
            return self.scores
        strength = None if self.strength is None else degree_column(self.strength)
        column = degree_column(self.probability) or strength
        return () if column is None else (column,)

    def resolve(self, rows: Iterable[Fields], responses: int) -> tuple[Self, Doubt | None]:  # noqa: ARG002
        """Return the mapping in which 1 and 2 are the responses if the rows have no other number.

        Parameters
        ----------
        rows : iterable of Fields
            First rows of the table.
        responses : int
            Number of responses of the mapping.
        """
        if self.column is None or not self._numbers_are_open():
            return self, None
        numbers = self._numbers(rows, self.column)
        if not numbers - {_FIRST, _SECOND}:
            return (self._counting_from_one() if _SECOND in numbers else self), None
        return self, Doubt(
            self.column, _AMBIGUOUS.format(", ".join(sorted(numbers)[:6])), _AMBIGUOUS_MEND
        )

    def _numbers_are_open(self) -> bool:
        """Return true if the mapping file does not say what the numbers 1 and 2 mean."""
        return isinstance(self.a, tuple) and isinstance(self.b, tuple) and not self._has_numbers()

    def _has_numbers(self) -> bool:
        names = self.model_fields_set.intersection(("a", "b"))
        return any(counted(item) is not None for name in names for item in getattr(self, name))

    def _counting_from_one(self) -> Self:
        copy = self.model_copy(update={"a": (*self.a, _FIRST), "b": (*self.b, _SECOND)})
        copy.__dict__.pop("meanings", None)  # the cached meanings are those of the original
        return copy

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Preference:
        probability = None
        if self.probability is not None:
            probability = degree(row, self.probability, "probability")
        verdict = self._verdict(row, probability)
        return self._build(
            Preference,
            row,
            interaction,
            distinct,
            a=str(self.first),
            b=str(self.second),
            verdict=verdict,
            probability=probability,
            strength=self._strength(row, verdict),
            aspect=read_aspect(row, self.aspect),
        )

    def _verdict(self, row: Fields, probability: float | None) -> str:
        if self.always is not None:
            return self.always
        if probability is not None:
            return Preference.verdict_for(probability)
        if self.flags is not None:
            return _flag_verdict(row, self.flags.columns())
        if self.scores is not None:
            return _score_verdict(row, self.scores)
        if self.column is not None:
            return self._verdict_of_value(row, self.column)
        return self._verdict_of_sign(row)

    def _verdict_of_value(self, row: Fields, column: AnySource) -> str:
        cell_value = value(row, column)
        verdict = self.meanings.get(normalise(cell_value))
        if isinstance(self.a, ValueColumn) or isinstance(self.b, ValueColumn):
            verdict = self._verdict_of_names(row, cell_value) or verdict
        if verdict is None and self._numbers_are_open() and (normal := counted(cell_value)):
            verdict = self._verdict_of_number(normal, name_of(column))
        if verdict is None:
            raise undefined(cell_value, name_of(column), self.meanings)
        return verdict

    def _verdict_of_names(self, row: Fields, cell_value: Any) -> str | None:
        """Return the response whose own column has the value."""
        names = {
            verdict: value(row, source.column)
            for verdict, source in (("a", self.a), ("b", self.b))
            if isinstance(source, ValueColumn)
        }
        matches = [
            verdict
            for verdict, name in names.items()
            if not is_empty(name) and normalise(name) == normalise(cell_value)
        ]
        if len(matches) > 1:
            raise RecordError(
                f"{' and '.join(names)}: {cell_value!r} stands for both responses",
                "Name values in the mapping that differ: a: VALUE and b: VALUE",
            )
        return matches[0] if matches else None

    def _verdict_of_number(self, normal: str, column: str) -> str:
        if normal == _SECOND or (normal == _FIRST and "0" in self._listed_values()):
            return "b" if normal == _SECOND else "a"
        raise RecordError(f"{column}: {_AMBIGUOUS.format(normal)}", _AMBIGUOUS_MEND)

    def _verdict_of_sign(self, row: Fields) -> str:
        signed = self._signed()
        strength = signed.read(row) if signed else None
        if signed is None or not strength:
            return "tie"
        if signed.positive is None:
            column = name_of(signed.column)
            raise RecordError(
                f"{column}: {strength:g} could prefer the first or the second response",
                "Say in the mapping which response positive numbers prefer: "
                f"strength: {{column: {column}, scale: {signed.scale.name}, positive: b}}",
            )
        return signed.positive if strength > 0 else {"a": "b", "b": "a"}[signed.positive]

    def _strength(self, row: Fields, verdict: str) -> float | None:
        if self.strength is None or verdict not in {"a", "b"}:
            return None
        if not isinstance(self.strength, Strength):
            return _positive(degree(row, self.strength, "strength"), self.strength)
        strength = self.strength.read(row)
        if strength is None:
            return None
        if self.strength.positive is not None and verdict != self._verdict_of_sign(row):
            raise RecordError(
                f"{name_of(self.strength.column)}: {strength:g} contradicts the verdict {verdict!r}"
            )
        return _positive(abs(strength) / self.strength.scale.high, self.strength.column)


def _positive(strength: float | None, source: AnySource | None) -> float | None:
    if strength == 0 and source is not None:
        raise RecordError(f"{name_of(source)}: strength 0 contradicts a verdict for one response")
    return strength


def _flag_verdict(row: Fields, columns: dict[Verdict, AnySource]) -> str:
    verdicts = [
        verdict
        for verdict, column in columns.items()
        if not empty(row, column) and cell(row, column).boolean("it")
    ]
    if len(verdicts) != 1:
        listed = ", ".join(map(name_of, columns.values()))
        raise RecordError(f"{listed}: exactly one must be true, not {len(verdicts)}")
    return verdicts[0]


def _score_verdict(row: Fields, sources: tuple[AnySource, ...]) -> str:
    first, second = (cell(row, source).number("it") for source in sources)
    if first == second:
        return "tie"
    return "a" if first > second else "b"
