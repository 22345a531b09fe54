"""The inbox: what to judge next, and the ways to answer."""

from backtalk.serve.pages.inbox import task_admin as making
from backtalk.serve.pages.inbox.routes import section

__all__ = ["making", "section"]
