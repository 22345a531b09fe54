"""The page Learned."""

from backtalk.serve.pages.learned.routes import section

__all__ = ["section"]
