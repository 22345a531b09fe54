"""Snapshot: the feedback of a store at one time, as policies and rewards refer to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

from backtalk.feedback.case import Case
from backtalk.feedback.record import Name, OptionalField, Record


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
    judges: OptionalField[tuple[Name, ...]] = None
    """Ids of the models among the annotators; ``None`` in snapshots of earlier versions."""
    prompts: OptionalField[Name] = None
    """Artifact with the keys of the prompts, for feedback that is in no store, such as a file."""

    @property
    def label(self) -> str:
        """Description in words, such as ``"the train prompts of mail"``."""
        prompts = "all prompts" if self.split == "all" else f"the {self.split} prompts"
        return f"{prompts} of {self.project}"

    def overlaps(self, other: Snapshot) -> bool:
        """Return true if the two may hold feedback on the same prompts.

        Equal digests mean equal feedback, also in two projects.
        """
        if self.is_empty or other.is_empty:
            return False
        if self.project != other.project:
            return self.digest == other.digest
        return self.split == other.split or "all" in {self.split, other.split}

    def of_feedback_only(self) -> Snapshot:
        """Return the snapshot with ``last`` 0: the same whatever else is in the store."""
        return self.model_copy(update={"last": 0})

    @property
    def is_empty(self) -> bool:
        """True if there is no feedback."""
        return not any(count for kind, count in self.counts.items() if kind != "interaction")


def take_snapshot(cases: Iterable[Case], *, project: str, split: str, last: int) -> Snapshot:
    """Return the snapshot of cases.

    Parameters
    ----------
    cases : iterable of Case
        Cases with feedback.
    project : str
        Project of the cases.
    split : str
        Split of their prompts.
    last : int
        Highest sequence number of the feedback in the store.
    """
    counts: Counter[str] = Counter()
    judges: set[str] = set()
    digest = blake2b(digest_size=16)
    for case in cases:
        counts["interaction"] += 1
        for item in case.feedback:
            counts[item.kind] += 1
            digest.update(item.id.encode())
            if item.annotator.kind == "model":
                judges.add(item.annotator.id)
    return Snapshot(
        project=project,
        split=split,
        counts=dict(sorted(counts.items())),
        digest=digest.hexdigest(),
        last=last,
        judges=tuple(sorted(judges)),
    )
