"""The page Memory."""

from backtalk.serve.pages.memory.routes import section

__all__ = ["section"]
