"""Execution traces: prompts, values and code as parameters of a program, learned by OptoPrime."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
