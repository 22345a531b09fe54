"""Routing of requests to the arms of experiments, and the controller that ends experiments."""

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

from backtalk.errors import BacktalkError
from backtalk.experiments import (
    CONTROLLER,
    Allocation,
    Experiment,
    ExperimentReader,
    allocate,
    apply_rules,
    read_events,
    running,
)
from backtalk.experiments.events import TOPIC
from backtalk.experiments.lifecycle import active_policy_id
from backtalk.experiments.signals import make_note
from backtalk.feedback.record import Record
from backtalk.policy import Policy, read_policy
from backtalk.serve.backends.policy_resolver import ResolvedPolicy
from backtalk.serve.interaction_log import RequestRecord
from backtalk.serve.store_connection import UNAVAILABLE, StoreConnection
from backtalk.store import Store

log = logging.getLogger(__name__)

_REFRESH_SECONDS = 1.0
"""Interval at which the experiment log is read."""
_DECIDE_SECONDS = 3.0
_FIRST_READ_SECONDS = 5.0
"""Time limit for reading the experiment of a project's first request. Then the cache on disk is
used."""
_LEASE_SECONDS = 30.0
_MAX_PROJECTS = 10_000
"""Maximum number of projects in memory while the store is unavailable."""

_ReadStatus = Literal["read", "unavailable", "unknown project"]


class RunningExperiment(Record):
    """Running experiment with all that is needed to route requests."""

    experiment: Experiment
    allocation: Allocation
    policies: dict[str, Policy]
    """Policies of the arms, by id."""


@dataclass(frozen=True)
class RoutedArms:
    """Arms that answer a request: one, or two in a duel."""

    arms: tuple[ResolvedPolicy, ...]
    control: ResolvedPolicy
    """Policy that answers if the arms cannot."""
    propensity: float
    """Probability of the selection of these arms."""
    note: dict[str, Any]
    """Contents of the interaction's ``metadata.gateway.experiment``."""


