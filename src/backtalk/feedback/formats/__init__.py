"""The layouts that feedback is imported from and exported to."""

from backtalk.feedback.formats import sources
from backtalk.feedback.formats.exports import EXPORTS, Export, Exported, export
from backtalk.feedback.formats.format import FORMATS, Format, import_format, recognise
from backtalk.feedback.formats.mapping import RowMapping, mapping_format
from backtalk.feedback.formats.read import Parsed, read
from backtalk.feedback.formats.rejects import Rejects
from backtalk.feedback.formats.rows import BadRow, Progress

__all__ = [
    "EXPORTS",
    "FORMATS",
    "BadRow",
    "Export",
    "Exported",
    "Format",
    "Parsed",
    "Progress",
    "Rejects",
    "RowMapping",
    "export",
    "import_format",
    "mapping_format",
    "read",
    "recognise",
    "sources",
]
