"""Lessons of a period: memory entries and policies that feedback led to, with their evidence."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from backtalk.errors import NotFound
from backtalk.evaluate.result import Evaluation
from backtalk.evaluate.storage import list_evaluations
from backtalk.feedback import Scope
from backtalk.memory import Memory, MemoryChange, MemoryEntry
from backtalk.policy import Policy, diff, list_policies
from backtalk.promotion import active_policy, promotion_history

if TYPE_CHECKING:
    from backtalk.store import Store

MAX_CHANGES = 2_000
"""Maximum number of changes of a memory that are read, the latest."""

_NOT_UNDOABLE = frozenset({"forgotten", "settled"})
"""Changes of entries that are not undone by themselves."""


@dataclass(frozen=True)
class EntryLesson:
    """Memory entry that was added or changed in a period."""

    memory: str
    """Name of the memory."""
    entry: MemoryEntry
    """Entry as it is now."""
    changes: Sequence[MemoryChange]
    """Its changes in the period, the latest first."""
    in_use: bool
    """True if the active policy recalls it."""

    @property
    def is_new(self) -> bool:
        """True if it was added in the period."""
        return any(change.action == "added" for change in self.changes)

    @property
    def undoable(self) -> MemoryChange | None:
        """Change that one step undoes, ``None`` if there is none."""
        if self.entry.state == "forgotten":
            return None
        return next((one for one in self.changes if one.action not in _NOT_UNDOABLE), None)

    @property
    def time(self) -> datetime:
        """Time of its last change in the period."""
        return self.changes[0].time


@dataclass(frozen=True)
class PolicyLesson:
    """Policy that a method made, or that was promoted, in a period."""

    policy: Policy
    parent: Policy | None
    sentences: Sequence[str]
    """Changes from its parent, in words."""
    evaluations: Sequence[Evaluation]
    """Its evaluations, the latest first."""
    promoted: datetime | None
    """Time of its last promotion, ``None`` if it was not promoted."""
    is_active: bool
    time: datetime


@dataclass(frozen=True)
class Lessons:
    """Lessons of a period, the latest first."""

    since: datetime
    until: datetime
    entries: Sequence[EntryLesson]
    policies: Sequence[PolicyLesson]

    @property
    def people(self) -> list[str]:
        """People whose feedback the new entries came from, sorted."""
        return sorted({name for item in self.entries for name in item.entry.people})


def lessons_between(store: Store, since: datetime, until: datetime) -> Lessons:
    """Return what was learned in a period: memory entries, and policies that methods made.

    Parameters
    ----------
    store : Store
        Store of the project.
    since : datetime
        Start of the period.
    until : datetime
        End of the period.
    """
    active = active_policy(store)
    entries = [
        item
        for name in store.memories.names()
        for item in _entries(store, name, since, until, active)
    ]
    policies = _policies(store, since, until, active)
    return Lessons(
        since,
        until,
        sorted(entries, key=lambda item: item.time, reverse=True),
        sorted(policies, key=lambda item: item.time, reverse=True),
    )


def _entries(
    store: Store, name: str, since: datetime, until: datetime, active: Policy | None
) -> list[EntryLesson]:
    memory = Memory(store, name)
    changes: dict[str, list[MemoryChange]] = {}
    for change in memory.history(limit=MAX_CHANGES):
        if since <= change.time < until:
            changes.setdefault(change.entry, []).append(change)
    spec = None if active is None else active.memory
    revision = spec.revision if spec is not None and spec.name == name else None
    holding = {} if revision is None else memory.holding(list(changes), revision)
    entries = []
    for id_, some in changes.items():
        with suppress(NotFound):  # purged since
            entries.append(EntryLesson(name, memory.get(id_), some, in_use=id_ in holding))
    return entries


def _policies(
    store: Store, since: datetime, until: datetime, active: Policy | None
) -> list[PolicyLesson]:
    policies = {policy.id: policy for policy in list_policies(store)}
    evaluations = list_evaluations(store)
    promoted = {
        record.promotion.policy: record.time
        for record in promotion_history(store)
        if record.promotion.action == "promote"
    }
    lessons = []
    for policy in policies.values():
        times = (policy.lineage.time, promoted.get(policy.id))
        within = [time for time in times if time is not None and since <= time < until]
        if policy.lineage.method == "written" or not within:
            continue
        parent = policies.get(policy.lineage.parent or "")
        lessons.append(
            PolicyLesson(
                policy,
                parent,
                [] if parent is None else diff(parent, policy),
                [item for item in reversed(evaluations) if item.candidate == policy.id],
                promoted.get(policy.id),
                is_active=active is not None and active.id == policy.id,
                time=max(within),
            )
        )
    return lessons


def describe_scope(scope: Scope) -> str:
    """Return whom and where a scope applies to, in words; empty if it applies always.

    >>> describe_scope(Scope(users=("ada", "bo"), inside=("Write to my boss",)))
    'for ada and bo, for requests like "Write to my boss"'
    """
    parts = []
    if scope.users:
        parts.append(f"for {_join(scope.users)}")
    if scope.where is not None:
        parts.append(scope.where)
    if scope.inside:
        parts.append(f"for requests like {_join([_quote(text) for text in scope.inside])}")
    if scope.outside:
        parts.append(f"not for requests like {_join([_quote(text) for text in scope.outside])}")
    return ", ".join(parts)


_MAX_LISTED = 3
"""Maximum number of users or requests that are named; the others are counted."""
_MAX_QUOTED = 80


def _join(items: Sequence[str]) -> str:
    listed = [*items[:_MAX_LISTED]]
    if len(items) > _MAX_LISTED:
        listed.append(f"{len(items) - _MAX_LISTED} more")
    return " and ".join([", ".join(listed[:-1]), listed[-1]] if listed[1:] else listed)


def _quote(text: str) -> str:
    short = " ".join(text.split())
    return f'"{short if len(short) <= _MAX_QUOTED else short[: _MAX_QUOTED - 1] + "…"}"'
