r"""Reading feedback from a file, a folder or standard input as a lazy stream of rows.

>>> from pathlib import Path
>>> from tempfile import mkdtemp
>>> path = Path(mkdtemp()) / "pairs.jsonl"
>>> _ = path.write_text('{"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}\n{"prompt":')
>>> for row in read(path):
...     rejected = isinstance(row, RejectedRow)
...     print(row.line, row.reason if rejected else row.cases[0].feedback[0].kind)
1 preference
2 not JSON: EOF while parsing a value at column 10
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from backtalk.errors import RecordError
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Message, Prompt
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.record import explain
from backtalk.formats.format import (
    Format,
    Parsed,
    Preprocess,
    RowData,
    get_format,
    recognise,
    unread_column_mend,
)
from backtalk.formats.readers import (
    Meter,
    Progress,
    RejectedRow,
    Row,
    Source,
    find_sources,
    read_rows,
)
from backtalk.formats.text_pairs import TextPair

if TYPE_CHECKING:
    from backtalk.formats.mapping import RowMapping

OWN_FORMAT = "backtalk"
"""Name of Backtalk's own layout."""
RECOGNITION_ROWS = 20
"""Number of rows that are inspected to recognise a format."""


class ParsedRow(NamedTuple):
    """Content of a row."""

    source: str
    """Name of the file, ``"stdin"`` for standard input."""
    line: int
    """Number from 1: of the line in JSON lines, CSV and TSV, otherwise of the row."""
    cases: tuple[Case, ...]
    feedback: tuple[AnyFeedback, ...] = ()
    """Feedback that is not about an interaction."""


