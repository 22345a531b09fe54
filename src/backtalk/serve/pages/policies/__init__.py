"""The page Policies."""

from backtalk.serve.pages.policies import editor
from backtalk.serve.pages.policies.routes import section

__all__ = ["editor", "section"]
