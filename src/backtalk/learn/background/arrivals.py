"""How much feedback came that a method can use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from backtalk.feedback.split import split_of
from backtalk.learn.training_set import Split
from backtalk.store import Store


class FeedbackCounter:
    """Counts feedback as it comes, each piece once.

    Parameters
    ----------
    store : Store
        Where it comes.
    kinds : sequence of str
        Only such feedback.
    split : Split
        Only feedback about prompts of this split.
    after : int
        Only feedback with a higher sequence number.
    """

    def __init__(self, store: Store, kinds: Sequence[str], split: Split, *, after: int) -> None:
        self._store = store
        self._kinds = kinds
        self._split = split
        self.last = after
        """The sequence number of the last piece that was looked at."""
        self.count = 0
        self.since: datetime | None = None
        """When the first of it came."""

    def look(self, *, before: datetime) -> None:
        """Count what has come since the last look.

        Parameters
        ----------
        before : datetime
            What came later is left for the next look: a transaction that began earlier may still
            put something before it.
        """
        for arrival in self._store.arrivals(self._kinds, after=self.last):
            if arrival.received > before:
                return
            self.last = arrival.seq
            if self._split != "all" and split_of(arrival.prompt_key) != self._split:
                continue
            self.count += 1
            self.since = self.since or arrival.received
