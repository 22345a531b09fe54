"""The page Prompts."""

from backtalk.serve.pages.prompts.routes import section

__all__ = ["section"]
