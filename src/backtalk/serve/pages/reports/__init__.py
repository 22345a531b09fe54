"""Routes and views of one page."""

from backtalk.serve.pages.reports.routes import section

__all__ = ["section"]
