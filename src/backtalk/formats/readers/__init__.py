"""Reading rows: files, folders and standard input, packed or not, JSON, CSV or Parquet."""

from backtalk.formats.readers.files import (
    ENDINGS,
    PACKED,
    REJECTED,
    STDIN,
    Meter,
    Progress,
    Source,
    sources,
)
from backtalk.formats.readers.row import RejectedRow, Row
from backtalk.formats.readers.walk import rows

__all__ = [
    "ENDINGS",
    "PACKED",
    "REJECTED",
    "STDIN",
    "Meter",
    "Progress",
    "RejectedRow",
    "Row",
    "Source",
    "rows",
    "sources",
]
