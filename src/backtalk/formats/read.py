r"""Reading feedback: from a file, a folder or standard input to a lazy stream of cases.

>>> from pathlib import Path
>>> from tempfile import mkdtemp
>>> path = Path(mkdtemp()) / "pairs.jsonl"
>>> _ = path.write_text('{"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}\n{"prompt":')
>>> for item in read(path):
...     bad = isinstance(item, RejectedRow)
...     print(item.line, item.reason if bad else item.cases[0].feedback[0].kind)
1 preference
2 not JSON: EOF while parsing a value at column 10
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from backtalk.errors import RecordError
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.record import explain
from backtalk.feedback.views import Case
from backtalk.formats.format import Data, Format, Gather, Said, named, recognise
from backtalk.formats.mapping import RowMapping, mapping_format
from backtalk.formats.readers import Meter, Progress, RejectedRow, Row, Source, rows, sources

_FIRST = 20
"""How many rows are looked at to recognise a format."""


class Parsed(NamedTuple):
    """What a row holds."""

    source: str
    line: int
    cases: tuple[Case, ...]
    feedback: tuple[AnyFeedback, ...] = ()
    """Feedback that is about no interaction."""


def read(
    path: str | Path,
    *,
    format: str | RowMapping | Format | None = None,  # noqa: A002 - as it is called everywhere
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Iterator[Parsed | RejectedRow]:
    """Read feedback lazily, at flat memory.

    Every row comes out as one ``Parsed`` or one ``RejectedRow``, but where a format puts several rows
    together into one. Ids are determined by content: reading the same thing twice gives the same
    records.

    Parameters
    ----------
    path : str | Path
        A file, a folder, or ``"-"`` for standard input: JSON lines, JSON, CSV, TSV or Parquet,
        plain or packed with gzip or Zstandard.
    format : str | RowMapping | Format, optional
        The name of a format, a mapping, or a ``Format``; each file's own by default, recognised
        by its first rows.
    options : Mapping[str, Any], optional
        Options of the format; their values may be texts.
    progress : Progress, optional
        Called with the bytes read and their total, ``None`` for standard input.

    Raises
    ------
    BacktalkError
        If there is nothing to read, there is no such format or option, or, while reading, the
        format of a file is not recognised.
    """
    inputs = sources(path)
    chosen = named(format) if isinstance(format, str) else format
    chosen = mapping_format(chosen) if isinstance(chosen, RowMapping) else chosen
    parse = None if chosen is None else chosen.parser(options)
    meter = Meter(progress, inputs)
    return chain.from_iterable(
        _read_source(source, meter, chosen, parse, options) for source in inputs
    )


def _read_source(
    source: Source,
    meter: Meter,
    chosen: Format | None,
    parse: Callable[[Data], Iterable[Said]] | None,
    options: Mapping[str, Any] | None,
) -> Iterator[Parsed | RejectedRow]:
    results = rows(source, meter)
    if chosen is None:
        first, results = _peek(results)
        if first:
            chosen = recognise(first)
            parse = chosen.parser(options)
    if chosen is None or parse is None:
        for row in results:
            if isinstance(row, RejectedRow):
                yield row
        return
    gather: Gather = chosen.gather or iter
    for row in gather(results):
        yield row if isinstance(row, RejectedRow) else parsed(row, parse)


def _peek(found: Iterator[Row | RejectedRow]) -> tuple[list[Row], Iterator[Row | RejectedRow]]:
    """Return the first good rows, and all rows."""
    seen: list[Row | RejectedRow] = []
    good: list[Row] = []
    for row in found:
        seen.append(row)
        if isinstance(row, Row):
            good.append(row)
        if len(good) == _FIRST:
            break
    return good, chain(seen, found)


def parsed(row: Row, parse: Callable[[Data], Iterable[Said]]) -> Parsed | RejectedRow:
    """Read one row, and check that what it says fits together."""
    try:
        cases: list[Case] = []
        loose: list[AnyFeedback] = []
        for said in parse(row.data):
            if isinstance(said, Case):
                for item in said.feedback:
                    item.check(said.interaction)
                cases.append(said)
            else:
                loose.append(said)
    except RecordError as error:
        return RejectedRow(row.source, row.line, str(error), row.data)
    except ValidationError as error:
        return RejectedRow(row.source, row.line, explain(error), row.data)
    return Parsed(row.source, row.line, tuple(cases), tuple(loose))
