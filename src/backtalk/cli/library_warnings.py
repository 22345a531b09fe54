"""Warnings of other libraries: kept off the screen, and logged beside the store."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FILE_NAME = "warnings.log"
"""Name of the log file, in the folder of a store's runs."""
_OWN_HANDLERS = ("transformers", "huggingface_hub")
"""Loggers to which their libraries attach a handler that prints to standard error."""
_ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",  # a fork after parallel tokenisation prints a warning
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
"""Settings of libraries that print without Python's logging; a user's own settings win."""


class _RootedLogger(logging.Logger):
    """Logger whose records reach the handlers of the root logger, and no others."""

    def addHandler(self, hdlr: logging.Handler) -> None:  # noqa: N802 - the name of the base class
        del hdlr

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, True if name == "propagate" else value)


def hide_library_warnings() -> None:
    """Print only Backtalk's own warnings, and errors of any library, to standard error.

    Called once, before other libraries are imported.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    default = logging.getLoggerClass()
    logging.setLoggerClass(_RootedLogger)
    for name in _OWN_HANDLERS:
        logging.getLogger(name)
    logging.setLoggerClass(default)
    logging.captureWarnings(capture=True)
    logging.basicConfig(format="%(message)s", level=logging.WARNING, force=True)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_for_users)


@contextmanager
def log_library_warnings(folder: Path) -> Iterator[None]:
    """Log the warnings of other libraries to a file, made with the first warning.

    Parameters
    ----------
    folder : Path
        Folder of the runs of a store.
    """
    handler = _LogFile(folder / FILE_NAME)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    handler.addFilter(lambda record: not _is_for_users(record))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


class _LogFile(logging.Handler):
    """Handler that opens its file for each record: warnings are rare."""

    def __init__(self, file: Path) -> None:
        super().__init__(logging.WARNING)
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record to the file; a folder that cannot be written to is no error."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(self.format(record) + "\n")
        except OSError:
            return


def _is_for_users(record: logging.LogRecord) -> bool:
    return record.name.split(".")[0] == "backtalk" or record.levelno >= logging.ERROR
