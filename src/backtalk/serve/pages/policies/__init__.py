"""The page Policies."""

from backtalk.serve.pages.policies.routes import section

__all__ = ["section"]
