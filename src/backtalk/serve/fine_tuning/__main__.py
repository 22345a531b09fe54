"""Process of a gateway that runs fine-tuning jobs. It ends with the gateway, or when idle."""

from __future__ import annotations

import logging
import logging.config
import os
import signal
import threading
from contextlib import suppress

from backtalk.serve.fine_tuning.worker import FineTuningWorker
from backtalk.serve.observability.logs import log_config
from backtalk.serve.settings import SETTINGS_VARIABLE, Settings
from backtalk.serve.store_connection import StoreConnection, StoreUnavailable

log = logging.getLogger(__name__)

_IDLE_SECONDS = 15.0
_NICENESS = 5
"""Niceness of the process, so that requests are answered first."""


def main() -> None:
    """Run jobs until the gateway ends, a signal arrives, or there have been none for a while."""
    logging.config.dictConfig(log_config())
    with suppress(OSError, AttributeError):
        os.nice(_NICENESS)
    settings = Settings.model_validate_json(os.environ[SETTINGS_VARIABLE])
    connection = StoreConnection(settings.store, settings.state_folder)
    try:
        worker = FineTuningWorker(connection.store(settings.project), settings.fine_tuning)
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        signal.signal(signal.SIGINT, lambda *_: worker.stop())
        threading.Thread(target=_stop_with_gateway, args=[worker], daemon=True).start()
        worker.run(idle_seconds=_IDLE_SECONDS)
    except StoreUnavailable as error:
        log.warning("%s", error)
    finally:
        connection.close()


def _stop_with_gateway(worker: FineTuningWorker) -> None:
    """Stop the worker at the end of standard input, which the gateway holds open."""
    with suppress(OSError):
        # Not by sys.stdin, whose lock would outlive the main thread.
        while os.read(0, 1):
            pass
    worker.stop()


if __name__ == "__main__":
    main()
