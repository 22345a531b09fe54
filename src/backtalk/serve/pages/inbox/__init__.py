"""The inbox: what to judge next, and the ways to answer."""

from backtalk.serve.pages.inbox import making
from backtalk.serve.pages.inbox.desk import section

__all__ = ["making", "section"]
