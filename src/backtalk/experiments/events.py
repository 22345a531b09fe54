"""What happened to experiments: events in a project's journal, which nothing ever changes."""

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
"""One topic for all experiments of a project: only one of them runs at a time."""


class ExperimentStarted(Record):
    """An experiment began."""

    kind: Literal["started"] = "started"
    experiment: Experiment


class ArmStopped(Record):
    """A candidate gets no traffic any more."""

    kind: Literal["stopped"] = "stopped"
    name: Name
    arm: Name
    reason: Name
    difference: OptionalField[Estimate] = None
    """The candidate minus the control, by what it was stopped for."""


class ArmPromoted(Record):
    """A candidate is served from now on; the experiment has ended."""

    kind: Literal["promoted"] = "promoted"
    name: Name
    arm: Name
    evaluation: OptionalField[Name] = None


class ExperimentEnded(Record):
    """An experiment ended without promoting anything; the control goes on."""

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
    """An event with who caused it and when."""

    number: int
    """Its place in the journal, from 1."""
    time: datetime
    actor: str
    what: ExperimentStarted | ArmStopped | ArmPromoted | ExperimentEnded

    @property
    def name(self) -> str:
        """That of the experiment."""
        return (
            self.what.experiment.name
            if isinstance(self.what, ExperimentStarted)
            else self.what.name
        )


def read_events(store: Store, name: str | None = None) -> list[ExperimentEvent]:
    """Return the events of an experiment, or of all, the oldest first."""
    results = [
        ExperimentEvent(entry.number, entry.time, entry.actor, _EVENTS.validate_json(entry.body))
        for entry in store.events.entries(TOPIC)
    ]
    return [event for event in results if name in {None, event.name}]


def append_event(
    store: Store,
    what: ExperimentStarted | ArmStopped | ArmPromoted | ExperimentEnded,
    *,
    actor: str,
    after: int,
) -> ExperimentEvent:
    """Write an event down, if nothing happened since the one numbered ``after``.

    Raises
    ------
    Conflict
        If something did: somebody else saw the same, and wrote it down first.
    """
    entry = store.events.append(TOPIC, what.to_json(), actor=actor, after=after)
    return ExperimentEvent(entry.number, entry.time, entry.actor, what)


def running(events: list[ExperimentEvent]) -> Experiment | None:
    """Return the experiment that runs after these events, ``None`` where none does."""
    result: Experiment | None = None
    for event in events:
        if isinstance(event.what, ExperimentStarted):
            result = event.what.experiment
        elif isinstance(event.what, (ArmPromoted, ExperimentEnded)):
            result = None
    return result
