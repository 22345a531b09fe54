"""Snapshot: the feedback of a store at one time, as policies and rewards refer to it."""

from __future__ import annotations

from backtalk.feedback.record import Name, Record


class Snapshot(Record):
    """Snapshot of the feedback that a policy or a reward was learned from."""

    project: Name
    split: Name
    """Set of prompts: ``"train"``, ``"held-out"`` or ``"all"``."""
    counts: dict[str, int]
    """Number of interactions, and of feedback items of each kind."""
    digest: Name
    """Hash of the ids of all interactions and feedback, in order."""
    last: int
    """Highest sequence number of the feedback in the store at that time."""
