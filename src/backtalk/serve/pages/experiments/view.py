"""An experiment as its page shows it: arms with what they showed so far, and what was decided."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from backtalk.experiments import (
    ArmSummary,
    Ended,
    Event,
    ExperimentReader,
    Promoted,
    Started,
    State,
    Stopped,
    Summary,
    evaluation_of,
    summarise,
)
from backtalk.feedback import content_id
from backtalk.promotion import Gate
from backtalk.store import Store

_MOST_FOLLOWED = 16

VERDICTS = {
    "control": "",
    "better": "better than the control",
    "worse": "worse than the control",
    "open": "not decided yet",
}


@dataclass(frozen=True)
class Told:
    """An event in words."""

    event: Event
    text: str
    evaluation: str = ""
    """The id of the evidence, where there is a report of it."""


@dataclass(frozen=True)
class Live:
    """What changes while an experiment runs."""

    summary: Summary
    arms: tuple[ArmSummary, ...]
    told: tuple[Told, ...]
    """The latest first."""
    says: str
    """What there is to say aloud when it changes; numbers alone are none of it."""
    digest: str
    """Of everything that is shown."""


class Followers:
    """The logs of the experiments that somebody looks at, so that each is not read all over again.

    Safe between threads.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._known: OrderedDict[tuple[int, str, str], _Followed] = OrderedDict()

    def live(self, store: Store, name: str, labels: Mapping[str, str]) -> Live:
        """Return what an experiment has found until now, as it is shown.

        Raises
        ------
        NotFound
            If there is no such experiment.
        """
        followed = self._of(store, name)
        with followed.mutex:
            return live(followed.follower.refresh(), labels)

    def refusals(self, store: Store, name: str) -> dict[str, list[str] | None]:
        """Return why the gate would refuse each candidate that gets traffic.

        Empty where it would pass, ``None`` where there is nothing to judge it by yet.
        """
        followed = self._of(store, name)
        with followed.mutex:
            state = followed.follower.refresh()
            return {arm: _reasons(state, arm) for arm in state.live[1:]}

    def _of(self, store: Store, name: str) -> _Followed:
        place = (id(store.engine), store.project, name)
        with self._mutex:
            result = self._known.get(place)
            # The id of an engine that is gone may be another's by now.
            if result is None or result.store.engine is not store.engine:
                result = self._known[place] = _Followed(store, ExperimentReader(store, name))
            self._known.move_to_end(place)
            while len(self._known) > _MOST_FOLLOWED:
                self._known.popitem(last=False)
            return result


class _Followed:
    def __init__(self, store: Store, follower: ExperimentReader) -> None:
        self.store = store
        self.follower = follower
        self.mutex = threading.Lock()


def _reasons(state: State, arm: str) -> list[str] | None:
    evaluation = evaluation_of(state, arm)
    if evaluation is None:
        return None
    gate = Gate(level=state.experiment.rule.level)
    return gate.reasons(evaluation, served=state.experiment.control)


def live(state: State, labels: Mapping[str, str]) -> Live:
    """Return a state as it is shown."""
    summary = summarise(state)
    told = tuple(_told(event, labels) for event in reversed(state.events))
    said = [status(summary)]
    said += [
        f"{name(arm.policy, labels)} is {VERDICTS[arm.verdict]}"
        for arm in summary.candidates
        if arm.verdict != "open"
    ]
    said += [told[0].text]
    return Live(
        summary,
        summary.arms,
        told,
        ". ".join(said),
        content_id(summary.to_json(), str(len(told)))[:12],
    )


def status(summary: Summary) -> str:
    """Return where an experiment stands, in words."""
    return {"running": "It runs", "promoted": "It promoted a policy", "ended": "It has ended"}[
        summary.status
    ]


def name(policy: str, labels: Mapping[str, str]) -> str:
    """Return what to call a policy."""
    return labels.get(policy, policy[:8])


def _told(event: Event, labels: Mapping[str, str]) -> Told:
    what = event.what
    if isinstance(what, Started):
        arms = ", ".join(name(arm, labels) for arm in what.experiment.candidates)
        return Told(event, f"Started: {arms} against {name(what.experiment.control, labels)}")
    if isinstance(what, Stopped):
        return Told(event, f"{name(what.arm, labels)} gets no traffic any more: {what.reason}")
    if isinstance(what, Promoted):
        text = f"{name(what.arm, labels)} was promoted"
        return Told(event, text, what.evaluation or "")
    assert isinstance(what, Ended)
    return Told(event, f"Ended: {what.reason}")