def read(
    path: str | Path,
    *,
    format: str | RowMapping | Format | None = None,  # noqa: A002 - the usual name of the option
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Iterator[ParsedRow | RejectedRow]:
    """Read feedback lazily and in constant memory.

    Each row yields one ``ParsedRow`` or one ``RejectedRow``, except in formats that combine
    several rows. Ids are determined by content: reading a file twice gives the same records.

    Parameters
    ----------
    path : str or Path
        A file, a folder, or ``"-"`` for standard input: JSON lines, JSON, CSV, TSV, Parquet
        or inspect_ai's ``.eval``, plain or compressed with gzip or Zstandard.
    format : str, RowMapping or Format, optional
        Name of a format, a mapping, or a ``Format``. By default the format of each file is
        recognised by its first rows.
    options : mapping of str to Any, optional
        Options of the format; values may be texts.
    progress : callable, optional
        Called with the number of bytes read and the total, ``None`` for standard input.

    Raises
    ------
    BacktalkError
        If there is nothing to read, there is no such format or option, or, while reading, the
        format of a file is not recognised.
    """
    inputs = find_sources(path)
    chosen = named_format(format)
    parse = None if chosen is None else chosen.parser(options)
    meter = Meter(progress, inputs)
    return chain.from_iterable(
        _read_source(source, meter, chosen, parse, options) for source in inputs
    )


def named_format(format: str | RowMapping | Format | None) -> Format | None:  # noqa: A002
    """Return the format of a name or a mapping, ``None`` if it is to be recognised.

    Raises
    ------
    UnknownName
        If there is no format of that name.
    """
    if format is None or isinstance(format, Format):
        return format
    if isinstance(format, str):
        return get_format(format)
    from backtalk.formats.mapping import mapping_format  # noqa: PLC0415 - slow, not always needed

    return mapping_format(format)


def recognised_format(
    first_rows: list[Row], options: Mapping[str, Any] | None
) -> tuple[Format, Callable[[RowData], Iterable[Parsed]]]:
    """Return the format of an input and its parser, which rejects rows with an unread column.

    Parameters
    ----------
    first_rows : list of Row
        First valid rows, at least one.
    options : mapping of str to Any or None
        Options of the format.

    Raises
    ------
    BacktalkError
        If the format is not recognised, or has no such option.
    """
    chosen = recognise(first_rows[:RECOGNITION_ROWS])
    return chosen, _strict(chosen, chosen.parser(options))


def _read_source(
    source: Source,
    meter: Meter,
    chosen: Format | None,
    parse: Callable[[RowData], Iterable[Parsed]] | None,
    options: Mapping[str, Any] | None,
) -> Iterator[ParsedRow | RejectedRow]:
    rows = read_rows(source, meter)
    if chosen is None:
        first_rows, rows = _peek(rows)
        if first_rows:
            chosen, parse = recognised_format(first_rows, options)
    if chosen is None or parse is None:
        for row in rows:
            if isinstance(row, RejectedRow):
                yield row
        return
    preprocess: Preprocess = chosen.preprocess or iter
    is_own = chosen.name == OWN_FORMAT
    for row in preprocess(rows):
        yield row if isinstance(row, RejectedRow) else parse_row(row, parse, own=is_own)


def _strict(
    chosen: Format, parse: Callable[[RowData], Iterable[Parsed]]
) -> Callable[[RowData], Iterable[Parsed]]:
    """Return a parser that rejects rows with a column that has a meaning and is not read."""
    columns = chosen.columns
    if columns is None:
        return parse

    def parse_strictly(row: RowData) -> Iterable[Parsed]:
        if not row.keys() <= columns and (names := chosen.unread_columns(row)):
            raise RecordError(
                f"{names[0]}: format {chosen.name!r} does not read this column",
                unread_column_mend(chosen, row, names[0]),
            )
        return parse(row)

    return parse_strictly


def _peek(
    rows: Iterator[Row | RejectedRow],
) -> tuple[list[Row], Iterator[Row | RejectedRow]]:
    """Return the first valid rows, and an iterator over all rows."""
    seen: list[Row | RejectedRow] = []
    valid: list[Row] = []
    for row in rows:
        seen.append(row)
        if isinstance(row, Row):
            valid.append(row)
        if len(valid) == RECOGNITION_ROWS:
            break
    return valid, chain(seen, rows)


def parse_row(
    row: Row, parse: Callable[[RowData], Iterable[Parsed]], *, own: bool = False
) -> ParsedRow | RejectedRow:
    """Parse one row, and check that its prompt has a text and its feedback fits its interaction.

    Parameters
    ----------
    row : Row
        Row to parse.
    parse : Callable[[RowData], Iterable[Parsed]]
        Parser of the format.
    own : bool, default False
        True for Backtalk's own layout, which also holds recorded prompts without a text.
    """
    try:
        cases: list[Case] = []
        feedback: list[AnyFeedback] = []
        for content in parse(row.data):
            if isinstance(content, TextPair):
                if not content.prompt_text.strip():
                    raise _empty_prompt()
                cases.append(content)
            elif isinstance(content, Case):
                if not own and _is_empty(content.interaction.prompt):
                    raise _empty_prompt()
                for item in content.feedback:
                    item.check(content.interaction)
                cases.append(content)
            else:
                feedback.append(content)
    except RecordError as error:
        return RejectedRow(row.source, row.line, str(error), row.data)
    except ValidationError as error:
        return RejectedRow(row.source, row.line, explain(error), row.data)
    return ParsedRow(row.source, row.line, tuple(cases), tuple(feedback))


def _is_empty(prompt: Prompt) -> bool:
    """Return true if the last message is a user's and blank, or all messages are."""
    messages = prompt[-1:] if prompt and prompt[-1].role == "user" else prompt
    return all(_is_blank(message) for message in messages)


def _is_blank(message: Message) -> bool:
    parts = message.content if isinstance(message.content, tuple) else ()
    has_media = any("text" not in part for part in parts)
    return not (has_media or message.tool_calls or message.text.strip())


def _empty_prompt() -> RecordError:
    return RecordError(
        "prompt: the prompt is empty", "Write the prompt into the row, or leave the row out"
    )
