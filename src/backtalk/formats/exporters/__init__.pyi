from .export import ExportResult as ExportResult
from .export import export as export
from .format import EXPORTS as EXPORTS
from .format import ExportFormat as ExportFormat
from .format import export_format as export_format
