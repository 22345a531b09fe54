"""Request log in SQLite for LiteLLM's proxy, whose own log needs Prisma.

Records are written in batches, one transaction each, on a thread.
"""

from __future__ import annotations

import json
import os
import queue
import sqlite3
import threading
from typing import Any

from litellm.integrations.custom_logger import CustomLogger  # type: ignore[import-not-found]

_BATCH_SECONDS = 0.05


class SqliteLog(CustomLogger):  # type: ignore[misc]
    """Logger that writes LiteLLM's standard logging objects."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Queue the standard logging object of a request.

        Parameters
        ----------
        kwargs : dict[str, Any]
            Fields of the request, with ``standard_logging_object``.
        response_obj, start_time, end_time : Any
            Response and times, which the object has already.
        """
        del response_obj, start_time, end_time
        self._queue.put(json.dumps(kwargs["standard_logging_object"], default=str))

    def _run(self) -> None:
        connection = sqlite3.connect(self._path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE log (body TEXT)")
        pause = threading.Event()
        while True:
            rows = [(self._queue.get(),)]
            pause.wait(_BATCH_SECONDS)
            while not self._queue.empty():
                rows.append((self._queue.get(),))
            with connection:
                connection.executemany("INSERT INTO log VALUES (?)", rows)


log = SqliteLog(os.environ["PEER_LOG"])
