"""Counter of newly arrived feedback that a method can use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from backtalk.feedback.split import split_for
from backtalk.learn.training_set import Split
from backtalk.store import Store


class FeedbackCounter:
    """Incremental count of newly arrived feedback.

    Parameters
    ----------
    store : Store
        Store in which the feedback arrives.
    kinds : sequence of str
        Kinds of feedback to count.
    split : {"train", "held-out", "all"}
        Split of the prompts whose feedback is counted.
    after : int
        Sequence number after which feedback is counted.
    """

    def __init__(self, store: Store, kinds: Sequence[str], split: Split, *, after: int) -> None:
        self._store = store
        self._kinds = kinds
        self._split = split
        self.last = after
        """Sequence number of the last feedback item that was read."""
        self.count = 0
        self.since: datetime | None = None
        """Arrival time of the first counted item."""

    def update(self, *, before: datetime) -> None:
        """Count the feedback that arrived since the last update.

        Parameters
        ----------
        before : datetime
            End of the interval. Later feedback is left for the next update, as a transaction that
            began earlier may still insert a lower sequence number.
        """
        for arrival in self._store.arrivals(self._kinds, after=self.last):
            if arrival.received > before:
                return
            self.last = arrival.seq
            if self._split != "all" and split_for(arrival.prompt_key) != self._split:
                continue
            self.count += 1
            self.since = self.since or arrival.received
