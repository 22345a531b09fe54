"""Writing feedback in the layouts of other tools, and in Backtalk's own.

Whatever kind a piece of feedback is of, it is written if it can be seen as what the layout holds.
"""

from backtalk.formats.exporters import layouts
from backtalk.formats.exporters.export import Exported, export
from backtalk.formats.exporters.format import EXPORTS, Export, export_format

__all__ = ["EXPORTS", "Export", "Exported", "export", "export_format", "layouts"]
