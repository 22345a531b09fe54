"""Routes and views of one page."""

from backtalk.serve.pages.policies.routes import section

__all__ = ["section"]
