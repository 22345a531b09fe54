"""What people are asked to judge: tasks, which are opened and closed and never changed.

>>> from backtalk.store import Store
>>> with Store(":memory:") as store:
...     task = add_task(store, Task(name="Which reads better?", kind="compare"), who="ada")
...     [(listed.task.name, listed.open) for listed in list_tasks(store)]
[('Which reads better?', True)]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from backtalk.errors import Conflict, NotFound
from backtalk.feedback.record import OMIT_EMPTY, Name, OptionalField, Record, Time, new_id, repeated
from backtalk.store.store import Store

TOPIC = "tasks"
_TRIES = 20

TaskKind = Literal["compare", "rank", "rate", "thumbs", "spans", "steps", "rewrite", "critique"]
TASK_KINDS: tuple[TaskKind, ...] = get_args(TaskKind)

ASKS: dict[TaskKind, tuple[str, ...]] = {
    "compare": ("preference",),
    "rank": ("ranking",),
    "rate": ("rating",),
    "thumbs": ("label",),
    "spans": ("spans",),
    "steps": ("steps",),
    "rewrite": ("edit", "label"),
    "critique": ("critique", "instruction"),
}
"""The kinds of feedback that each way to ask brings. A rewrite that changes nothing is a label."""

_SEVERAL: frozenset[TaskKind] = frozenset({"compare", "rank"})


class TaskFilter(Record):
    """Which interactions a task is about: those for which all that is said here holds."""

    policy: OptionalField[Name] = None
    """The id of the policy that answered."""
    since: OptionalField[Time] = None
    """When it happened, or later."""
    unjudged: bool = False
    """Only where no person has given this kind of feedback before the task came to it."""
    most: OptionalField[Annotated[int, Field(gt=0, le=1_000_000_000)]] = None
    """At most so many, the oldest ones."""


class Task(Record):
    """What is asked about which interactions, and of how many people each."""

    id: Name = Field(default_factory=new_id)
    name: Name
    kind: TaskKind
    people: Annotated[int, Field(gt=0, le=1_000)] = 1
    """How many people judge an interaction."""
    which: TaskFilter = TaskFilter()
    aspects: tuple[Name, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """What is rated."""
    labels: tuple[Name, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """What a marked span can be called."""
    guideline: str = ""
    """What the annotators are told."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for field, values, way in (
            ("aspects", self.aspects, "rate"),
            ("labels", self.labels, "spans"),
        ):
            if values and self.kind != way:
                raise ValueError(f"{field}: a task of kind {self.kind!r} has none, only {way!r}")
            if not values and self.kind == way:
                raise ValueError(f"{field}: a task of kind {way!r} names at least one")
            if (twice := repeated(values)) is not None:
                raise ValueError(f"{field}: {twice!r} is named twice")
            if len(values) > 9:
                raise ValueError(f"{field}: at most 9, one a key, got {len(values)}")
        return self

    @property
    def responses(self) -> int:
        """How many responses an interaction needs to be asked about."""
        return 2 if self.kind in _SEVERAL else 1


class _Event(Record):
    """An entry of the journal."""

    action: Literal["add", "close", "open"]
    task: OptionalField[Task] = None
    id: OptionalField[Name] = None


@dataclass(frozen=True)
class TaskStatus:
    """A task and what became of it."""

    task: Task
    open: bool
    actor: str
    """Who made it."""
    time: datetime
    """When it was made."""


def add_task(store: Store, task: Task, *, actor: str) -> Task:
    """Ask people, from now on.

    Raises
    ------
    Conflict
        If an open task has the name.
    """

    def fits() -> None:
        if any(result.open and result.task.name == task.name for result in list_tasks(store)):
            raise Conflict(
                f"There is an open task {task.name!r}", "Give it another name, or close that one"
            )

    _append(store, _Event(action="add", task=task), actor=actor, fits=fits)
    return task


def close_task(store: Store, task: str, *, actor: str) -> Task:
    """Ask nobody any more; what was judged stays. Raise ``NotFound`` where there is no such task.

    Parameters
    ----------
    store : Store
        The project.
    task : str
        Its name or id.
    who
        Who decides.
    """
    return _turn(store, task, "close", actor)


def open_task(store: Store, task: str, *, actor: str) -> Task:
    """Ask again, as after ``close_task`` by mistake; raise ``NotFound`` where there is none."""
    return _turn(store, task, "open", actor)


def list_tasks(store: Store) -> list[TaskStatus]:
    """Return all tasks of a project, closed ones too, the oldest first."""
    results: dict[str, TaskStatus] = {}
    for entry in store.journal.entries(TOPIC):
        event = _Event.model_validate_json(entry.body)
        if event.task is not None:
            results[event.task.id] = TaskStatus(event.task, True, entry.actor, entry.time)
        elif event.id in results:
            old = results[event.id]
            results[event.id] = TaskStatus(old.task, event.action == "open", old.actor, old.time)
    return list(results.values())


def read_task(store: Store, task: str) -> TaskStatus:
    """Return a task by name or id, an open one first; raise ``NotFound`` for none such."""
    fitting = [found for found in list_tasks(store) if task in {found.task.id, found.task.name}]
    if not fitting:
        raise NotFound(
            f"There is no task {task!r} in project {store.project!r}",
            "`backtalk inbox list` lists them",
        )
    return max(fitting, key=lambda found: (found.open, found.time))


def _turn(store: Store, task: str, action: Literal["close", "open"], actor: str) -> Task:
    result = read_task(store, task)
    if result.open != (action == "open"):
        _append(store, _Event(action=action, id=result.task.id), actor=actor)
    return result.task


def _append(
    store: Store, event: _Event, *, actor: str, fits: Callable[[], None] | None = None
) -> None:
    """Write to the journal; two tasks may be made at once."""
    for tried in range(_TRIES):
        after = store.journal.last(TOPIC)
        if fits is not None:
            fits()
        try:
            store.journal.append(TOPIC, event.to_json(), actor=actor, after=after)
        except Conflict:
            if tried == _TRIES - 1:
                raise
        else:
            return
