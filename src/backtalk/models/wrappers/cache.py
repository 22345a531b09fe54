"""Never pay twice for the same request: completions kept in one file."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from backtalk.errors import BacktalkError
from backtalk.feedback.record import content_id
from backtalk.models.batching import answer_in_units
from backtalk.models.errors import ModelError
from backtalk.models.protocol import Completion, Model, Request, Usage
from backtalk.models.wakeup import CrossLoopEvent
from backtalk.models.wrappers.base import ModelWrapper

_VERSION = 1
_AT_ONCE = 500


class ResponseCache:
    """Completions by key, in one SQLite file. Threads and processes may share it.

    Parameters
    ----------
    path : Path | str, optional
        The file, made if it is not there; ``None`` keeps everything in memory.

    Raises
    ------
    BacktalkError
        If the file is something else.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._flights: dict[str, CrossLoopEvent] = {}
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
                f"{path} is not a response cache: {error}", "Give the cache a file of its own"
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
        """Return the completions of those keys that are there."""
        results: dict[str, Completion] = {}
        with self._lock:
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                marks = ", ".join("?" * len(part))
                rows = self._connection.execute(
                    f"SELECT key, completion FROM responses WHERE key IN ({marks})",  # noqa: S608 - only question marks
                    part,
                )
                results.update((key, Completion.model_validate_json(text)) for key, text in rows)
        return results

    def put(self, completions: Mapping[str, Completion]) -> dict[str, Completion]:
        """Keep completions under their keys and return what is kept there now.

        Where a key was already taken, by another process, its completion stays.
        """
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(
                    "INSERT INTO responses VALUES (?, ?) ON CONFLICT DO NOTHING",
                    [(key, completion.to_json()) for key, completion in completions.items()],
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def claim(self, keys: Iterable[str]) -> tuple[list[str], list[asyncio.Event]]:
        """Split keys into those that are now the caller's to compute, and those under way.

        Returns
        -------
        list of str
            The caller's; it owes each of them a :meth:`land`.
        list of asyncio.Event
            Set as the others land.
        """
        with self._lock:
            mine, others = [], []
            for key in keys:
                if key in self._flights:
                    others.append(self._flights[key].wait())
                else:
                    self._flights[key] = CrossLoopEvent()
                    mine.append(key)
        return mine, others

    def land(self, keys: Iterable[str]) -> None:
        """Wake who waits for these keys, which were claimed: they are kept now, or have failed."""
        with self._lock:
            for key in keys:
                self._flights.pop(key).notify()


class CachedModel(ModelWrapper):
    """Answer from the cache what was answered before.

    The key holds the model's identity and all that the request says, so that another sample,
    seed, address or revision is another answer. Equal requests that are made at the same time are
    computed once. A completion is kept as soon as it is there. One that comes from the cache has
    ``cached=True`` and no usage.

    Parameters
    ----------
    model : Model
        What answers the rest. A :class:`~.budgeted.BudgetedModel` model belongs inside,
        so that what is cached costs nothing; :func:`~.wrap.around` sees to it.
    cache : ResponseCache
        Where completions are kept.
    """

    def __init__(self, model: Model, cache: ResponseCache) -> None:
        super().__init__(model)
        self.cache = cache

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return completions from the cache, or else from the model."""
        keys = [self._key(request) for request in requests]
        wanted = dict(zip(keys, requests, strict=True))
        results: dict[str, Completion] = {}
        failure: ModelError | None = None
        while failure is None and (missing := [key for key in wanted if key not in results]):
            mine, others = self.cache.claim(missing)
            try:
                results |= await self._look_up(mine)
                await self._compute([wanted[key] for key in mine if key not in results], results)
            except ModelError as error:
                failure = error
            finally:
                self.cache.land(mine)
            for other in others:
                await other.wait()
        if failure is not None:
            results |= await self._look_up([key for key in wanted if key not in results])
            failure.completions = tuple(_hand_out(keys, results))
            raise failure
        return [completion for completion in _hand_out(keys, results) if completion is not None]

    def _key(self, request: Request) -> str:
        return content_id(self.identity, request.key)

    async def _look_up(self, keys: Sequence[str]) -> dict[str, Completion]:
        kept = await asyncio.to_thread(self.cache.get, keys)
        return {key: _free(completion) for key, completion in kept.items()}

    async def _compute(self, wanted: Sequence[Request], found: dict[str, Completion]) -> None:
        async def keep(
            requests: Sequence[Request], completions: Sequence[Completion | None]
        ) -> None:
            fresh = {
                self._key(request): completion
                for request, completion in zip(requests, completions, strict=True)
                if completion is not None
            }
            kept = await asyncio.to_thread(self.cache.put, fresh)
            for key, completion in fresh.items():
                found[key] = kept[key].model_copy(update={"usage": completion.usage})

        async def answer(requests: Sequence[Request]) -> list[Completion]:
            try:
                completions = await self.model.generate(requests)
            except ModelError as failure:
                await keep(requests, failure.completions or [None] * len(requests))
                raise
            await keep(requests, completions)
            return completions

        await answer_in_units(wanted, answer, model=self.model)

    async def _stream(self, request: Request) -> AsyncIterator[str | Completion]:
        key = self._key(request)
        kept = await self._look_up([key])
        if key in kept:
            yield kept[key].text
            yield kept[key]
            return
        async for piece in self._inner_stream(request):
            if isinstance(piece, Completion):
                await asyncio.to_thread(self.cache.put, {key: piece})
            yield piece


def _free(completion: Completion) -> Completion:
    return completion.model_copy(update={"cached": True, "usage": Usage()})


def _hand_out(keys: Sequence[str], found: Mapping[str, Completion]) -> list[Completion | None]:
    """Return the completion of each key; only the first of equal keys costs anything."""
    seen: set[str] = set()
    handed: list[Completion | None] = []
    for key in keys:
        completion = found.get(key)
        handed.append(_free(completion) if completion is not None and key in seen else completion)
        seen.add(key)
    return handed
