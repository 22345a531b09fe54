"""Checks of judges: agreement with people, and bias towards position and length."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
