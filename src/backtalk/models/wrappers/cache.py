"""Response cache: completions stored by request, so that no request is paid for twice."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path

from backtalk.closable import Closable
from backtalk.errors import BacktalkError
from backtalk.feedback.record import content_id
from backtalk.models.batching import generate_in_batches
from backtalk.models.errors import ModelError
from backtalk.models.protocol import Completion, Model, Request, Usage
from backtalk.models.wakeup import CrossLoopEvent
from backtalk.models.wrappers.base import ModelWrapper

_VERSION = 1
_MAX_VARIABLES = 500
"""Maximum number of keys in one SQL query."""


class ResponseCache(Closable):
    """Completions by key, in one SQLite file. Threads and processes may share it.

    Parameters
    ----------
    path : Path | str, optional
        File, created if it does not exist; ``None`` for memory.
    refresh : bool, default False
        If true, ignore the completions of earlier processes, and replace them by new ones.

    Raises
    ------
    BacktalkError
        If the file is not a response cache.
    """

    def __init__(self, path: Path | str | None = None, *, refresh: bool = False) -> None:
        self.path = path
        self._fresh: set[str] | None = set() if refresh else None
        self._lock = threading.Lock()
        self._in_flight: dict[str, CrossLoopEvent] = {}
        self.requested: set[str] = set()
        """Keys of all requests of this process, those found in the cache included."""
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(
            path or ":memory:", timeout=60, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise BacktalkError(
                f"{path} is not a response cache: {error}", "Use a separate file for the cache"
            ) from None

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version not in {0, _VERSION}:
            raise sqlite3.DatabaseError(f"it has version {version}, not {_VERSION}")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS responses (key TEXT PRIMARY KEY, completion TEXT NOT NULL)"
        )
        self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    def get(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Return the stored completions among those keys."""
        results: dict[str, Completion] = {}
        with self._lock:
            if self._fresh is not None:
                keys = [key for key in keys if key in self._fresh]
            for start in range(0, len(keys), _MAX_VARIABLES):
                part = keys[start : start + _MAX_VARIABLES]
                marks = ", ".join("?" * len(part))
                rows = self._connection.execute(
                    f"SELECT key, completion FROM responses WHERE key IN ({marks})",  # noqa: S608 - only question marks
                    part,
                )
                results.update((key, Completion.model_validate_json(text)) for key, text in rows)
        return results

    def put(self, completions: Mapping[str, Completion]) -> dict[str, Completion]:
        """Store completions under their keys, and return those that the cache now holds.

        If another process has stored a completion under a key, that one remains, unless this cache
        refreshes it.
        """
        rows = [(key, completion.to_json()) for key, completion in completions.items()]
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                if self._fresh is not None:
                    stale = [(key,) for key in completions if key not in self._fresh]
                    self._connection.executemany("DELETE FROM responses WHERE key = ?", stale)
                    self._fresh.update(completions)
                self._connection.executemany(
                    "INSERT INTO responses VALUES (?, ?) ON CONFLICT DO NOTHING", rows
                )
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        return self.get(list(completions))

    def __len__(self) -> int:
        with self._lock:
            (count,) = self._connection.execute("SELECT count(*) FROM responses").fetchone()
        return int(count)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def claim(self, keys: Iterable[str]) -> tuple[list[str], list[asyncio.Event]]:
        """Claim keys for computation, except those that another caller has claimed.

        Returns
        -------
        list of str
            Keys claimed by this call; each needs a :meth:`release`.
        list of asyncio.Event
            Events that are set when the other keys are released.
        """
        with self._lock:
            claims, events = [], []
            for key in keys:
                if key in self._in_flight:
                    events.append(self._in_flight[key].wait())
                else:
                    self._in_flight[key] = CrossLoopEvent()
                    claims.append(key)
        return claims, events

    def release(self, keys: Iterable[str]) -> None:
        """Release claimed keys, which are stored or have failed, and wake their waiters."""
        with self._lock:
            for key in keys:
                self._in_flight.pop(key).notify()


