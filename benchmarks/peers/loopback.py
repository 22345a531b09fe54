"""Server of a Starlette application on a thread of this process, on a free port."""

from __future__ import annotations

import asyncio
import socket
import threading

import uvicorn
from starlette.applications import Starlette


class LoopbackServer:
    """Running server of an application.

    Parameters
    ----------
    app : Starlette
        Application to serve.
    """

    def __init__(self, app: Starlette) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()  # requests wait until the server answers
        config = uvicorn.Config(app, log_level="error", loop="asyncio", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._server.serve([self._socket])), daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """Address of the server, without a path."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def stop(self) -> None:
        """Stop the server, and wait until it has."""
        self._server.should_exit = True
        self._thread.join()
