"""Annotation tasks: questions to annotators about interactions.

A task is immutable. It can be closed and opened again.

>>> from backtalk.store import Store
>>> with Store(":memory:") as store:
...     task = add_task(store, Task(name="Which reads better?", kind="compare"), actor="ada")
...     [(status.task.name, status.open) for status in list_tasks(store)]
[('Which reads better?', True)]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from backtalk.errors import Conflict, NotFound
from backtalk.feedback.record import (
    OMIT_EMPTY,
    Name,
    OptionalField,
    Record,
    Time,
    new_id,
    repeated,
    short_ids,
)
from backtalk.store.legacy import rename_fields
from backtalk.store.store import Store

TOPIC = "tasks"
_MAX_ATTEMPTS = 20
_MAX_NAMES = 9
MAX_INTERACTIONS = 20_000
"""Maximum number of interactions that a filter names."""

TaskKind = Literal["compare", "rank", "rate", "thumbs", "spans", "steps", "rewrite", "critique"]
TASK_KINDS: tuple[TaskKind, ...] = get_args(TaskKind)

KINDS_BY_TASK: dict[TaskKind, tuple[str, ...]] = {
    "compare": ("preference",),
    "rank": ("ranking",),
    "rate": ("rating",),
    "thumbs": ("label",),
    "spans": ("spans",),
    "steps": ("steps",),
    "rewrite": ("edit", "label"),
    "critique": ("critique", "instruction"),
}
"""Kinds of feedback that each kind of task collects. An unchanged rewrite is stored as a label."""

_SEVERAL_RESPONSES: frozenset[TaskKind] = frozenset({"compare", "rank"})


class TaskFilter(Record):
    """Selection of the interactions of a task. All conditions have to hold."""

    policy: OptionalField[Name] = None
    """Id of the policy that answered. Default: any."""
    since: OptionalField[Time] = None
    """Earliest time of the interaction. Default: any."""
    unjudged: bool = False
    """If true, only interactions on which no human annotator gave this kind of feedback before
    they were assigned."""
    max_items: OptionalField[Annotated[int, Field(gt=0, le=1_000_000_000)]] = None
    """Maximum number of interactions, oldest first. Default: no limit."""
    interactions: Annotated[tuple[Name, ...], Field(max_length=MAX_INTERACTIONS)] = Field(
        default=(), exclude_if=OMIT_EMPTY
    )
    """Ids of the interactions. Default: all that match the other conditions."""

    @model_validator(mode="before")
    @classmethod
    def _rename_fields(cls, data: Any) -> Any:
        return rename_fields(data, {"most": "max_items"})


class Task(Record):
    """A question to annotators about the interactions that a filter selects."""

    id: Name = Field(default_factory=new_id)
    name: Name
    kind: TaskKind
    people: Annotated[int, Field(gt=0, le=1_000)] = 1
    """Number of annotators per interaction."""
    filter: TaskFilter = TaskFilter()
    aspects: tuple[Name, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Aspects to rate, for tasks of kind ``"rate"``."""
    labels: tuple[Name, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Labels for marked spans, for tasks of kind ``"spans"``."""
    guideline: str = ""
    """Instructions for the annotators."""

    @model_validator(mode="before")
    @classmethod
    def _rename_fields(cls, data: Any) -> Any:
        return rename_fields(data, {"which": "filter"})

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for field, values, kind in (
            ("aspects", self.aspects, "rate"),
            ("labels", self.labels, "spans"),
        ):
            if values and self.kind != kind:
                raise ValueError(
                    f"{field}: only tasks of kind {kind!r} have {field}, not {self.kind!r}"
                )
            if not values and self.kind == kind:
                raise ValueError(f"{field}: a task of kind {kind!r} needs at least one")
            if (duplicate := repeated(values)) is not None:
                raise ValueError(f"{field}: {duplicate!r} is named twice")
            if len(values) > _MAX_NAMES:
                raise ValueError(
                    f"{field}: at most {_MAX_NAMES}, one per number key, got {len(values)}"
                )
        return self

    @property
    def responses(self) -> int:
        """Minimum number of different responses of an interaction."""
        return 2 if self.kind in _SEVERAL_RESPONSES else 1


class _TaskEvent(Record):
    """Entry of the event log."""

    action: Literal["add", "close", "open"]
    task: OptionalField[Task] = None
    id: OptionalField[Name] = None


@dataclass(frozen=True)
class TaskStatus:
    """A task with its status."""

    task: Task
    open: bool
    actor: str
    """Name of the person who created the task."""
    time: datetime
    """Time of creation."""


def add_task(store: Store, task: Task, *, actor: str) -> Task:
    """Create a task, which is open at once.

    Parameters
    ----------
    store : Store
        Store of the project.
    task : Task
        New task.
    actor : str
        Name of the person who creates it.

    Raises
    ------
    Conflict
        If an open task has the same name.
    """

    def check_name() -> None:
        if any(status.open and status.task.name == task.name for status in list_tasks(store)):
            raise Conflict(
                f"There is already an open task {task.name!r}",
                "Choose another name, or close that task",
            )

    _append(store, _TaskEvent(action="add", task=task), actor=actor, check=check_name)
    return task


def close_task(store: Store, task: str, *, actor: str) -> Task:
    """Close a task. Its judgements remain.

    Parameters
    ----------
    store : Store
        Store of the project.
    task : str
        Name, id or unique beginning of the id of the task.
    actor : str
        Name of the person who closes it.

    Raises
    ------
    NotFound
        If there is no such task.
    """
    return _set_open(store, task, "close", actor)


def open_task(store: Store, task: str, *, actor: str) -> Task:
    """Open a closed task again.

    Parameters
    ----------
    store : Store
        Store of the project.
    task : str
        Name, id or unique beginning of the id of the task.
    actor : str
        Name of the person who opens it.

    Raises
    ------
    NotFound
        If there is no such task.
    """
    return _set_open(store, task, "open", actor)


def list_tasks(store: Store) -> list[TaskStatus]:
    """Return all tasks of a project, oldest first, including closed ones."""
    tasks: dict[str, TaskStatus] = {}
    for entry in store.events.entries(TOPIC):
        event = _TaskEvent.model_validate_json(entry.body)
        if event.task is not None:
            tasks[event.task.id] = TaskStatus(event.task, True, entry.actor, entry.time)
        elif event.id in tasks:
            old = tasks[event.id]
            tasks[event.id] = TaskStatus(old.task, event.action == "open", old.actor, old.time)
    return list(tasks.values())


def read_task(store: Store, task: str) -> TaskStatus:
    """Return a task by name, id or a unique beginning of its id.

    Of several tasks with the same name, an open one is returned, or else the newest.

    Raises
    ------
    NotFound
        If there is no such task.
    Conflict
        If several ids have the beginning.
    """
    statuses = list_tasks(store)
    matches = [status for status in statuses if task in {status.task.id, status.task.name}]
    if not matches and task:
        matches = [status for status in statuses if status.task.id.startswith(task)]
        if len(matches) > 1:
            ids = short_ids(status.task.id for status in matches).values()
            raise Conflict(
                f"{task!r} is the beginning of several task ids: {', '.join(ids)}",
                "Give a longer beginning",
            )
    if not matches:
        raise NotFound(
            f"There is no task {task!r} in project {store.project!r}",
            "`backtalk task list` lists the tasks",
        )
    return max(matches, key=lambda status: (status.open, status.time))


def _set_open(store: Store, task: str, action: Literal["close", "open"], actor: str) -> Task:
    status = read_task(store, task)
    if status.open != (action == "open"):
        _append(store, _TaskEvent(action=action, id=status.task.id), actor=actor)
    return status.task


def _append(
    store: Store, event: _TaskEvent, *, actor: str, check: Callable[[], None] | None = None
) -> None:
    """Append an event, and try again if another process appended one at the same time."""
    for attempt in range(_MAX_ATTEMPTS):
        after = store.events.last(TOPIC)
        if check is not None:
            check()
        try:
            store.events.append(TOPIC, event.to_json(), actor=actor, after=after)
        except Conflict:
            if attempt == _MAX_ATTEMPTS - 1:
                raise
        else:
            return