class ExperimentRouter:
    """Router that assigns requests to the arms of running experiments.

    The state read last is used while the store is unavailable, and is cached on disk. A background
    task reads the experiment log every second. Every few seconds it applies the experiments' rules,
    in the process that holds the lease.

    Parameters
    ----------
    connection : StoreConnection
        Store.
    folder : Path
        Folder that holds the cache of running experiments.
    """

    def __init__(self, connection: StoreConnection, folder: Path) -> None:
        self._connection = connection
        self._folder = folder / "experiments"
        self._holder = f"gateway-{secrets.token_hex(8)}"
        self._running: dict[str, RunningExperiment | None] = {}
        self._reading: dict[str, asyncio.Task[_ReadStatus]] = {}
        self._readers: dict[str, tuple[Store, ExperimentReader]] = {}
        self._mutex = threading.Lock()
        self._decided_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the background task."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop the background task and release the leases."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for project, state in self._running.items():
            if state is not None:
                with contextlib.suppress(*UNAVAILABLE, BacktalkError):
                    await asyncio.to_thread(self._release_lease, project)

    async def route(self, project: str, record: RequestRecord) -> RoutedArms | None:
        """Return the arms for a request to a project, ``None`` if no experiment runs."""
        if project not in self._running:
            await self._wait_for_first_read(project)
        running_experiment = self._running.get(project)
        if running_experiment is None:
            return None
        experiment, policies = running_experiment.experiment, running_experiment.policies
        option = running_experiment.allocation.draw(_assignment_unit(experiment, record))
        artifacts = self._connection.artifacts()
        return RoutedArms(
            arms=tuple(ResolvedPolicy(policies[arm], artifacts) for arm in option.arms),
            control=ResolvedPolicy(policies[experiment.control], artifacts),
            propensity=option.probability,
            note=make_note(experiment.name, running_experiment.allocation.probabilities),
        )

    async def _wait_for_first_read(self, project: str) -> None:
        """Read a project's experiment, or fall back to the cache on disk."""
        if project not in self._reading:
            reading = asyncio.create_task(asyncio.to_thread(self._read_first, project))
            self._reading[project] = reading
            reading.add_done_callback(lambda _: self._reading.pop(project, None))
        reading = self._reading[project]
        await asyncio.wait([reading], timeout=_FIRST_READ_SECONDS)
        is_unavailable = not reading.done() or reading.result() == "unavailable"
        if is_unavailable and project not in self._running and len(self._running) < _MAX_PROJECTS:
            self._running[project] = self._read_cache(project)

    def _read_first(self, project: str) -> _ReadStatus:
        try:
            if project not in self._connection.store().projects():
                return "unknown project"
            self._read(project)
        except (*UNAVAILABLE, BacktalkError) as error:
            log.warning("The experiments of %s could not be read: %s", project, error)
            return "unavailable"
        return "read"

    async def _run(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._refresh)
            except (*UNAVAILABLE, BacktalkError) as error:
                log.info("The experiments could not be read: %s", error)
            except Exception:
                log.exception("Experiment controller error; retrying")
            await asyncio.sleep(_REFRESH_SECONDS)

    def _refresh(self) -> None:
        """Read the new events of all experiments, and apply their rules if that is due."""
        is_due = time.monotonic() - self._decided_at >= _DECIDE_SECONDS
        for project in self._projects():
            self._read(project, decide=is_due)
        if is_due:
            self._decided_at = time.monotonic()

    def _read(self, project: str, *, decide: bool = False) -> None:
        with self._mutex:
            store = self._connection.store(project)
            experiment = running(read_events(store))
            if experiment is not None and decide and self._acquire_lease(store):
                apply_rules(store, self._reader(store, experiment.name), actor=CONTROLLER)
                experiment = running(read_events(store))
            current = None if experiment is None else self._running_experiment(store, experiment)
            if current != self._running.get(project) or project not in self._running:
                self._write_cache(project, current)
            self._running[project] = current

    def _running_experiment(self, store: Store, experiment: Experiment) -> RunningExperiment | None:
        """Return the state of an experiment, ``None`` if the control is no longer active.

        A manual rollback or promotion takes effect at once, before the controller records the end.
        """
        if active_policy_id(store) != experiment.control:
            return None
        state = self._reader(store, experiment.name).refresh()
        previous = self._running.get(store.project)
        policies = {} if previous is None else previous.policies
        return RunningExperiment(
            experiment=experiment,
            allocation=allocate(state),
            policies={
                arm: policies[arm] if arm in policies else read_policy(store, arm)
                for arm in experiment.arms
            },
        )

    def _reader(self, store: Store, name: str) -> ExperimentReader:
        cached = self._readers.get(store.project)
        if cached is None or cached[0] is not store or cached[1].state.experiment.name != name:
            cached = self._readers[store.project] = (store, ExperimentReader(store, name))
        return cached[1]

    def _acquire_lease(self, store: Store) -> bool:
        return store.leases.acquire(TOPIC, self._holder, _LEASE_SECONDS) is not None

    def _release_lease(self, project: str) -> None:
        self._connection.store(project).leases.release(TOPIC, self._holder)

    def _projects(self) -> list[str]:
        """Return the projects that have had an experiment."""
        return self._connection.store().projects(topic=TOPIC)

    def _write_cache(self, project: str, experiment: RunningExperiment | None) -> None:
        path = self._path(project)
        with contextlib.suppress(OSError):
            if experiment is None:
                path.unlink(missing_ok=True)
                return
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_text(experiment.to_json(), encoding="utf-8")

    def _read_cache(self, project: str) -> RunningExperiment | None:
        try:
            return RunningExperiment.model_validate_json(
                self._path(project).read_text(encoding="utf-8")
            )
        except (OSError, ValueError):
            return None

    def _path(self, project: str) -> Path:
        return self._folder / f"{quote(project, safe='')}.json"


def _assignment_unit(experiment: Experiment, record: RequestRecord) -> str | None:
    """Return the unit that keeps its arm, ``None`` if each request is assigned separately."""
    unit = {"request": None, "session": record.session, "user": record.user}[experiment.unit]
    return f"{experiment.unit}:{unit}" if unit else None
