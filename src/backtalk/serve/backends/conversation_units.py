"""Units of conversations: all requests of a conversation are shown the same memory entries."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict

from backtalk.errors import NotFound
from backtalk.serve.interaction_log import RequestRecord
from backtalk.serve.store_connection import StoreConnection
from backtalk.store import Store

log = logging.getLogger(__name__)

_MAX_UNITS = 10_000
"""Maximum number of requests whose units are held in memory."""
_MAX_ANCESTORS = 100
"""Maximum number of earlier requests that are read to find the first one of a conversation."""


class ConversationUnits:
    """Units of the requests that were answered, and of those that continue them.

    A request with a session belongs to it. A request that only names its parent has the parent's
    unit, which is that of the conversation's first request.

    Parameters
    ----------
    connection : StoreConnection
        Store of the interactions, in which the parents of other processes are looked up.
    timeout : float
        Time limit of a look-up, in seconds. After it, the parent counts as the first request.
    """

    def __init__(self, connection: StoreConnection, *, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._units: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def unit(self, record: RequestRecord) -> str:
        """Return the unit of a request, the same for the whole conversation. It raises nothing."""
        unit = record.draw_unit
        if record.parent is not None and record.session is None:
            known = self._units.get((record.project, record.parent))
            unit = known or record.unit_of(await self._first(record, record.parent))
        self._units[record.project, record.id] = unit
        while len(self._units) > _MAX_UNITS:
            self._units.popitem(last=False)
        return unit

    async def _first(self, record: RequestRecord, parent: str) -> str:
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.to_thread(self._find_first, record.project, parent)
        except Exception:
            log.warning("The conversation of %s could not be read", record.id, exc_info=True)
            return parent

    def _find_first(self, project: str, id_: str) -> str:
        store = self._connection.store(project)
        seen = {id_}
        while len(seen) < _MAX_ANCESTORS:
            parent = _parent(store, id_)
            if parent is None or parent in seen:
                break
            seen.add(parent)
            id_ = parent
        return id_


def _parent(store: Store, id_: str) -> str | None:
    try:
        return store.interaction(id_).parent
    except NotFound:
        return None
