"""Lists and objects in the cells of a table, written as JSON or as Python prints them.

>>> parse_cell('["Yes.", null]', "reply"), parse_cell("['Yes.', None]", "reply")
(['Yes.', None], ['Yes.', None])
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from typing import Any, TypeGuard

from pydantic_core import from_json

from backtalk.errors import RecordError

_BRACKETS = re.compile(r"""\s*(?:\[\s*(?:["'{\[\]]|null\b|None\b)|\{\s*["'}])""")


def is_json_cell(value: Any) -> TypeGuard[str]:
    """Return true if a value is a text that begins as a list or an object in JSON or Python."""
    return isinstance(value, str) and _BRACKETS.match(value) is not None


def parse_cell(text: str, path: str) -> Any:
    """Return the value that a cell's text has in JSON, or in Python's notation.

    Parameters
    ----------
    text : str
        Text of the cell.
    path : str
        Path of the cell, for error messages.

    Raises
    ------
    RecordError
        If it is neither.
    """
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        reason = str(error)
    if not _has_adjacent_texts(text):
        with suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            value = ast.literal_eval(text.strip())
            return from_json(json.dumps(value, ensure_ascii=False), allow_inf_nan=False)
    raise RecordError(
        f"{path}: neither JSON nor a Python literal: {reason}",
        "Write the column as JSON, for example with json.dumps",
    )


def read_cells(row: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return a row with the values of those columns that are lists or objects written as text.

    Parameters
    ----------
    row : dict
        Row of the table.
    names : iterable of str
        Names of the columns to look at.

    Raises
    ------
    RecordError
        If a text begins as a list or an object and cannot be parsed.
    """
    changes = {name: parse_cell(row[name], name) for name in names if is_json_cell(row.get(name))}
    return row | changes if changes else row


def read_list_cells(row: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return a row with the values of those columns that are lists written as text.

    Unlike :func:`read_cells` it takes any text in square brackets for a list: ``[1.0, 0.0]``.

    Parameters
    ----------
    row : dict
        Row of the table.
    names : iterable of str
        Names of the columns to look at.

    Raises
    ------
    RecordError
        If a text begins as a list and cannot be parsed.
    """
    changes = {
        name: parse_cell(value, name)
        for name in names
        if isinstance(value := row.get(name), str) and value.lstrip().startswith("[")
    }
    return row | changes if changes else row


def _has_adjacent_texts(text: str) -> bool:
    """Return true if texts stand side by side, as NumPy prints them; Python would join them."""
    try:
        tokens = [
            token.type
            for token in tokenize.generate_tokens(io.StringIO(text.strip()).readline)
            if token.type != tokenize.NL
        ]
    except tokenize.TokenError:
        return False
    return (tokenize.STRING, tokenize.STRING) in pairwise(tokens)
