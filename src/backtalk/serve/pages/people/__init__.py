"""The page People."""

from backtalk.serve.pages.people.routes import section

__all__ = ["section"]
