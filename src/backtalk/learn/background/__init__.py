"""Background learning: rounds that start as feedback arrives. See docs/background.md."""

from backtalk.learn.background.spec import Round, RoundOutcome, WatchSpec
from backtalk.learn.background.worker import Worker, WorkerConfig

__all__ = ["Round", "RoundOutcome", "WatchSpec", "Worker", "WorkerConfig"]
