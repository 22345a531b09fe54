"""The page Reports."""

from backtalk.serve.pages.reports.routes import section

__all__ = ["section"]
