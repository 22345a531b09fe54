"""Learning in the background: in rounds, as feedback comes in. See docs/background.md."""

from backtalk.learn.background.plan import Outcome, Round, Watch
from backtalk.learn.background.watcher import Pace, Watcher

__all__ = ["Outcome", "Pace", "Round", "Watch", "Watcher"]
