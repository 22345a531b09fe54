"""Routes and views of one page."""

from backtalk.serve.pages.people.routes import section

__all__ = ["section"]
