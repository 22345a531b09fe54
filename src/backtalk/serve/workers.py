"""Several processes that serve one address, each replaced as soon as it dies."""

from __future__ import annotations

import logging
import logging.config
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any

import uvicorn
from prometheus_client import multiprocess

from backtalk.errors import BacktalkError
from backtalk.serve.observability.metrics import SHARED

log = logging.getLogger(__name__)

_LINUX = sys.platform == "linux"
_LOOK_SECONDS = 0.5
_SHORT_LIFE = 1.0
"""One that dies sooner than this is replaced only after a pause of as long."""

_FAILED = 3
"""The exit code of a process that could not start."""


def serve_with_workers(
    options: Mapping[str, Any], *, host: str, port: int, workers: int, patience: float
) -> None:
    """Serve until a signal says to end.

    Each process listens by itself where the system spreads connections evenly among those that do;
    elsewhere they share one socket.

    Parameters
    ----------
    options : Mapping[str, Any]
        Of ``uvicorn.Config``.
    host, port
        Where they listen.
    workers : int
        How many there are.
    patience : float
        Seconds that each has to end.

    Raises
    ------
    BacktalkError
        If none can start.
    """
    logging.config.dictConfig(options["log_config"])
    context: ForkServerContext | SpawnContext = multiprocessing.get_context("spawn")
    if _LINUX:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["backtalk.serve.app"])
    with _bound(host, port) as held, _signals() as ending:
        shared = None if _LINUX else held

        def start() -> BaseProcess:
            process = context.Process(target=_serve, args=(dict(options), host, port, shared))
            process.start()
            return process

        crew = {start(): time.monotonic() for _ in range(workers)}
        try:
            while not ending():
                wait([process.sentinel for process in crew], timeout=_LOOK_SECONDS)
                if not ending():
                    _replace(crew, start)
        finally:
            _end(list(crew), patience)


def _replace(crew: dict[BaseProcess, float], start: Callable[[], BaseProcess]) -> None:
    """Start another process for each that has died, unless none can start.

    That is so where one failed to, and none is older: who is older serves, or will fail too.
    """
    for process in [process for process in crew if not process.is_alive()]:
        started = crew.pop(process)
        if counts := os.environ.get(SHARED):
            multiprocess.mark_process_dead(process.pid, counts)  # type: ignore[no-untyped-call]
        code = process.exitcode
        if code == _FAILED and all(other > started for other in crew.values()):
            raise BacktalkError("The worker processes cannot start", "The log says why")
        log.warning("Process %s died with %s; another follows", process.pid, code)
        if time.monotonic() - started < _SHORT_LIFE:
            time.sleep(_SHORT_LIFE)
        crew[start()] = time.monotonic()


def _end(crew: list[BaseProcess], patience: float) -> None:
    for process in crew:
        process.terminate()
    until = time.monotonic() + patience
    for process in crew:
        process.join(max(0.0, until - time.monotonic()))
        process.kill()
        process.join()


def _serve(options: dict[str, Any], host: str, port: int, shared: socket.socket | None) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    server = uvicorn.Server(uvicorn.Config(**options, host=host, port=port))
    try:
        if shared is not None:
            server.run(sockets=[shared])
        else:
            with _bound(host, port) as own:
                server.run(sockets=[own])
    except Exception:
        log.exception("Process %s failed", os.getpid())
    finally:
        if not server.started:
            sys.exit(_FAILED)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """Hold an address on which other processes of ours may listen; to hold it is not to listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if _LINUX:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((host, port))
        yield made


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Yield what says whether a signal to end has come."""
    came = threading.Event()
    before = {
        which: signal.signal(which, lambda *_: came.set())
        for which in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield came.is_set
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
