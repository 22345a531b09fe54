"""The page Learned."""

from backtalk.serve.pages.lessons.routes import section

__all__ = ["section"]
