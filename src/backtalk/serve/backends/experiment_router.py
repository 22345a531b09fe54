"""Experiments in a gateway: which arm answers a request, and the steward who decides about arms."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from sqlalchemy import select

from backtalk.errors import BacktalkError
from backtalk.experiments import (
    CONTROLLER,
    Allocation,
    Experiment,
    ExperimentReader,
    allocate,
    read_events,
    running,
    step,
)
from backtalk.experiments.events import TOPIC
from backtalk.experiments.lifecycle import served_id
from backtalk.experiments.signals import note_of
from backtalk.feedback.record import Record
from backtalk.policy import Policy, read_policy
from backtalk.serve.backends.policy_resolver import ResolvedPolicy
from backtalk.serve.interaction_log import RequestRecord
from backtalk.serve.store_connection import UNAVAILABLE, StoreConnection
from backtalk.store import Store, schema

log = logging.getLogger(__name__)

_SECONDS = 1.0
"""How often the log is read: for so long an event may go unnoticed."""
_DECIDE_SECONDS = 3.0
_FIRST_SECONDS = 5.0
"""How long the first request for a project waits for the log; then what is remembered answers."""
_LEASE_SECONDS = 30.0
_MOST_KNOWN = 10_000
"""Of so many projects it is remembered that they have no experiment, while the store is away."""

_Told = Literal["read", "away", "unknown"]


class RunningExperiment(Record):
    """An experiment that runs, as far as it takes to answer with it."""

    experiment: Experiment
    allocation: Allocation
    policies: dict[str, Policy]
    """The arms, by id."""


@dataclass(frozen=True)
class RoutedArms:
    """Who answers a request: one arm, or two in a duel."""

    arms: tuple[ResolvedPolicy, ...]
    control: ResolvedPolicy
    """Answers where nobody could choose between two."""
    propensity: float
    """The chance that it came to be these."""
    note: dict[str, Any]
    """What is kept with the interaction."""


class ExperimentRouter:
    """Divides the traffic of projects among the arms of their experiments.

    What was read last goes on while the store is away, and is remembered on disk. A background task
    reads the log every second, and does every few seconds what the experiments' rules say; of
    several processes, the one that has the lease.

    Parameters
    ----------
    keeper : StoreConnection
        The store.
    folder : Path
        Where running experiments are remembered.
    """

    def __init__(self, keeper: StoreConnection, folder: Path) -> None:
        self._keeper = keeper
        self._folder = folder / "experiments"
        self._holder = f"gateway-{secrets.token_hex(8)}"
        self._known: dict[str, RunningExperiment | None] = {}
        self._reading: dict[str, asyncio.Task[_Told]] = {}
        self._followers: dict[str, tuple[Store, ExperimentReader]] = {}
        self._mutex = threading.Lock()
        self._decided = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read and to decide."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End the background task, and give the lease up."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for project, state in self._known.items():
            if state is not None:
                with contextlib.suppress(*UNAVAILABLE, BacktalkError):
                    await asyncio.to_thread(self._give_up, project)

    async def draw(self, project: str, exchange: RequestRecord) -> RoutedArms | None:
        """Return who answers a request to a project, ``None`` where no experiment runs."""
        if project not in self._known:
            await self._first(project)
        result = self._known.get(project)
        if result is None:
            return None
        option = result.allocation.draw(_unit(result.experiment, exchange))
        artifacts = self._keeper.artifacts()
        return RoutedArms(
            arms=tuple(ResolvedPolicy(result.policies[arm], artifacts) for arm in option.arms),
            control=ResolvedPolicy(result.policies[result.experiment.control], artifacts),
            propensity=option.probability,
            note=note_of(result.experiment.name, result.allocation.probabilities),
        )

    async def _first(self, project: str) -> None:
        """Read a project's experiment, or fall back on what is remembered."""
        if project not in self._reading:
            reading = asyncio.create_task(asyncio.to_thread(self._read_first, project))
            self._reading[project] = reading
            reading.add_done_callback(lambda _: self._reading.pop(project, None))
        reading = self._reading[project]
        await asyncio.wait([reading], timeout=_FIRST_SECONDS)
        is_away = not reading.done() or reading.result() == "away"
        if is_away and project not in self._known and len(self._known) < _MOST_KNOWN:
            self._known[project] = self._recall(project)

    def _read_first(self, project: str) -> _Told:
        try:
            if project not in self._keeper.store().projects():
                return "unknown"
            self._read(project)
        except (*UNAVAILABLE, BacktalkError) as error:
            log.warning("The experiments of %s could not be read: %s", project, error)
            return "away"
        return "read"

    async def _run(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._look)
            except (*UNAVAILABLE, BacktalkError) as error:
                log.info("The experiments could not be looked at: %s", error)
            except Exception:
                log.exception("The steward stumbled")
            await asyncio.sleep(_SECONDS)

    def _look(self) -> None:
        """Read what is new of all experiments, and decide where that is due."""
        due = time.monotonic() - self._decided >= _DECIDE_SECONDS
        for project in self._projects():
            self._read(project, decide=due)
        if due:
            self._decided = time.monotonic()

    def _read(self, project: str, *, decide: bool = False) -> None:
        with self._mutex:
            store = self._keeper.store(project)
            experiment = running(read_events(store))
            if experiment is not None and decide and self._leads(store):
                step(store, self._follower(store, experiment.name), actor=CONTROLLER)
                experiment = running(read_events(store))
            result = None if experiment is None else self._running(store, experiment)
            if result != self._known.get(project) or project not in self._known:
                self._remember(project, result)
            self._known[project] = result

    def _running(self, store: Store, experiment: Experiment) -> RunningExperiment | None:
        """Return what it takes to answer; nothing, once something else than the control is served.

        A rollback or promotion by hand counts at once, before the steward writes the end down.
        """
        if served_id(store) != experiment.control:
            return None
        state = self._follower(store, experiment.name).refresh()
        before = self._known.get(store.project)
        policies = {} if before is None else before.policies
        return RunningExperiment(
            experiment=experiment,
            allocation=allocate(state),
            policies={
                arm: policies[arm] if arm in policies else read_policy(store, arm)
                for arm in experiment.arms
            },
        )

    def _follower(self, store: Store, name: str) -> ExperimentReader:
        kept = self._followers.get(store.project)
        if kept is None or kept[0] is not store or kept[1].state.experiment.name != name:
            kept = self._followers[store.project] = (store, ExperimentReader(store, name))
        return kept[1]

    def _leads(self, store: Store) -> bool:
        return store.leases.acquire(TOPIC, self._holder, _LEASE_SECONDS) is not None

    def _give_up(self, project: str) -> None:
        self._keeper.store(project).leases.release(TOPIC, self._holder)

    def _projects(self) -> list[str]:
        """Return the projects that ever had an experiment."""
        table, projects = schema.journal, schema.projects
        query = (
            select(projects.c.name)
            .join(table, table.c.project == projects.c.id)
            .where(table.c.topic == TOPIC)
            .distinct()
        )
        with self._keeper.store().engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def _remember(self, project: str, found: RunningExperiment | None) -> None:
        path = self._path(project)
        with contextlib.suppress(OSError):
            if found is None:
                path.unlink(missing_ok=True)
                return
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_text(found.to_json(), encoding="utf-8")

    def _recall(self, project: str) -> RunningExperiment | None:
        try:
            return RunningExperiment.model_validate_json(
                self._path(project).read_text(encoding="utf-8")
            )
        except (OSError, ValueError):
            return None

    def _path(self, project: str) -> Path:
        return self._folder / f"{quote(project, safe='')}.json"


def _unit(experiment: Experiment, exchange: RequestRecord) -> str | None:
    """Return who keeps an arm, ``None`` where each request draws anew."""
    named = {"request": None, "session": exchange.session, "user": exchange.user}[experiment.unit]
    return f"{experiment.unit}:{named}" if named else None
