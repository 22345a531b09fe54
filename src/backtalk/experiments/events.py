"""Events of experiments in a project's event log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from backtalk.experiments.experiment import Experiment
from backtalk.feedback.record import Name, OptionalField, Record
from backtalk.stats.estimate import Estimate
from backtalk.store import Store

TOPIC = "experiment"
"""Topic of all experiments of a project, of which only one runs at a time."""


class ExperimentStarted(Record):
    """Start of an experiment."""

    kind: Literal["started"] = "started"
    experiment: Experiment


class ArmStopped(Record):
    """Removal of a candidate from the experiment."""

    kind: Literal["stopped"] = "stopped"
    name: Name
    arm: Name
    reason: Name
    difference: OptionalField[Estimate] = None
    """Difference of the candidate from the control on the signal for which it was stopped."""


class ArmPromoted(Record):
    """Promotion of a candidate, which ends the experiment."""

    kind: Literal["promoted"] = "promoted"
    name: Name
    arm: Name
    evaluation: OptionalField[Name] = None


class ExperimentEnded(Record):
    """End of an experiment without a promotion. The control remains active."""

    kind: Literal["ended"] = "ended"
    name: Name
    reason: Name


AnyEvent = Annotated[
    ExperimentStarted | ArmStopped | ArmPromoted | ExperimentEnded, Field(discriminator="kind")
]

_EVENTS: TypeAdapter[ExperimentStarted | ArmStopped | ArmPromoted | ExperimentEnded] = TypeAdapter(
    AnyEvent
)


@dataclass(frozen=True)
class ExperimentEvent:
    """Event with its time and actor."""

    number: int
    """Position in the event log, from 1."""
    time: datetime
    actor: str
    what: ExperimentStarted | ArmStopped | ArmPromoted | ExperimentEnded

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return (
            self.what.experiment.name
            if isinstance(self.what, ExperimentStarted)
            else self.what.name
        )


def read_events(store: Store, name: str | None = None) -> list[ExperimentEvent]:
    """Return the events of an experiment, or of all experiments, oldest first."""
    events = [
        ExperimentEvent(entry.number, entry.time, entry.actor, _EVENTS.validate_json(entry.body))
        for entry in store.events.entries(TOPIC)
    ]
    return [event for event in events if name in {None, event.name}]


def append_event(
    store: Store,
    what: ExperimentStarted | ArmStopped | ArmPromoted | ExperimentEnded,
    *,
    actor: str,
    after: int,
) -> ExperimentEvent:
    """Append an event if entry ``after`` is the last one.

    Parameters
    ----------
    store : Store
        Store of the project.
    what : ExperimentStarted, ArmStopped, ArmPromoted or ExperimentEnded
        Event.
    actor : str
        Name of the person or program that caused it.
    after : int
        Number of the last entry known to the caller.

    Raises
    ------
    Conflict
        If another event was appended in the meantime.
    """
    entry = store.events.append(TOPIC, what.to_json(), actor=actor, after=after)
    return ExperimentEvent(entry.number, entry.time, entry.actor, what)


def running(events: list[ExperimentEvent]) -> Experiment | None:
    """Return the experiment that is running after these events, ``None`` if none is."""
    current: Experiment | None = None
    for event in events:
        if isinstance(event.what, ExperimentStarted):
            current = event.what.experiment
        elif isinstance(event.what, (ArmPromoted, ExperimentEnded)):
            current = None
    return current


def running_experiment(store: Store) -> Experiment | None:
    """Return the running experiment of a project, ``None`` if there is none."""
    return running(read_events(store))
