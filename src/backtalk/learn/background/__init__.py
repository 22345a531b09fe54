"""Learning in the background: in rounds, as feedback comes in. See docs/background.md."""

from backtalk.learn.background.spec import Outcome, Round, Watch
from backtalk.learn.background.worker import Pace, Watcher

__all__ = ["Outcome", "Pace", "Round", "Watch", "Watcher"]
