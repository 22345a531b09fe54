"""The inbox: tasks, the next item to judge, and the forms."""

from backtalk.serve.pages.inbox import task_admin
from backtalk.serve.pages.inbox.routes import section

__all__ = ["section", "task_admin"]
