"""Import and export formats: reading feedback from files, and writing it."""

from backtalk.formats.exporters import EXPORTS, ExportFormat, ExportResult, export
from backtalk.formats.format import FORMATS, Format, import_format, recognise
from backtalk.formats.mapping import RowMapping, mapping_format
from backtalk.formats.read import ParsedRow, read
from backtalk.formats.readers import Progress, RejectedRow
from backtalk.formats.rejects import Rejects

__all__ = [
    "EXPORTS",
    "FORMATS",
    "ExportFormat",
    "ExportResult",
    "Format",
    "ParsedRow",
    "Progress",
    "RejectedRow",
    "Rejects",
    "RowMapping",
    "export",
    "import_format",
    "mapping_format",
    "read",
    "recognise",
]
