"""Export formats: writing feedback in the layouts of other tools, and in Backtalk's own.

Feedback of any kind is written if it can be converted to the view that the layout needs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
