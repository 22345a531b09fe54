"""Reading rows: files, folders and standard input, packed or not, JSON, CSV or Parquet."""

from backtalk.feedback.formats.rows.files import (
    ENDINGS,
    PACKED,
    REJECTED,
    STDIN,
    Meter,
    Progress,
    Source,
    sources,
)
from backtalk.feedback.formats.rows.row import BadRow, Row
from backtalk.feedback.formats.rows.walk import rows

__all__ = [
    "ENDINGS",
    "PACKED",
    "REJECTED",
    "STDIN",
    "BadRow",
    "Meter",
    "Progress",
    "Row",
    "Source",
    "rows",
    "sources",
]