class CachedModel(ModelWrapper):
    """Model whose completions are cached.

    The key contains the model's identity and all fields of the request, so that another sample
    index, seed, address or revision is a different entry. Equal requests made at the same time are
    computed once. A completion is stored as soon as it arrives. A completion from the cache has
    ``cached=True`` and no usage.

    Parameters
    ----------
    model : Model
        Model that answers cache misses. Put a :class:`~.budgeted_model.BudgetedModel` inside the
        cache, so that cached completions cost nothing; :func:`~.wrap.wrap_model` does so.
    cache : ResponseCache
        Cache for the completions.
    """

    def __init__(self, model: Model, cache: ResponseCache) -> None:
        super().__init__(model)
        self.cache = cache

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return completions from the cache, or else from the model."""
        keys = [self._key(request) for request in requests]
        self.cache.requested.update(keys)
        by_key = dict(zip(keys, requests, strict=True))
        results: dict[str, Completion] = {}
        failure: ModelError | None = None
        while failure is None and (missing := [key for key in by_key if key not in results]):
            claims, events = self.cache.claim(missing)
            try:
                results |= await self._look_up(claims)
                await self._compute([by_key[key] for key in claims if key not in results], results)
            except ModelError as error:
                failure = error
            finally:
                self.cache.release(claims)
            for event in events:
                await event.wait()
        if failure is not None:
            results |= await self._look_up([key for key in by_key if key not in results])
            failure.completions = tuple(_in_order(keys, results))
            raise failure
        return [completion for completion in _in_order(keys, results) if completion is not None]

    async def stored(self, requests: Sequence[Request]) -> list[Completion | None]:
        """Return the completions that the cache holds, ``None`` for each that it lacks."""
        keys = [self._key(request) for request in requests]
        return _in_order(keys, await self._look_up(keys))

    def _key(self, request: Request) -> str:
        return content_id(self.identity, request.key)

    async def _look_up(self, keys: Sequence[str]) -> dict[str, Completion]:
        completions = await asyncio.to_thread(self.cache.get, keys)
        return {key: _without_cost(completion) for key, completion in completions.items()}

    async def _compute(self, requests: Sequence[Request], results: dict[str, Completion]) -> None:
        """Add the completions of these requests to the results and to the cache."""

        async def store(batch: Sequence[Request], completions: Sequence[Completion | None]) -> None:
            new = {
                self._key(request): completion
                for request, completion in zip(batch, completions, strict=True)
                if completion is not None
            }
            stored = await asyncio.to_thread(self.cache.put, new)
            for key, completion in new.items():
                results[key] = stored[key].model_copy(update={"usage": completion.usage})

        async def answer(batch: Sequence[Request]) -> list[Completion]:
            try:
                completions = await self.model.generate(batch)
            except ModelError as failure:
                await store(batch, failure.completions or [None] * len(batch))
                raise
            await store(batch, completions)
            return completions

        await generate_in_batches(requests, answer, model=self.model)

    async def _stream(self, request: Request) -> AsyncIterator[str | Completion]:
        key = self._key(request)
        hits = await self._look_up([key])
        if key in hits:
            yield hits[key].text
            yield hits[key]
            return
        async for piece in self._inner_stream(request):
            if isinstance(piece, Completion):
                await asyncio.to_thread(self.cache.put, {key: piece})
            yield piece


def _without_cost(completion: Completion) -> Completion:
    return completion.model_copy(
        update={
            "cached": True,
            "usage": Usage(),
            "original_usage": completion.generation_usage,
        }
    )


def _in_order(keys: Sequence[str], results: Mapping[str, Completion]) -> list[Completion | None]:
    """Return the completion of each key; only the first of equal keys has a cost."""
    seen: set[str] = set()
    ordered: list[Completion | None] = []
    for key in keys:
        completion = results.get(key)
        repeated = completion is not None and key in seen
        ordered.append(_without_cost(completion) if completion and repeated else completion)
        seen.add(key)
    return ordered
