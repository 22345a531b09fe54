"""The page Interactions."""

from backtalk.serve.pages.interactions.routes import section

__all__ = ["section"]
