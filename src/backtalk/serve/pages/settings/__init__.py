"""The page Settings."""

from backtalk.serve.pages.settings.routes import section

__all__ = ["section"]
