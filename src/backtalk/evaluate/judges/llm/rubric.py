"""Rubrics: the criteria and the scale by which a language model judges answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback.record import OMIT_EMPTY, Name, Record, explain

_YAML = (".yaml", ".yml", ".json")
_MAX_POINTS = 101


class Criterion(Record):
    """Criterion of a rubric."""

    name: Name
    description: str = ""


def _criteria(value: Any) -> Any:
    """Accept a mapping of names to descriptions, and plain names."""
    if isinstance(value, Mapping):
        value = [{"name": name, "description": text or ""} for name, text in value.items()]
    if isinstance(value, (list, tuple)):
        return [{"name": item} if isinstance(item, str) else item for item in value]
    return value


def _scale(value: tuple[int, int]) -> tuple[int, int]:
    low, high = value
    if not 0 <= low < high <= low + _MAX_POINTS - 1:
        raise ValueError(
            f"a scale goes from a number of 0 or more to a higher one, in {_MAX_POINTS} points "
            "at most"
        )
    return value


class Rubric(Record):
    """Criteria and scale by which answers are judged.

    >>> Rubric(criteria=["Politeness"]).criteria[0].name
    'Politeness'
    """

    guideline: str = ""
    """Text that the judge reads first."""
    criteria: Annotated[tuple[Criterion, ...], BeforeValidator(_criteria)] = Field(
        default=(), exclude_if=OMIT_EMPTY
    )
    """Criteria: names, names with descriptions, or a mapping of names to descriptions."""
    scale: Annotated[tuple[int, int], AfterValidator(_scale)] = (1, 5)
    """Lowest and highest score of a pointwise judge."""
    levels: dict[int, str] = Field(default_factory=dict, exclude_if=OMIT_EMPTY)
    """Meaning of scores, by score."""

    @model_validator(mode="after")
    def _levels_on_scale(self) -> Self:
        for score in self.levels:
            if not self.scale[0] <= score <= self.scale[1]:
                raise ValueError(f"levels: {score} is outside the scale {list(self.scale)}")
        return self

    @property
    def text(self) -> str:
        """Guideline and criteria, as the judge reads them; empty if there are none."""
        parts = [self.guideline.strip()] if self.guideline.strip() else []
        if self.criteria:
            lines = [
                f"- {item.name}: {item.description.strip()}"
                if item.description
                else f"- {item.name}"
                for item in self.criteria
            ]
            parts.append("Criteria:\n" + "\n".join(lines))
        return "\n\n".join(parts)

    @property
    def level_text(self) -> str:
        """Meanings of the scores, one a line; empty if there are none."""
        return "\n".join(f"{score}: {self.levels[score].strip()}" for score in sorted(self.levels))


def read_rubric(path: Path | str) -> Rubric:
    """Read a rubric: a YAML or JSON file with its fields, or a text file with the guideline.

    Raises
    ------
    NotFound
        If there is no such file.
    BacktalkError
        If a field is unknown or wrong, or the file is empty.
    """
    file = Path(path)
    if not file.is_file():
        raise NotFound(f"There is no rubric {file}", "Give a YAML, Markdown or text file")
    text = file.read_text(encoding="utf-8")
    if not text.strip():
        raise BacktalkError(f"The rubric {file} is empty", "Write the criteria into it")
    if file.suffix.lower() not in _YAML:
        return Rubric(guideline=text)
    import yaml  # noqa: PLC0415 - only needed for files

    try:
        return Rubric.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        why = explain(error) if isinstance(error, ValidationError) else " ".join(str(error).split())
        raise BacktalkError(
            f"The rubric {file} is not valid: {why}",
            "Its fields are guideline, criteria, scale and levels",
        ) from None
