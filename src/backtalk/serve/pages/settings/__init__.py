"""Routes and views of one page."""

from backtalk.serve.pages.settings.routes import section

__all__ = ["section"]
