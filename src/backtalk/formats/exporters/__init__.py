"""Export formats: writing feedback in the layouts of other tools, and in Backtalk's own.

Feedback of any kind is written if it can be converted to the view that the layout needs.
"""

from backtalk.formats.exporters.export import ExportResult, export
from backtalk.formats.exporters.format import EXPORTS, ExportFormat, export_format

__all__ = ["EXPORTS", "ExportFormat", "ExportResult", "export", "export_format"]
