"""Routes and views of one page."""

from backtalk.serve.pages.interactions.routes import section

__all__ = ["section"]
