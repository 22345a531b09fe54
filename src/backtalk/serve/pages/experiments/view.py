"""View of an experiment: the arms with their results, and the events."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from backtalk.experiments import (
    ArmPromoted,
    ArmStopped,
    ArmSummary,
    ExperimentEnded,
    ExperimentEvent,
    ExperimentReader,
    ExperimentStarted,
    ExperimentState,
    ExperimentSummary,
    make_evaluation,
    summarise,
)
from backtalk.feedback import content_id
from backtalk.promotion import Gate
from backtalk.store import Store

_MAX_READERS = 16

VERDICTS = {
    "control": "",
    "better": "better than the control",
    "worse": "worse than the control",
    "open": "undecided",
}


@dataclass(frozen=True)
class EventView:
    """Event in words."""

    event: ExperimentEvent
    text: str
    evaluation: str = ""
    """Id of the evaluation that is the evidence; empty if there is none."""


@dataclass(frozen=True)
class ExperimentView:
    """Part of the page that changes while an experiment runs."""

    summary: ExperimentSummary
    arms: tuple[ArmSummary, ...]
    events: tuple[EventView, ...]
    """Latest first."""
    announcement: str
    """Text for screen readers, which changes only with a decision."""
    digest: str
    """Digest of everything shown."""


class ExperimentReaders:
    """Cache of the readers of experiments that are viewed, which continue where they ended.

    Thread-safe.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._readers: OrderedDict[tuple[int, str, str], _OpenReader] = OrderedDict()

    def view(self, store: Store, name: str, labels: Mapping[str, str]) -> ExperimentView:
        """Return the current view of an experiment.

        Parameters
        ----------
        store : Store
            Store of the project.
        name : str
            Name of the experiment.
        labels : Mapping[str, str]
            Labels of policies by id.

        Raises
        ------
        NotFound
            If there is no such experiment.
        """
        entry = self._reader_for(store, name)
        with entry.mutex:
            return make_view(entry.reader.refresh(), labels)

    def refusals(self, store: Store, name: str) -> dict[str, list[str] | None]:
        """Return the gate's reasons to refuse each candidate that gets traffic.

        Empty if the candidate would pass, ``None`` if there are no judgements yet.
        """
        entry = self._reader_for(store, name)
        with entry.mutex:
            state = entry.reader.refresh()
            return {arm: _reasons(state, arm) for arm in state.active_arms[1:]}

    def _reader_for(self, store: Store, name: str) -> _OpenReader:
        key = (id(store.engine), store.project, name)
        with self._mutex:
            entry = self._readers.get(key)
            # The id of a closed engine may be reused.
            if entry is None or entry.store.engine is not store.engine:
                entry = self._readers[key] = _OpenReader(store, ExperimentReader(store, name))
            self._readers.move_to_end(key)
            while len(self._readers) > _MAX_READERS:
                self._readers.popitem(last=False)
            return entry


class _OpenReader:
    def __init__(self, store: Store, reader: ExperimentReader) -> None:
        self.store = store
        self.reader = reader
        self.mutex = threading.Lock()


def _reasons(state: ExperimentState, arm: str) -> list[str] | None:
    evaluation = make_evaluation(state, arm)
    if evaluation is None:
        return None
    gate = Gate(level=state.experiment.rule.level)
    return gate.reasons(evaluation, served=state.experiment.control)


def make_view(state: ExperimentState, labels: Mapping[str, str]) -> ExperimentView:
    """Return the view of an experiment's state."""
    summary = summarise(state)
    events = tuple(_describe(event, labels) for event in reversed(state.events))
    sentences = [status_text(summary)]
    sentences += [
        f"{policy_label(arm.policy, labels)} is {VERDICTS[arm.verdict]}"
        for arm in summary.candidates
        if arm.verdict != "open"
    ]
    sentences += [events[0].text]
    return ExperimentView(
        summary,
        summary.arms,
        events,
        ". ".join(sentences),
        content_id(summary.to_json(), str(len(events)))[:12],
    )


def status_text(summary: ExperimentSummary) -> str:
    """Return the status of an experiment in words."""
    return {"running": "Running", "promoted": "Ended with a promotion", "ended": "Ended"}[
        summary.status
    ]


def policy_label(policy: str, labels: Mapping[str, str]) -> str:
    """Return the label of a policy, or the beginning of its id."""
    return labels.get(policy, policy[:8])


def _describe(event: ExperimentEvent, labels: Mapping[str, str]) -> EventView:
    payload = event.what
    if isinstance(payload, ExperimentStarted):
        arms = ", ".join(policy_label(arm, labels) for arm in payload.experiment.candidates)
        return EventView(
            event, f"Started: {arms} against {policy_label(payload.experiment.control, labels)}"
        )
    if isinstance(payload, ArmStopped):
        return EventView(
            event, f"{policy_label(payload.arm, labels)} no longer gets traffic: {payload.reason}"
        )
    if isinstance(payload, ArmPromoted):
        text = f"{policy_label(payload.arm, labels)} was promoted"
        return EventView(event, text, payload.evaluation or "")
    assert isinstance(payload, ExperimentEnded)
    return EventView(event, f"Ended: {payload.reason}")
