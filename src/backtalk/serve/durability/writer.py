"""The one thread that hands records to the store, in batches, in order, each exactly once."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from backtalk.feedback import AnyFeedback, Interaction
from backtalk.serve.durability.codec import Record, from_line, to_line
from backtalk.serve.durability.dead_letters import DeadLetterFile
from backtalk.serve.durability.write_ahead_log import (
    LogLine,
    LogPosition,
    WriteAheadLog,
    open_own_log,
    orphaned_logs,
)
from backtalk.serve.observability.metrics import Metrics
from backtalk.serve.store_connection import UNAVAILABLE, UNSTORABLE, StoreConnection
from backtalk.store.stream_writer import StreamWriter, WriteResult

log = logging.getLogger(__name__)

_SPOOLS = "spool"
_BATCH = 1_000
_GATHER_SECONDS = 0.05
"""How long it waits for more before it writes, so that many share a transaction; what is spooled
is safe meanwhile."""
_URGENT_SECONDS = 0.001
"""The same where somebody waits to be told."""
_IDLE_SECONDS = 1.0
_LONGEST_WAIT = 2.0
_TIDY_SECONDS = 1.0
_SWEEP_SECONDS = 2.0
_ADOPT_SECONDS = 10.0

Acknowledged = Future[WriteResult | None]
"""What became of a record; ``None`` for one that is safe on disk until the store is back."""


class StoreWriter:
    """Hands what is spooled to the store.

    Parameters
    ----------
    keeper : StoreConnection
        The store.
    folder : Path
        Where the spools of all processes are.
    limit : int
        The most bytes on disk while the store is away.
    metrics : Metrics
        Counts what is written.
    """

    def __init__(
        self, keeper: StoreConnection, folder: Path, *, limit: int, metrics: Metrics
    ) -> None:
        self._keeper = keeper
        self._folder = folder
        self._metrics = metrics
        self.aside = DeadLetterFile(folder)
        self.spool = open_own_log(folder / _SPOOLS, limit=limit)
        self._expected: dict[LogPosition, Acknowledged] = {}
        self._mutex = threading.Lock()
        self._wake = threading.Event()
        self._urgent = threading.Event()
        self._closing = threading.Event()
        self._intake: tuple[int, StreamWriter] | None = None
        self._swept = self._adopted = self._tidied = float("-inf")
        self.away = False
        """Whether the store could not be reached when it was last tried."""
        self._thread = threading.Thread(target=self._run, name="backtalk-writer", daemon=True)

    def start(self) -> None:
        """Begin to hand over."""
        self._thread.start()

    def append_interaction(self, project: str, interaction: Interaction) -> None:
        """Keep an interaction. It survives the death of the process once this returns.

        Raises
        ------
        SpoolFull
            If there is no room.
        """
        self.spool.append([to_line(project, interaction)])
        self._wake.set()

    def append_feedback(self, records: Sequence[tuple[str, AnyFeedback]]) -> list[Acknowledged]:
        """Keep feedback, all or none, and return what will tell what became of each.

        Raises
        ------
        SpoolFull
            If there is no room.
        """
        lines = [to_line(project, item) for project, item in records]
        answers: list[Acknowledged] = [Future() for _ in lines]
        with self._mutex:
            places = self.spool.append(lines)
            self._expected.update(zip(places, answers, strict=True))
        self._hurry()
        return answers

    def drain(self, timeout: float) -> bool:
        """Wait until the store has got everything; return whether it has."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if self.spool.drained:
                return True
            self._hurry()
            time.sleep(0.01)
        return self.spool.drained

    def compact(self) -> None:
        """Throw away what the store has got, at once."""
        self.spool.tidy()

    def close(self, timeout: float) -> None:
        """Hand over what can be handed over in so many seconds; the rest stays on disk."""
        self.drain(timeout)
        self._closing.set()
        self._hurry()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self.spool.close()

    def _hurry(self) -> None:
        self._urgent.set()
        self._wake.set()

    def _gather(self, pause: float) -> None:
        """Wait for work, and then for more of it; while the store is away, only for a while."""
        if pause:
            self._closing.wait(pause)
        else:
            self._wake.wait(_IDLE_SECONDS)
            self._urgent.wait(_GATHER_SECONDS)
            time.sleep(_URGENT_SECONDS)
        self._wake.clear()
        self._urgent.clear()

    def _run(self) -> None:
        pause = 0.0
        while not self._closing.is_set():
            self._gather(pause)
            try:
                self._work()
            except UNAVAILABLE as error:
                pause = min(max(2 * pause, 0.05), _LONGEST_WAIT)
                self._on_unavailable(error)
            except Exception:
                pause = _LONGEST_WAIT
                log.exception("The writer stumbled")
            else:
                pause = 0.0
            self._measure()

    def _work(self) -> None:
        if self._due("_adopted", _ADOPT_SECONDS):
            for spool in orphaned_logs(self._folder / _SPOOLS):
                try:
                    self._hand_over(spool)
                finally:
                    spool.close()
        self._hand_over(self.spool)
        if self._due("_swept", _SWEEP_SECONDS):
            self._metrics.waiting.set(self._intake_now().join())
            self._set_unfit_aside()
        if self._due("_tidied", _TIDY_SECONDS):
            self.spool.tidy()

    def _due(self, name: str, every: float) -> bool:
        if time.monotonic() - getattr(self, name) < every:
            return False
        setattr(self, name, time.monotonic())
        return True

    def _hand_over(self, spool: WriteAheadLog) -> None:
        while not self._closing.is_set():
            lines = spool.read(most=_BATCH)
            if not lines:
                return
            own = spool is self.spool
            for line, outcome in self._deliver(lines):
                if own:
                    self._acknowledge(line.place, outcome)
            spool.advance(lines[-1].end)
            if self.away:
                self.away = False
                log.warning("The store is back")
            if own and len(lines) < _BATCH:
                return  # what came meanwhile shares the next transaction with what will come

    def _deliver(self, lines: Sequence[LogLine]) -> list[tuple[LogLine, WriteResult]]:
        read, done = [], []
        for line in lines:
            try:
                if line.text is None:
                    raise ValueError("the line is damaged")  # noqa: TRY301 - told with the others
                read.append((line, from_line(line.text)))
            except ValueError as error:
                self._set_aside(repr(line.text), str(error))
                done.append((line, WriteResult("refused", str(error))))
        outcomes = self._write([record for _, record in read])
        return done + [(line, o) for (line, _), o in zip(read, outcomes, strict=True)]

    def _write(self, records: list[tuple[str, Record]]) -> list[WriteResult]:
        if not records:
            return []
        try:
            outcomes = self._intake_now().take(records)
        except UNSTORABLE as error:
            if len(records) == 1:
                return [self._refuse(*records[0], error)]
            return [outcome for record in records for outcome in self._write([record])]
        self._set_unfit_aside()
        for (project, record), outcome in zip(records, outcomes, strict=True):
            self._count(project, record, outcome)
        return outcomes

    def _refuse(self, project: str, record: Record, error: Exception) -> WriteResult:
        reason = f"The store does not take it: {str(error).splitlines()[0]}"
        self._set_aside(record.to_json(), reason, project)
        self._metrics.kept(_kind(record), "refused")
        return WriteResult("refused", reason)

    def _count(self, project: str, record: Record, outcome: WriteResult) -> None:
        self._metrics.kept(_kind(record), outcome.status)
        if outcome.status in {"refused", "conflict"}:
            self._set_aside(record.to_json(), outcome.reason, project)

    def _set_unfit_aside(self) -> None:
        intake = self._intake_now()
        for unfit in intake.unfit:
            self._set_aside(unfit.body, unfit.reason, unfit.project)
        intake.unfit.clear()

    def _set_aside(self, record: str, reason: str, project: str = "") -> None:
        log.warning("A record was set aside: %s", reason)
        self.aside.add(record, reason, project)

    def _intake_now(self) -> StreamWriter:
        store = self._keeper.store()
        if self._intake is None or self._intake[0] != id(store.engine):
            self._intake = (id(store.engine), StreamWriter(store.engine))
        return self._intake[1]

    def _on_unavailable(self, error: BaseException) -> None:
        """The store is away: make what is spooled safe, and say so to who waits."""
        if not self.away:
            log.warning("The store is away: %s", error)
        self.away = True
        self._keeper.let_go()
        self._intake = None
        with self._mutex:
            answers = list(self._expected.values())
            self._expected.clear()
        if not answers:
            return
        try:
            self.spool.sync()
        except OSError as failure:
            for answer in answers:
                _tell(answer, failure)
        else:
            for answer in answers:
                _tell(answer, None)

    def _acknowledge(self, place: LogPosition, outcome: WriteResult) -> None:
        with self._mutex:
            answer = self._expected.pop(place, None)
        if answer is not None:
            _tell(answer, outcome)

    def _measure(self) -> None:
        self._metrics.spool_bytes.set(self.spool.backlog)
        self._metrics.store_up.set(0 if self.away else 1)


def _tell(answer: Acknowledged, outcome: WriteResult | OSError | None) -> None:
    with contextlib.suppress(Exception):  # nobody waits for it any more
        if isinstance(outcome, OSError):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)


def _kind(record: Record) -> str:
    return "interaction" if isinstance(record, Interaction) else record.kind
