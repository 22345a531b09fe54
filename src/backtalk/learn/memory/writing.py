"""Writing of lessons into a memory: new entries, more evidence for known ones, and what stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import JsonValue

from backtalk.feedback import content_id
from backtalk.feedback.record import now
from backtalk.learn.memory.agreement import MIN_PEOPLE
from backtalk.learn.memory.collecting import require_lessons
from backtalk.learn.memory.lesson import KEYED_KINDS, Lesson, merge_group, normalise
from backtalk.learn.training_set import TrainingSet
from backtalk.memory import EntryKind, Memory, MemoryEntry, MemorySpec
from backtalk.memory.contradictions import contradiction, topics_of
from backtalk.policy import Lineage, Policy
from backtalk.rewards.judge_info import JudgeInfo
from backtalk.run import Run

EVERY_STATE: tuple[()] = ()
"""Condition on the state that every entry meets."""


@dataclass
class Plan:
    """Entries to add to a memory, and counts of what becomes of the lessons."""

    entries: list[MemoryEntry] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def plan_entries(lessons: Sequence[Lesson], memory: Memory, method: str) -> Plan:
    """Return the entries that a memory lacks.

    A lesson that the memory has is not added again. With more evidence it replaces its entry, with
    the evidence of both. An entry that a person forgot, undid or changed, and one that was retired,
    is left as it is.

    Parameters
    ----------
    lessons : sequence of Lesson
        Lessons, each with another key.
    memory : Memory
        Memory to write to.
    method : str
        Name of the method.
    """
    existing = memory.entries(states=EVERY_STATE)
    by_id = {entry.id: entry for entry in existing}
    by_text = {_statement(entry): entry for entry in existing if entry.state == "active"}
    plan = Plan()
    for lesson in sorted(lessons, key=_order):
        id_, latest = _latest(lesson, by_id)
        if latest is None:
            same = by_text.get(_statement(lesson))
            if same is not None and _is_known(same, lesson, method, [*existing, *plan.entries]):
                plan.counts["known"] += 1
                continue
            supersedes = () if same is None else (same.id,)
            added = lesson if same is None else _with_evidence(lesson, same)
            plan.entries.append(added.entry(method, id_, supersedes))
            plan.counts[lesson.kind if same is None else "updated"] += 1
        elif reason := _reason_to_leave(latest, lesson):
            plan.counts[reason] += 1
        else:
            merged = _with_evidence(lesson, latest)
            plan.entries.append(merged.entry(method, id_, (latest.id,)))
            plan.counts["updated"] += 1
    return plan


def write_lessons(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    lessons: Sequence[Lesson],
    *,
    method: str,
    options: dict[str, JsonValue],
    spec: dict[str, Any],
    notes: dict[str, JsonValue] | None = None,
    rewrite: dict[str, str] | None = None,
    rewards: Sequence[JudgeInfo] = (),
    may_be_empty: bool = False,
) -> Policy:
    """Write lessons into a memory, and return the policy with it.

    Parameters
    ----------
    policy : Policy
        Policy to improve.
    feedback : TrainingSet
        Feedback that the lessons were made from.
    run : Run
        Run with the seed.
    lessons : sequence of Lesson
        Lessons.
    method : str
        Name of the method.
    options : dict[str, JsonValue]
        Options of the method, for the lineage.
    spec : dict[str, Any]
        Fields of the policy's :class:`~backtalk.memory.MemorySpec`; the name is that of the
        policy's memory by default.
    notes : dict[str, JsonValue], optional
        Further notes for the lineage.
    rewrite : dict[str, str], optional
        Better wording of lessons by key, whose first wording the entry records.
    rewards : sequence of JudgeInfo, default ()
        Rewards that selected the lessons, which the promotion gate refuses as evidence.
    may_be_empty : bool, default False
        If true, a memory without an entry is a result too.

    Raises
    ------
    BacktalkError
        If the memory would be empty.
    """
    memory = memory_of(policy, feedback, spec.get("name"))
    if not may_be_empty and not memory.entries():
        require_lessons(lessons, feedback)
    plan = plan_entries(lessons, memory, method)
    entries = [_reworded(entry, lessons, rewrite or {}) for entry in plan.entries]
    revision = memory.add(entries) if entries else memory.revision
    for entry in taken_back(lessons, memory, method):
        people = _still_for(entry, [one for one in memory.entries() if one.scope.users])
        if 0 < len(people) < MIN_PEOPLE:
            scope = entry.scope.model_copy(update={"users": tuple(sorted(people))})
            memory.edit(entry.id, scope=scope, actor=method)
        else:
            memory.retire(entry.id, reason="too few people wish it now", actor=method)
        plan.counts["withdrawn: taken back by people"] += 1
    return policy.derive(
        memory=MemorySpec(**{**spec, "name": memory.name, "revision": revision}),
        lineage=Lineage(
            method=method,
            parent=policy.id,
            options={key: value for key, value in options.items() if value is not None},
            seed=run.seed,
            snapshot=feedback.snapshot,
            rewards=tuple(one for n, one in enumerate(rewards) if one not in rewards[:n]),
            time=now(),
            notes={**_notes(plan.counts), **(notes or {})},
        ),
    )


def taken_back(lessons: Sequence[Lesson], memory: Memory, method: str) -> list[MemoryEntry]:
    """Return the entries for everybody that people have taken back.

    A method made them of wishes that several people shared, and too few of them still do.

    Parameters
    ----------
    lessons : sequence of Lesson
        All lessons of the feedback.
    memory : Memory
        Memory.
    method : str
        Name of the method.
    """
    own_wishes = {_wish(lesson) for lesson in lessons if lesson.scope.users}
    common_wishes = {_wish(lesson) for lesson in lessons if not lesson.scope.users}
    shared = {_wish(lesson) for lesson in lessons if lesson.is_shared}
    read = {id_ for lesson in lessons for id_ in lesson.feedback}
    active = memory.entries()
    own = [entry for entry in active if entry.scope.users]
    return [
        entry
        for entry in active
        if entry.method == method
        and not entry.scope.users
        and len(entry.people) > 1
        and (
            (_wish(entry) in own_wishes - common_wishes and {*entry.feedback} <= read)
            or (_wish(entry) in shared and len(_still_for(entry, own)) < MIN_PEOPLE)
        )
    ]


def _wish(item: Lesson | MemoryEntry) -> tuple[str, str]:
    return normalise(item.text), item.scope.where or ""


def _still_for(entry: MemoryEntry, own: Sequence[MemoryEntry]) -> set[str]:
    """Return the people of an entry who have not said the contrary for themselves since."""
    topics = topics_of(entry.text)
    others = {
        user
        for one in own
        if one.time and entry.time and one.time > entry.time and topics & topics_of(one.text)
        if contradiction(one.text, entry.text)
        for user in one.scope.users
    }
    return {*entry.people} - others


def memory_of(policy: Policy, feedback: TrainingSet, name: str | None) -> Memory:
    """Return the memory of that name; that of the policy for ``None``, ``memory`` without one.

    Parameters
    ----------
    policy : Policy
        Policy whose memory is the default.
    feedback : TrainingSet
        Training set with the store.
    name : str or None
        Name of the memory.
    """
    own = policy.memory.name if policy.memory else "memory"
    return Memory(feedback.store, name or own)


def known_feedback(memory: Memory, method: str) -> frozenset[str]:
    """Return the ids of the feedback that a method has made entries of, in any state."""
    return frozenset(
        id_
        for entry in memory.entries(states=EVERY_STATE)
        if entry.method == method
        for id_ in entry.feedback
    )


def _latest(lesson: Lesson, by_id: dict[str, MemoryEntry]) -> tuple[str, MemoryEntry | None]:
    """Return the next free id of a lesson, and the entry with the id before it."""
    id_, latest, number = lesson.key, None, 0
    while id_ in by_id:
        latest = by_id[id_]
        number += 1
        id_ = content_id(lesson.key, str(number))
    return id_, latest


def _is_known(
    entry: MemoryEntry, lesson: Lesson, method: str, existing: Sequence[MemoryEntry]
) -> bool:
    """Return true if an entry that says the same makes a lesson superfluous.

    What was said again after something else was said counts as said last.
    """
    if _evidence(entry, lesson):
        return True
    if entry.method == method:
        return False
    return not any(
        contradiction(lesson.text, other.text)
        for other in existing
        if other.time and entry.time and lesson.time and entry.time < other.time < lesson.time
    )


def _reason_to_leave(entry: MemoryEntry, lesson: Lesson) -> str | None:
    if entry.state == "forgotten":
        return "left out: forgotten by a person"
    if entry.state == "retired":
        return "left out: retired as harmful"
    if _evidence(entry, lesson):
        return "known"
    if entry.state not in {"active", "superseded"}:
        return f"left out: {entry.state} by a person"
    if normalise(entry.original or entry.text) != normalise(lesson.text):
        return "left out: changed by a person"
    return None


def _evidence(entry: MemoryEntry, lesson: Lesson) -> bool:
    """Return true if an entry has all the feedback of a lesson."""
    return {*lesson.feedback} <= {*entry.feedback}


def _with_evidence(lesson: Lesson, entry: MemoryEntry) -> Lesson:
    """Return a lesson with the evidence of an entry that says the same."""
    known = Lesson(
        entry.kind,
        lesson.text,
        entry.scope,
        entry.feedback,
        entry.interactions,
        entry.people,
        entry.confidence,
        entry.time,
    )
    # The examples of the entry come first, so that its new scope covers the old one.
    merged = replace(merge_group([known, lesson]), kind=lesson.kind, supersedes=lesson.supersedes)
    if {*entry.feedback} & {*lesson.feedback}:
        # The lesson was made from the old evidence as well, so that it does not count twice.
        merged = replace(merged, confidence=lesson.confidence)
    return merged


def _statement(item: Lesson | MemoryEntry) -> tuple[object, ...]:
    """Return what an entry or a lesson says to whom, whatever its kind and examples."""
    scope = item.scope
    inside = frozenset(scope.inside) if item.kind in KEYED_KINDS else frozenset()
    return normalise(item.text), frozenset(scope.users), scope.where or "", inside


def _order(lesson: Lesson) -> tuple[float, str]:
    return (lesson.time.timestamp() if lesson.time is not None else 0.0, lesson.key)


def _reworded(
    entry: MemoryEntry, lessons: Sequence[Lesson], rewrite: dict[str, str]
) -> MemoryEntry:
    key = next((one.key for one in lessons if one.text == entry.text and one.key in rewrite), None)
    if key is None:
        return entry
    return entry.model_copy(update={"text": rewrite[key], "original": entry.text})


_LABELS: dict[EntryKind, str] = {
    "correction": "corrections",
    "principle": "principles",
    "preference": "preferences",
    "fact": "facts",
    "instruction": "instructions",
    "case": "solved cases",
}


def _notes(counts: Counter[str]) -> dict[str, JsonValue]:
    names: dict[str, str] = {str(kind): f"new {label}" for kind, label in _LABELS.items()}
    return {names.get(name, name): count for name, count in sorted(counts.items())}
