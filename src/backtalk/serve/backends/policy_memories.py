"""Memories of policies: recall within a time limit, so that no answer fails for its memory."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backtalk.feedback import MemoryUse, Prompt, as_prompt
from backtalk.memory import MemorySpec
from backtalk.policy import Policy
from backtalk.serve.backends.background_loop import BackgroundLoop
from backtalk.serve.backends.circuit_breaker import CircuitBreaker
from backtalk.serve.observability.metrics import Metrics
from backtalk.serve.store_connection import UNAVAILABLE, StoreConnection

if TYPE_CHECKING:
    from backtalk.memory.recall import LoadedMemory, Recall

log = logging.getLogger(__name__)

_MAX_LOADED = 32
"""Maximum number of memories held in memory."""
_FAILURE_THRESHOLD = 3
"""Number of consecutive failures after which a memory is left out for a while."""
_OPEN_SECONDS = 5.0
"""Number of seconds for which a failing memory is left out. Then one request probes it."""
_PREPARE_SECONDS = 15.0
"""Time limit for reading the memory of a policy before it is served."""
_ANY_PROMPT = as_prompt("Hello")


@dataclass(frozen=True)
class Remembered:
    """Entries that a policy's memory adds to a prompt."""

    texts: tuple[str, ...] = ()
    """Texts of the entries that are shown to the model."""
    uses: tuple[MemoryUse, ...] = ()
    """Entries that apply, shown or withheld."""
    problem: str | None = None
    """Reason why the memory could not be read; ``None`` if it could, or the policy has none."""


class PolicyMemories:
    """Memories of the policies that the gateway serves, on a thread of their own.

    Parameters
    ----------
    connection : StoreConnection
        Store of the memories.
    metrics : Metrics
        Counters of recalls.
    timeout : float
        Time limit of a recall, in seconds.
    """

    def __init__(self, connection: StoreConnection, metrics: Metrics, *, timeout: float) -> None:
        self._connection = connection
        self._metrics = metrics
        self._timeout = timeout
        self._loaded: OrderedDict[tuple[str, str], LoadedMemory] = OrderedDict()
        self._breakers: dict[tuple[str, str], CircuitBreaker] = {}
        self._prepared: set[tuple[str, str]] = set()
        self._loading = threading.Lock()
        self._loop = BackgroundLoop("backtalk-memories")

    async def recall(
        self, project: str, policy: Policy, prompt: Prompt, *, user: str | None, unit: str
    ) -> Remembered:
        """Return the entries that apply to a prompt. It raises nothing.

        Parameters
        ----------
        project : str
            Project of the policy.
        policy : Policy
            Policy that answers.
        prompt : tuple of Message
            Messages of the request.
        user : str or None
            Id of the user who asks.
        unit : str
            Conversation or request. Equal units are shown the same entries.
        """
        spec = policy.memory
        if spec is None:
            return Remembered()
        breaker = self._breaker(project, spec)
        if not breaker.allow_request():
            self._metrics.count_recall("skipped", 0.0)
            return Remembered(problem="skipped, as it kept failing")
        started = time.monotonic()
        outcome, problem = "cancelled", None
        try:
            async with asyncio.timeout(self._timeout):
                recalled = await self._loop.run(self._recall(project, spec, prompt, user, unit))
            outcome = "recalled"
            return Remembered(tuple(recalled.texts), tuple(recalled.uses))
        except TimeoutError:
            outcome, problem = "timed out", f"not read within {self._timeout:g} seconds"
            log.warning("The memory of %s in project %s was %s", policy.label, project, problem)
        except Exception as error:
            outcome, problem = "failed", f"failed: {type(error).__name__}"
            log.exception("The memory of %s in project %s failed", policy.label, project)
        finally:
            _record(breaker, outcome)
            self._metrics.count_recall(outcome, time.monotonic() - started)
        return Remembered(problem=problem)

    async def prepare(self, project: str, policy: Policy) -> None:
        """Read the memory of a policy that is about to be served. It raises nothing.

        A memory is prepared once. One that takes longer is read further while others are served.
        """
        spec = policy.memory
        if spec is None or (project, spec.to_json()) in self._prepared:
            return
        self._prepared.add((project, spec.to_json()))
        try:
            async with asyncio.timeout(_PREPARE_SECONDS):
                await self._loop.run(self._recall(project, spec, _ANY_PROMPT, None, ""))
        except TimeoutError:
            log.warning("The memory of %s takes long to read", policy.label)
        except Exception:
            log.exception("The memory of %s could not be read", policy.label)

    async def _recall(
        self, project: str, spec: MemorySpec, prompt: Prompt, user: str | None, unit: str
    ) -> Recall:
        memory = await asyncio.to_thread(self._load, project, spec)
        return await memory.recall(prompt, user=user, explore=True, unit=unit)

    def _load(self, project: str, spec: MemorySpec) -> LoadedMemory:
        """Load a memory, or return it from the cache of least recently used memories.

        The entries read last are used while the store is unavailable.
        """
        from backtalk.memory.recall import LoadedMemory  # noqa: PLC0415 - imports an embedder

        key = project, spec.to_json()
        try:
            store = self._connection.store(project)
        except UNAVAILABLE:
            if key not in self._loaded:
                raise
            return self._loaded[key]
        with self._loading:
            memory = self._loaded.get(key)
            if memory is None or memory.store is not store:
                memory = self._loaded[key] = LoadedMemory(store, spec)
            self._loaded.move_to_end(key)
            while len(self._loaded) > _MAX_LOADED:
                self._loaded.popitem(last=False)
        return memory

    def _breaker(self, project: str, spec: MemorySpec) -> CircuitBreaker:
        return self._breakers.setdefault(
            (project, spec.name),
            CircuitBreaker(failure_threshold=_FAILURE_THRESHOLD, open_seconds=_OPEN_SECONDS),
        )

    def close(self) -> None:
        """Stop the thread."""
        self._loop.close()


def _record(breaker: CircuitBreaker, outcome: str) -> None:
    if outcome == "recalled":
        breaker.record_success()
    elif outcome == "cancelled":
        breaker.record_cancellation()
    else:
        breaker.record_failure()
