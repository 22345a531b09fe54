"""The register of formats that feedback is imported from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.views import Case
from backtalk.formats.options import Readers, bind
from backtalk.formats.readers import RejectedRow, Row

Data = dict[str, Any]
"""A row as JSON data."""
Said = Case | AnyFeedback
"""What a row holds: a case, or feedback that is about no interaction."""
Parse = Callable[..., Iterable[Said]]
Gather = Callable[[Iterator[Row | RejectedRow]], Iterator[Row | RejectedRow]]


@dataclass(frozen=True)
class Format:
    """A layout of rows, and the function that reads one."""

    name: str
    title: str
    source: str
    """The address of the page that describes the layout."""
    parse: Parse
    """From a row's data, and the options by keyword, to what it holds. Raises ``RecordError`` or
    pydantic's ``ValidationError`` for a row that makes no sense."""
    looks_like: Callable[[Data], bool]
    """Whether a row's fields are those of this layout. Never raises."""
    options: Readers = field(default_factory=dict)
    gather: Gather | None = None
    """Turns the rows of a file into rows that can be read one by one, where they cannot."""

    def parser(self, options: Mapping[str, Any] | None = None) -> Callable[[Data], Iterable[Said]]:
        """Return the function that reads a row with the options given.

        Raises
        ------
        UnknownName
            For an option that the format does not have.
        """
        bound = bind(f"format {self.name!r}", self.options, options)
        return partial(self.parse, **bound) if bound else self.parse


FORMATS: dict[str, Format] = {}
"""Every format by its name."""


def import_format(
    name: str,
    *,
    title: str,
    source: str,
    looks_like: Callable[[Data], bool],
    options: Readers | None = None,
    gather: Gather | None = None,
) -> Callable[[Parse], Parse]:
    """Register a function as the one that reads rows of a format. See :class:`Format`."""

    def register(parse: Parse) -> Parse:
        FORMATS[name] = Format(name, title, source, parse, looks_like, options or {}, gather)
        return parse

    return register


def named(name: str) -> Format:
    """Return the format of that name.

    Raises
    ------
    UnknownName
        If there is none; the message lists those there are.
    """
    if name not in FORMATS:
        raise UnknownName.among("format", name, sorted(FORMATS))
    return FORMATS[name]


def recognise(first: list[Row]) -> Format:
    """Return the format of an input from its first rows: the one that a row looks like.

    Raises
    ------
    BacktalkError
        If no row looks like exactly one format.
    """
    several: list[str] = []
    for row in first:
        fitting = [each for each in FORMATS.values() if each.looks_like(row.data)]
        if len(fitting) == 1:
            return fitting[0]
        several = several or [each.name for each in fitting]
    where = first[0].source
    if several:
        raise BacktalkError(
            f"{where} could be {' or '.join(sorted(several))}",
            f"Say which, with --format {several[0]} for one",
        )
    fields = ", ".join(map(repr, list(first[0].data)[:12]))
    raise BacktalkError(
        f"{where} is in no known format: its first row has the fields {fields}",
        "Name the format with --format NAME, or say what the fields mean in a mapping file. "
        f"Known: {', '.join(sorted(FORMATS))}",
    )
