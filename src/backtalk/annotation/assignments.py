"""Assignment of annotation items: a fixed number of annotators per item, each at most once.

An assignment is held for a limited time. Until it expires, nobody else can take its place; then
the place is free again, as after a skip. Items with the fewest annotators come first, then the
oldest. Annotators who ask at the same time never get the same place, because the place is checked
again in a locked transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from backtalk.annotation.tasks import KINDS_BY_TASK, Task
from backtalk.errors import Conflict, NotFound
from backtalk.feedback.record import now
from backtalk.store.assignments import (
    Assignment,
    AssignmentTable,
    ItemFilter,
    LockedAssignments,
    Progress,
)
from backtalk.store.store import Store

__all__ = ["LEASE", "Assignment", "Assignments", "Progress"]

LEASE = timedelta(minutes=30)
"""Duration of an assignment."""

_MAX_ATTEMPTS = 20


class Assignments:
    """Assignments of one annotation task.

    Parameters
    ----------
    store : Store
        Store of the project.
    task : Task
        Task of the project.
    clock : Callable[[], datetime], default now
        Source of the current time.
    """

    def __init__(self, store: Store, task: Task, *, clock: Callable[[], datetime] = now) -> None:
        self._table = AssignmentTable(store, _item_filter(task), clock)

    def next(self, annotator: str) -> Assignment | None:
        """Return an annotator's open assignment, or assign the next item.

        Returns
        -------
        Assignment or None
            ``None`` if no items are left for this annotator.
        """
        for _ in range(_MAX_ATTEMPTS):
            if current := self._table.find_open(annotator):
                return current
            candidates = self._table.next_items(annotator)
            if not candidates:
                return None
            with self._table.locked() as table:
                for interaction in candidates:
                    if self._assign(table, interaction, annotator):
                        break
        return self._table.find_open(annotator)

    def renew(self, interaction: str, annotator: str) -> Assignment:
        """Renew an assignment before its answer is stored.

        Raises
        ------
        Conflict
            If the item was never assigned to the annotator, was answered already, or its
            assignment expired and others have judged it since.
        """
        with self._table.locked() as table:
            current = table.get(interaction, annotator)
            if current is None or current.state != "open":
                raise Conflict("This item is not assigned to you", "Continue with the next item")
            if not table.is_available(interaction, annotator):
                raise Conflict(
                    "Your assignment expired, and others have judged this item since",
                    "Continue with the next item",
                )
            return table.extend(interaction, annotator, lease=LEASE)

    def is_done(self, interaction: str, annotator: str) -> bool:
        """Return true if an annotator has judged an item."""
        current = self._table.find(interaction, annotator)
        return current is not None and current.state == "done"

    def complete(self, interaction: str, annotator: str, state: Literal["done", "skipped"]) -> None:
        """Mark an assignment as judged or skipped.

        Parameters
        ----------
        interaction : str
            Id of the interaction.
        annotator : str
            Name of the annotator.
        state : {"done", "skipped"}
            New state.
        """
        self._table.end(interaction, annotator, state)

    def last(self, annotator: str) -> Assignment | None:
        """Return the assignment that an annotator judged or skipped last."""
        return self._table.find_last_ended(annotator)

    def reopen(self, interaction: str, annotator: str) -> Assignment:
        """Reopen an assignment that was judged or skipped.

        Raises
        ------
        NotFound
            If the annotator did neither.
        Conflict
            If the item was skipped and has enough other annotators now.
        """
        with self._table.locked() as table:
            current = table.get(interaction, annotator)
            if current is None or current.state == "open":
                raise NotFound("There is nothing to undo", "Judge an item first")
            if not table.is_available(interaction, annotator):
                raise Conflict("Others have judged this item since", "Continue with the next item")
            return table.reopen(interaction, annotator, lease=LEASE)

    def progress(self, annotator: str) -> Progress:
        """Return the progress of the task, as seen by one annotator."""
        return self._table.progress(annotator)

    def count_identical(self) -> int:
        """Return the number of interactions left out because their responses are all the same."""
        return self._table.count_identical()

    def _assign(self, table: LockedAssignments, interaction: str, annotator: str) -> bool:
        """Assign an item if it still has room; return true on success."""
        if not table.is_new_item_allowed(interaction):
            return False
        if not table.is_available(interaction, annotator):
            return False
        current = table.get(interaction, annotator)
        if current is not None and current.state != "open":
            return False
        if current is None:
            table.insert(interaction, annotator, lease=LEASE)
        else:
            table.reopen(interaction, annotator, lease=LEASE)
        return True


def _item_filter(task: Task) -> ItemFilter:
    return ItemFilter(
        task=task.id,
        annotators=task.people,
        responses=task.responses,
        policy=task.filter.policy,
        since=task.filter.since,
        unjudged_by=KINDS_BY_TASK[task.kind] if task.filter.unjudged else (),
        max_items=task.filter.max_items,
        interactions=task.filter.interactions,
    )
