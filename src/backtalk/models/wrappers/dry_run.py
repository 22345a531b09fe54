"""Models without calls: one answers from a cache only, the other notes the requests."""

from __future__ import annotations

from collections.abc import Sequence

from backtalk.models.errors import NotRecorded
from backtalk.models.protocol import Completion, Request
from backtalk.models.wrappers.base import ModelWrapper
from backtalk.models.wrappers.cache import CachedModel


class StoredModel(ModelWrapper):
    """Model that answers only what is stored in its cache.

    Parameters
    ----------
    model : CachedModel
        Model with a cache. It is never called.
    """

    model: CachedModel

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return the stored completions.

        Raises
        ------
        NotRecorded
            If one of them is not stored.
        """
        completions = [item for item in await self.model.stored(requests) if item is not None]
        if len(completions) < len(requests):
            raise NotRecorded(
                f"{len(requests) - len(completions)} of {len(requests)} completions of "
                f"{self.name!r} are not stored",
                "Generate them first",
            )
        return completions


class PlannedRequests(Exception):
    """Requests that a decoder makes first."""

    def __init__(self, requests: Sequence[Request]) -> None:
        super().__init__(len(requests))
        self.requests = list(requests)


class PlanningModel(ModelWrapper):
    """Model that answers nothing: its first call raises :class:`PlannedRequests`."""

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Raise the requests.

        Raises
        ------
        PlannedRequests
            Always.
        """
        raise PlannedRequests(requests)
