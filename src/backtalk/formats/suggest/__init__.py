"""Suggestions of a mapping for a table, from the names and values of its columns.

>>> suggest_line({"prompt": "Open?", "completion": "Go away.", "thumb": "down"}, "thumb")
'{prompt: prompt, responses: [completion], feedback: [{kind: label, column: thumb}]}'
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
