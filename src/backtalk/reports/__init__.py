"""Reports of evaluations as self-contained HTML files, and of what was learned in a period."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
