"""Logging as JSON lines. Message content is never logged."""

from __future__ import annotations

import atexit
import json
import logging
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

ACCESS = "backtalk.serve.access"

_FLUSH_SECONDS = 0.1
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON; ``extra={"fields": {...}}`` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return _ENCODER.encode(line)


class BufferedStderrHandler(logging.Handler):
    """Writes lines to standard error in batches; warnings and errors are written at once."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._filled = threading.Event()
        self._thread: threading.Thread | None = None
        atexit.register(self.flush)

    def emit(self, record: logging.LogRecord) -> None:
        """Add a record to the buffer."""
        try:
            self._lines.append(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - as the handlers of the standard library do
            self.handleError(record)
            return
        if record.levelno >= logging.WARNING:
            self.flush()
            return
        if not self._filled.is_set():
            self._filled.set()
        if self._thread is None or not self._thread.is_alive():  # a fork has no copy of a thread
            self._thread = threading.Thread(target=self._flush_often, daemon=True)
            self._thread.start()

    def _flush_often(self) -> None:
        while True:
            self._filled.wait()
            time.sleep(_FLUSH_SECONDS)
            self._filled.clear()
            self.flush()

    def flush(self) -> None:
        """Write the buffer."""
        with self.lock or threading.RLock():
            lines, self._lines = self._lines, []
        if lines:
            sys.stderr.write("".join(lines))
            sys.stderr.flush()


def log_config(level: str = "INFO") -> dict[str, Any]:
    """Return the logging configuration for every process of a server."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "backtalk.serve.observability.logs.JsonFormatter"}},
        "handlers": {
            "errors": {
                "class": "backtalk.serve.observability.logs.BufferedStderrHandler",
                "formatter": "json",
            }
        },
        "root": {"handlers": ["errors"], "level": "WARNING"},
        "loggers": {
            "backtalk.serve": {"level": level},
            "uvicorn": {"level": level},
        },
    }
