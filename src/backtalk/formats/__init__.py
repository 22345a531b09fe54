"""The layouts that feedback is imported from and exported to."""

from backtalk.formats import importers as sources
from backtalk.formats.exporters import EXPORTS, Export, Exported, export
from backtalk.formats.format import FORMATS, Format, import_format, recognise
from backtalk.formats.mapping import RowMapping, mapping_format
from backtalk.formats.read import Parsed, read
from backtalk.formats.readers import Progress, RejectedRow
from backtalk.formats.rejects import Rejects

__all__ = [
    "EXPORTS",
    "FORMATS",
    "Export",
    "Exported",
    "Format",
    "Parsed",
    "Progress",
    "RejectedRow",
    "Rejects",
    "RowMapping",
    "export",
    "import_format",
    "mapping_format",
    "read",
    "recognise",
    "sources",
]
