"""Import formats: their registry, and recognition of a file's format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from backtalk.errors import BacktalkError
from backtalk.feedback.case import Case
from backtalk.feedback.kinds import AnyFeedback
from backtalk.formats.columns import unread_columns
from backtalk.formats.options import OptionParsers, bind_options
from backtalk.formats.readers import RejectedRow, Row
from backtalk.registry import Registry

RowData = dict[str, Any]
"""A row as JSON data."""
Parsed = Case | AnyFeedback
"""Content of a row: a case, or feedback that is not about an interaction."""
Parse = Callable[..., Iterable[Parsed]]
Preprocess = Callable[[Iterator[Row | RejectedRow]], Iterator[Row | RejectedRow]]

_MAX_FIELDS_SHOWN = 12


@dataclass(frozen=True)
class Format:
    """Layout of rows, and the function that parses one."""

    name: str
    title: str
    source: str
    """Address of the page that describes the layout."""
    parse: Parse
    """Function from a row's data, and the options by keyword, to its content. It raises
    ``RecordError`` or pydantic's ``ValidationError`` for an invalid row."""
    matches: Callable[[RowData], bool]
    """Function that returns true if a row's fields are those of this layout. It never raises."""
    options: OptionParsers = field(default_factory=dict)
    """Parsers of the options that ``parse`` takes, by name."""
    preprocess: Preprocess | None = None
    """Function that combines the rows of a file, for layouts in which a row cannot be parsed
    alone."""
    columns: frozenset[str] | None = None
    """Names of the columns that ``parse`` reads, or leaves out because the layout defines them as
    something else. ``None`` if it accounts for every column itself."""
    reads_person: bool = False
    """If true, ``parse`` reads the one column that names a person, whatever its name."""
    fallback: bool = False
    """If true, the layout is a general one, and any other format that matches takes precedence."""

    def unread_columns(self, row: RowData) -> list[str]:
        """Return the columns that look like a prompt, an answer, a verdict or a person.

        Empty columns, and those that the format reads, are left out.
        """
        if self.columns is None:
            return []
        return unread_columns(row, self.columns, reads_person=self.reads_person)

    def parser(
        self, options: Mapping[str, Any] | None = None
    ) -> Callable[[RowData], Iterable[Parsed]]:
        """Return the function that parses a row with these options.

        Raises
        ------
        UnknownName
            If the format has no such option.
        """
        bound = bind_options(f"format {self.name!r}", self.options, options)
        return partial(self.parse, **bound) if bound else self.parse


FORMATS: Registry[Format] = Registry(
    "format",
    entry_points="backtalk.formats",
    modules=("backtalk.formats.importers",),
    item_type=Format,
)
"""All import formats by name, those of installed packages included."""


def import_format(
    name: str,
    *,
    title: str,
    source: str,
    matches: Callable[[RowData], bool],
    options: OptionParsers | None = None,
    preprocess: Preprocess | None = None,
    columns: Iterable[str] | None = None,
    reads_person: bool = False,
    fallback: bool = False,
) -> Callable[[Parse], Parse]:
    """Register the decorated function as the parser of a format.

    Parameters
    ----------
    name : str
        Name of the format.
    title : str
        Description in a few words.
    source : str
        Address of the page that describes the layout.
    matches, options, preprocess, columns, reads_person, fallback
        See :class:`Format`.
    """

    def register(parse: Parse) -> Parse:
        known = None if columns is None else frozenset(columns)
        item = Format(
            name,
            title,
            source,
            parse,
            matches,
            options=options or {},
            preprocess=preprocess,
            columns=known,
            reads_person=reads_person,
            fallback=fallback,
        )
        FORMATS.register(name, item, origin=parse)
        return parse

    return register


def get_format(name: str) -> Format:
    """Return the format of that name.

    Raises
    ------
    UnknownName
        If there is none; the message lists the known formats.
    """
    return FORMATS.get(name)


def recognise(rows: list[Row]) -> Format:
    """Return the format of an input, given its first rows.

    A format is recognised only if it reads every column that has a meaning.

    Raises
    ------
    BacktalkError
        If no row matches exactly one format, or the format leaves out a prompt, an answer, a
        verdict or a person.
    """
    ambiguous: list[str] = []
    for row in rows:
        candidates = _candidates(row.data)
        if len(candidates) == 1:
            _require_all_read(candidates[0], rows)
            return candidates[0]
        ambiguous = ambiguous or [item.name for item in candidates]
    source = rows[0].source
    if ambiguous:
        raise BacktalkError(
            f"{source} could be in format {' or '.join(sorted(ambiguous))}",
            f"Name the format, for example with --format {ambiguous[0]}",
        )
    fields = ", ".join(map(repr, list(rows[0].data)[:_MAX_FIELDS_SHOWN]))
    raise BacktalkError(
        f"{source} is in no known format: its first row has the fields {fields}",
        "Describe the columns in a mapping file: backtalk import FILE --suggest writes one to "
        f"start from. Or name the format with --format NAME. Known: {', '.join(sorted(FORMATS))}",
    )


def _candidates(row: RowData) -> list[Format]:
    """Return the formats that match a row; general ones only if no other does."""
    matches = [item for item in FORMATS.values() if item.matches(row)]
    return [item for item in matches if not item.fallback] or matches


def _require_all_read(item: Format, rows: list[Row]) -> None:
    for row in rows:
        if names := item.unread_columns(row.data):
            raise BacktalkError(
                f"{row.source} looks like format {item.name!r}, which does not read the column "
                f"{names[0]!r}",
                unread_column_mend(item, row.data, names[0]),
            )


def unread_column_mend(item: Format, row: RowData, column: str) -> str:
    """Return the remedy for a column that has a meaning and that a format does not read.

    Parameters
    ----------
    item : Format
        Format that was recognised.
    row : RowData
        Row with the column.
    column : str
        Name of the column.
    """
    from backtalk.formats.suggest import explain_placeholders, suggest_line  # noqa: PLC0415 - rare

    line = suggest_line(row, column)
    placeholders = explain_placeholders(line)
    return (
        f"Give a mapping that reads it in a file named with --mapping: {line}"
        f"{f' ({placeholders})' if placeholders else ''}. backtalk import FILE --suggest writes "
        f"one to start from. Or keep the column as metadata: --format {item.name}"
    )
