r"""Sources of a value: a column, a constant, or a text with several columns in it.

>>> template = Template(template="Translate.\n\n{text}\n\nContext: {context}")
>>> template.render({"text": "Guten Tag", "context": ""})
'Translate.\n\nGuten Tag'
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Discriminator, JsonValue, Tag, field_validator

from backtalk.errors import RecordError
from backtalk.feedback.record import Name, Record
from backtalk.formats.mapping.paths import head_of, resolve

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]")


class Constant(Record):
    """Value of every row."""

    constant: JsonValue


class _Line(NamedTuple):
    pieces: tuple[tuple[str, str | None], ...]
    """Texts, each with the column that follows it."""

    @property
    def columns(self) -> list[str]:
        return [column for _, column in self.pieces if column is not None]


class Template(Record):
    r"""Text with the values of columns: ``"{instruction}\n\n{input}"``.

    Braces of the text itself are doubled. A line whose columns are all empty is left out, and so is
    a paragraph, with its heading.
    """

    template: Name

    @field_validator("template")
    @classmethod
    def _has_columns(cls, template: str) -> str:
        paragraphs = _paragraphs(template)
        if not any(line.columns for lines in paragraphs for line in lines):
            raise ValueError("names no column; write {name} for the value of a column")
        return template

    def columns(self) -> list[str]:
        """Return the columns that the text names."""
        paragraphs = _paragraphs(self.template)
        return [column for lines in paragraphs for line in lines for column in line.columns]

    def render(self, row: Mapping[str, Any]) -> str | None:
        """Return the text for a row, ``None`` if all its columns are empty.

        Raises
        ------
        RecordError
            If a column has neither a text nor a number.
        """
        texts = {column: _as_text(row, column) for column in self.columns()}
        if not any(texts.values()):
            return None
        paragraphs = [
            "\n".join(_render_lines(lines, texts))
            for lines in _paragraphs(self.template)
            if _has_value(lines, texts)
        ]
        return "\n\n".join(paragraphs)


def _has_value(lines: tuple[_Line, ...], texts: dict[str, str]) -> bool:
    columns = [column for line in lines for column in line.columns]
    return not columns or any(texts[column] for column in columns)


def _render_lines(lines: tuple[_Line, ...], texts: dict[str, str]) -> Iterator[str]:
    for line in lines:
        if not _has_value((line,), texts):
            continue
        text = "".join(
            literal + (texts[column] if column is not None else "")
            for literal, column in line.pieces
        )
        is_complete = all(texts[column] for column in line.columns)
        yield text if is_complete else text.strip(" \t")


@lru_cache(maxsize=256)
def _paragraphs(template: str) -> tuple[tuple[_Line, ...], ...]:
    return tuple(
        tuple(_parse_line(line) for line in paragraph.split("\n"))
        for paragraph in re.split(r"\n[ \t]*\n\s*", template.strip("\n"))
    )


def _parse_line(line: str) -> _Line:
    pieces: list[tuple[str, str | None]] = []
    literal, position = "", 0
    for match in _PIECE.finditer(line):
        literal += line[position : match.start()]
        position = match.end()
        if match[1] is not None:
            pieces.append((literal, match[1]))
            literal = ""
        elif len(match[0]) == 2:
            literal += match[0][0]
        else:
            raise ValueError(
                f"a single {match[0]!r} in {line!r}; double it for the character itself"
            )
    return _Line((*pieces, (literal + line[position:], None)))


def _as_text(row: Mapping[str, Any], column: str) -> str:
    value = resolve(row, column)
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | float):
        raise RecordError(f"{column}: expected a text, got {type(value).__name__}")
    text = str(value)
    return text if text.strip() else ""


def _tag(value: Any) -> str | None:
    if isinstance(value, str):
        return "column"
    if isinstance(value, Constant) or (isinstance(value, dict) and "constant" in value):
        return "constant"
    if isinstance(value, Template) or (isinstance(value, dict) and "template" in value):
        return "template"
    return None


def _short_forms(value: Any) -> Any:
    """Return the template that a list of columns stands for, and the name in ``{column: name}``."""
    if isinstance(value, dict) and set(value) == {"column"}:
        return value["column"]
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return {"template": "\n\n".join(f"{{{item}}}" for item in value)}
    return value


SOURCE_MARK = BeforeValidator(_short_forms)
"""Validator that marks the type of a source."""

Source = Annotated[
    Annotated[Name, Tag("column")]
    | Annotated[Constant, Tag("constant")]
    | Annotated[Template, Tag("template")],
    Discriminator(
        _tag,
        custom_error_type="source",
        custom_error_message="expected the name of a column, a constant or a template, as in "
        '{constant: ada} or {template: "{question} {context}"}',
    ),
    SOURCE_MARK,
]
"""Name or path of a column, a constant, a template, or a list of columns, joined by blank lines."""


def value(row: Mapping[str, Any], source: str | Constant | Template) -> Any:
    """Return the value of a source for a row, ``None`` if there is none."""
    if type(source) is str:
        return row[source] if source in row else resolve(row, source)
    return _computed(row, source)


def _computed(row: Mapping[str, Any], source: Any) -> Any:
    return source.constant if isinstance(source, Constant) else source.render(row)


def columns_of(source: str | Constant | Template) -> set[str]:
    """Return the columns of a row that a source reads."""
    if isinstance(source, str):
        return {source, head_of(source)}
    if isinstance(source, Constant):
        return set()
    return {name for column in source.columns() for name in (column, head_of(column))}


def name_of(source: str | Constant | Template) -> str:
    """Return the name of a source for error messages."""
    if isinstance(source, str):
        return source
    return "constant" if isinstance(source, Constant) else " and ".join(source.columns())
