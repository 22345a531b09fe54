"""Background thread that writes the log to the store: in batches, in order, each record once."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

from backtalk.feedback import AnyFeedback, Interaction
from backtalk.serve.durability.codec import LogRecord, decode_line, encode_line
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

logger = logging.getLogger(__name__)

LOG_FOLDER = "write_ahead_log"
OLD_LOG_FOLDER = "spool"
"""Folder name of the previous version. Logs in it are still written to the store."""

_BATCH_SIZE = 1_000
_BATCH_SECONDS = 0.05
"""Delay before a batch is written, so that many records share a transaction. The records are
already safe in the log."""
_URGENT_BATCH_SECONDS = 0.001
"""Delay before a batch is written if a caller waits for the result."""
_MAX_REST_SECONDS = 0.02
"""Maximum delay after a batch. The writer rests three times as long as the batch took, so that
under load several callers share a transaction."""
_IDLE_SECONDS = 1.0
_MAX_BACKOFF_SECONDS = 2.0
_COMPACT_SECONDS = 1.0
_RESOLVE_PENDING_SECONDS = 2.0
_ADOPT_SECONDS = 10.0

Acknowledgement = Future[WriteResult | None]
"""Result of a record; ``None`` if it is queued on disk because the store is unavailable."""


class StoreWriter:
    """Appends records to the write-ahead log and writes them to the store on a thread.

    Parameters
    ----------
    connection : StoreConnection
        Store.
    folder : Path
        Folder that holds the logs of all processes and the dead-letter file.
    max_bytes : int
        Maximum size of the log in bytes.
    metrics : Metrics
        Counters of written records.
    """

    def __init__(
        self, connection: StoreConnection, folder: Path, *, max_bytes: int, metrics: Metrics
    ) -> None:
        self._connection = connection
        self._folder = folder
        self._metrics = metrics
        self.dead_letters = DeadLetterFile(folder)
        self.log = open_own_log(folder / LOG_FOLDER, max_bytes=max_bytes)
        self._acknowledgements: dict[LogPosition, Acknowledgement] = {}
        self._mutex = threading.Lock()
        self._wake = threading.Event()
        self._urgent = threading.Event()
        self._closing = threading.Event()
        self._stream_writer: tuple[int, StreamWriter] | None = None
        self._rest_until = float("-inf")
        self._pending_resolved = self._adopted = self._compacted = float("-inf")
        self.store_unavailable = False
        """If true, the store could not be reached at the last attempt."""
        self._thread = threading.Thread(target=self._run, name="backtalk-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def append_interaction(self, project: str, interaction: Interaction) -> None:
        """Append an interaction. It survives the death of the process once this returns.

        Raises
        ------
        WriteAheadLogFull
            If there is no room.
        """
        self.log.append([encode_line(project, interaction)])
        self._wake.set()

    def append_feedback(self, records: Sequence[tuple[str, AnyFeedback]]) -> list[Acknowledgement]:
        """Append feedback atomically and return a future for the result of each record.

        Raises
        ------
        WriteAheadLogFull
            If there is no room.
        """
        lines = [encode_line(project, item) for project, item in records]
        acknowledgements: list[Acknowledgement] = [Future() for _ in lines]
        with self._mutex:
            positions = self.log.append(lines)
            self._acknowledgements.update(zip(positions, acknowledgements, strict=True))
        self._wake_urgently()
        return acknowledgements

    def write_soon(self) -> None:
        """Write the records without waiting for more of them."""
        self._wake_urgently()

    def drain(self, timeout: float) -> bool:
        """Wait until all records are in the store, at most ``timeout`` seconds.

        Returns
        -------
        bool
            True if all records are in the store.
        """
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if self.log.drained:
                return True
            self._wake_urgently()
            time.sleep(0.01)
        return self.log.drained

    def compact(self) -> None:
        """Remove the stored records from the log now."""
        self.log.compact()

    def close(self, timeout: float) -> None:
        """Write pending records for up to ``timeout`` seconds; the rest stays on disk."""
        self.drain(timeout)
        self._closing.set()
        self._wake_urgently()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self.log.close()

    def _wake_urgently(self) -> None:
        self._urgent.set()
        self._wake.set()

    def _wait_for_batch(self, backoff: float) -> None:
        """Wait for records, then for more of them. While the store is unavailable, back off."""
        if backoff:
            self._closing.wait(backoff)
        else:
            self._wake.wait(_IDLE_SECONDS)
            self._urgent.wait(_BATCH_SECONDS)
            rest = self._rest_until - time.monotonic()
            time.sleep(max(rest, _URGENT_BATCH_SECONDS))
        self._wake.clear()
        self._urgent.clear()

    def _run(self) -> None:
        backoff = 0.0
        while not self._closing.is_set():
            self._wait_for_batch(backoff)
            started = time.monotonic()
            try:
                self._write_logs()
            except UNAVAILABLE as error:
                backoff = min(max(2 * backoff, 0.05), _MAX_BACKOFF_SECONDS)
                self._on_unavailable(error)
            except Exception:
                backoff = _MAX_BACKOFF_SECONDS
                logger.exception("Writer thread error; retrying")
            else:
                backoff = 0.0
            self._update_gauges()
            ended = time.monotonic()
            self._rest_until = ended + min(3 * (ended - started), _MAX_REST_SECONDS)

    def _write_logs(self) -> None:
        if self._is_due("_adopted", _ADOPT_SECONDS):
            for orphan in self._orphaned_logs():
                try:
                    self._write_log(orphan)
                finally:
                    orphan.close()
        self._write_log(self.log)
        if self._is_due("_pending_resolved", _RESOLVE_PENDING_SECONDS):
            self._metrics.feedback_pending.set(self._current_stream_writer().resolve_pending())
            self._move_rejected_to_dead_letters()
        if self._is_due("_compacted", _COMPACT_SECONDS):
            self.log.compact()

    def _orphaned_logs(self) -> Iterator[WriteAheadLog]:
        for name in (OLD_LOG_FOLDER, LOG_FOLDER):
            yield from orphaned_logs(self._folder / name)

    def _is_due(self, name: str, interval: float) -> bool:
        if time.monotonic() - getattr(self, name) < interval:
            return False
        setattr(self, name, time.monotonic())
        return True

    def _write_log(self, log: WriteAheadLog) -> None:
        while not self._closing.is_set():
            lines = log.read(max_lines=_BATCH_SIZE)
            if not lines:
                return
            is_own = log is self.log
            for line, result in self._write_lines(lines):
                if is_own:
                    self._acknowledge(line.start, result)
            log.advance(lines[-1].end)
            if self.store_unavailable:
                self.store_unavailable = False
                logger.warning("The store is available again")
            if is_own and len(lines) < _BATCH_SIZE:
                return  # records that arrived meanwhile share the next transaction

    def _write_lines(self, lines: Sequence[LogLine]) -> list[tuple[LogLine, WriteResult]]:
        decoded, results = [], []
        for line in lines:
            try:
                if line.text is None:
                    raise ValueError("the line is damaged")  # noqa: TRY301 - handled like the others
                decoded.append((line, decode_line(line.text)))
            except ValueError as error:
                self._add_dead_letter(repr(line.text), str(error))
                results.append((line, WriteResult("rejected", str(error))))
        written = self._write([record for _, record in decoded])
        return results + [(line, r) for (line, _), r in zip(decoded, written, strict=True)]

    def _write(self, records: list[tuple[str, LogRecord]]) -> list[WriteResult]:
        if not records:
            return []
        try:
            results = self._current_stream_writer().write(records)
        except UNSTORABLE as error:
            if len(records) == 1:
                return [self._reject(*records[0], error)]
            return [result for record in records for result in self._write([record])]
        self._move_rejected_to_dead_letters()
        for (project, record), result in zip(records, results, strict=True):
            self._count(project, record, result)
        return results

    def _reject(self, project: str, record: LogRecord, error: Exception) -> WriteResult:
        reason = f"The store rejects it: {str(error).splitlines()[0]}"
        self._add_dead_letter(record.to_json(), reason, project)
        self._metrics.count_record(_kind_of(record), "rejected")
        return WriteResult("rejected", reason)

    def _count(self, project: str, record: LogRecord, result: WriteResult) -> None:
        self._metrics.count_record(_kind_of(record), result.status)
        if result.status in {"rejected", "conflict"}:
            self._add_dead_letter(record.to_json(), result.reason, project)

    def _move_rejected_to_dead_letters(self) -> None:
        writer = self._current_stream_writer()
        for rejected in writer.rejected:
            self._add_dead_letter(rejected.body, rejected.reason, rejected.project)
        writer.rejected.clear()

    def _add_dead_letter(self, record: str, reason: str, project: str = "") -> None:
        logger.warning("A record was rejected: %s", reason)
        self.dead_letters.add(record, reason, project)

    def _current_stream_writer(self) -> StreamWriter:
        store = self._connection.store()
        if self._stream_writer is None or self._stream_writer[0] != id(store.engine):
            self._stream_writer = (id(store.engine), StreamWriter(store.engine))
        return self._stream_writer[1]

    def _on_unavailable(self, error: BaseException) -> None:
        """Close the store, sync the log and acknowledge the records that callers wait for."""
        if not self.store_unavailable:
            logger.warning("The store is unavailable: %s", error)
        self.store_unavailable = True
        self._connection.close()
        self._stream_writer = None
        with self._mutex:
            acknowledgements = list(self._acknowledgements.values())
            self._acknowledgements.clear()
        if not acknowledgements:
            return
        try:
            self.log.sync()
        except OSError as failure:
            for acknowledgement in acknowledgements:
                _resolve(acknowledgement, failure)
        else:
            for acknowledgement in acknowledgements:
                _resolve(acknowledgement, None)

    def _acknowledge(self, position: LogPosition, result: WriteResult) -> None:
        with self._mutex:
            acknowledgement = self._acknowledgements.pop(position, None)
        if acknowledgement is not None:
            _resolve(acknowledgement, result)

    def _update_gauges(self) -> None:
        self._metrics.log_bytes.set(self.log.backlog)
        self._metrics.store_up.set(0 if self.store_unavailable else 1)


def _resolve(acknowledgement: Acknowledgement, result: WriteResult | OSError | None) -> None:
    with contextlib.suppress(Exception):  # the caller no longer waits
        if isinstance(result, OSError):
            acknowledgement.set_exception(result)
        else:
            acknowledgement.set_result(result)


def _kind_of(record: LogRecord) -> str:
    return "interaction" if isinstance(record, Interaction) else record.kind
