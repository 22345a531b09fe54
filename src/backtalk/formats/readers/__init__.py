"""Readers of rows from files, folders and standard input: JSON, CSV, Parquet, inspect_ai logs."""

from backtalk.formats.readers.dispatch import read_rows
from backtalk.formats.readers.files import (
    COMPRESSED_ENDINGS,
    ENDINGS,
    REJECTED,
    STDIN,
    Meter,
    Progress,
    Source,
    find_sources,
)
from backtalk.formats.readers.row import RejectedRow, Row

__all__ = [
    "COMPRESSED_ENDINGS",
    "ENDINGS",
    "REJECTED",
    "STDIN",
    "Meter",
    "Progress",
    "RejectedRow",
    "Row",
    "Source",
    "find_sources",
    "read_rows",
]
