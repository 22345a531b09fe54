"""Writing feedback in the layouts of other tools, and in Backtalk's own.

Whatever kind a piece of feedback is of, it is written if it can be seen as what the layout holds.
"""

from backtalk.feedback.formats.exports import layouts
from backtalk.feedback.formats.exports.export import Exported, export
from backtalk.feedback.formats.exports.register import EXPORTS, Export, export_format

__all__ = ["EXPORTS", "Export", "Exported", "export", "export_format", "layouts"]
