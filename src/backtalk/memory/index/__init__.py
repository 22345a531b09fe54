"""Vector index of a memory: nearest entries by cosine similarity, within a scope."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
