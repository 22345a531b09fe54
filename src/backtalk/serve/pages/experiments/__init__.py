"""Routes and views of one page."""

from backtalk.serve.pages.experiments.routes import section

__all__ = ["section"]
