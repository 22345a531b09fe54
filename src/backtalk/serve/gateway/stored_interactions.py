"""Interactions in the store that a request refers to by their ids."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback import Interaction
from backtalk.serve.errors import APIError
from backtalk.serve.services import Services
from backtalk.serve.store_connection import UNAVAILABLE

T = TypeVar("T")

_MAX_WAIT_SECONDS = 2.0
"""Maximum delay until an interaction of this process is in the store."""
_POLL_SECONDS = 0.01


async def find_interaction(
    services: Services, project: str, id_: str, *, min_wait: float = 0.0
) -> Interaction | None:
    """Return an interaction, once it is in the store; ``None`` if there is none.

    Parameters
    ----------
    services : Services
        Components of the gateway.
    project : str
        Project.
    id_ : str
        Id of the interaction.
    min_wait : float, default 0.0
        Minimum time in seconds to wait for an interaction that another process may still write.

    Raises
    ------
    APIError
        If the store is unavailable.
    """

    def read() -> Interaction | None:
        if project not in services.connection.store().projects():
            return None
        with contextlib.suppress(NotFound):
            return services.connection.store(project).interaction(id_)
        return None

    began = time.monotonic()
    while True:
        is_written = services.writer.log.drained
        interaction = await _run(read, id_)
        waited = time.monotonic() - began
        is_over = waited > _MAX_WAIT_SECONDS or (is_written and waited >= min_wait)
        if interaction is not None or is_over:
            return interaction
        services.writer.write_soon()
        await asyncio.sleep(_POLL_SECONDS)


async def delete_interaction(services: Services, project: str, id_: str) -> None:
    """Delete an interaction, if it is not deleted already.

    Parameters
    ----------
    services : Services
        Components of the gateway.
    project : str
        Project.
    id_ : str
        Id of the interaction.

    Raises
    ------
    APIError
        If the store is unavailable.
    """

    def delete() -> None:
        with contextlib.suppress(NotFound):
            services.connection.store(project).delete(id_)

    await _run(delete, id_)


async def _run(function: Callable[[], T], id_: str) -> T:
    try:
        return await asyncio.to_thread(function)
    except (*UNAVAILABLE, BacktalkError) as error:
        raise APIError(
            503,
            f"The store of {id_} is unavailable ({error}). Try again later",
            headers={"retry-after": "2"},
        ) from None
