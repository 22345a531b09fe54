"""The page Experiments."""

from backtalk.serve.pages.experiments.routes import section

__all__ = ["section"]
