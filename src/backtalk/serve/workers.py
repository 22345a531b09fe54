"""Supervisor of several processes that serve one address; dead processes are replaced."""

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
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from typing import Any

import uvicorn
from prometheus_client import multiprocess

from backtalk.errors import BacktalkError
from backtalk.serve.observability.metrics import MULTIPROCESS_DIRECTORY

log = logging.getLogger(__name__)

_LINUX = sys.platform == "linux"
_POLL_SECONDS = 0.5
_MIN_LIFETIME = 1.0
"""Lifetime in seconds below which a process is replaced only after a delay of the same length."""

_START_FAILED = 3
"""Exit code of a process that could not start."""


class ReadyServer(uvicorn.Server):
    """Server that says when it accepts requests, and when it no longer does.

    Parameters
    ----------
    config : uvicorn.Config
        Configuration.
    on_ready : Callable[[int], None]
        Function that receives its port.
    on_stop : Callable[[], None], optional
        Function that is called after the shutdown.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        on_ready: Callable[[int], None],
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept requests."""
        await super().startup(sockets)
        if self.started:
            self._on_ready(self.servers[0].sockets[0].getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to accept requests, and complete those in progress."""
        await super().shutdown(sockets)
        if self._on_stop is not None:  # here: the signal that stops it may end the process next
            self._on_stop()


def serve_in_process(
    options: Mapping[str, Any],
    *,
    host: str,
    port: int,
    announce: Callable[[int], None],
    on_stop: Callable[[], None],
) -> None:
    """Serve in this process until a signal to stop.

    Parameters
    ----------
    options : Mapping[str, Any]
        Options of ``uvicorn.Config``.
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 for any free one.
    announce : Callable[[int], None]
        Function that receives the port once requests are accepted.
    on_stop : Callable[[], None]
        Function that is called after the shutdown.

    Raises
    ------
    BacktalkError
        If the server cannot start.
    """
    server = ReadyServer(uvicorn.Config(**options, host=host, port=port), announce, on_stop)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise BacktalkError("The gateway cannot start", "See the log for the reason")


def serve_with_workers(
    options: Mapping[str, Any],
    *,
    host: str,
    port: int,
    workers: int,
    shutdown_timeout: float,
    announce: Callable[[int], None] | None = None,
) -> None:
    """Serve until a signal to stop.

    On Linux, which spreads connections evenly among listening sockets, each process has its own
    socket. On other systems the processes share one.

    Parameters
    ----------
    options : Mapping[str, Any]
        Options of ``uvicorn.Config``.
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 for any free one.
    workers : int
        Number of processes.
    shutdown_timeout : float
        Number of seconds after which processes that have not stopped are killed.
    announce : Callable[[int], None], optional
        Function that receives the port once requests are accepted.

    Raises
    ------
    BacktalkError
        If no process can start.
    """
    logging.config.dictConfig(options["log_config"])
    context: ForkServerContext | SpawnContext = multiprocessing.get_context("spawn")
    if _LINUX:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["backtalk.serve.app"])
    with _bound_socket(host, port) as bound, _stop_signals() as is_stopping:
        shared = None if _LINUX else bound
        port = bound.getsockname()[1]
        ready = context.Event()

        def start() -> BaseProcess:
            arguments = (dict(options), host, port, shared, ready)
            process = context.Process(target=_serve, args=arguments)
            process.start()
            return process

        processes = {start(): time.monotonic() for _ in range(workers)}
        try:
            while not is_stopping():
                wait([process.sentinel for process in processes], timeout=_POLL_SECONDS)
                if announce is not None and ready.is_set():
                    announce(port)
                    announce = None
                if not is_stopping():
                    _replace(processes, start)
        finally:
            _stop(list(processes), shutdown_timeout)


def _replace(processes: dict[BaseProcess, float], start: Callable[[], BaseProcess]) -> None:
    """Replace dead processes.

    Raises
    ------
    BacktalkError
        If the oldest process failed to start. Older processes have started, or will fail too.
    """
    for process in [process for process in processes if not process.is_alive()]:
        started = processes.pop(process)
        if folder := os.environ.get(MULTIPROCESS_DIRECTORY):
            multiprocess.mark_process_dead(process.pid, folder)  # type: ignore[no-untyped-call]
        code = process.exitcode
        if code == _START_FAILED and all(other > started for other in processes.values()):
            raise BacktalkError("The worker processes cannot start", "See the log for the reason")
        log.warning("Process %s died with exit code %s; replacing it", process.pid, code)
        if time.monotonic() - started < _MIN_LIFETIME:
            time.sleep(_MIN_LIFETIME)
        processes[start()] = time.monotonic()


def _stop(processes: list[BaseProcess], shutdown_timeout: float) -> None:
    for process in processes:
        process.terminate()
    until = time.monotonic() + shutdown_timeout
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        process.kill()
        process.join()


def _serve(
    options: dict[str, Any], host: str, port: int, shared: socket.socket | None, ready: Event
) -> None:
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    config = uvicorn.Config(**options, host=host, port=port)
    server = ReadyServer(config, lambda _: ready.set())
    try:
        if shared is not None:
            server.run(sockets=[shared])
        else:
            with _bound_socket(host, port) as own_socket:
                server.run(sockets=[own_socket])
    except KeyboardInterrupt:
        pass  # Ctrl-C reaches all processes of a terminal
    except Exception:
        log.exception("Process %s failed", os.getpid())
    finally:
        if not server.started:
            sys.exit(_START_FAILED)


def _stop_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _bound_socket(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a socket bound to an address, on which other processes may bind and listen too."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if _LINUX:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
        yield bound


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns true once a signal to stop has arrived."""
    received = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: received.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received.is_set
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
