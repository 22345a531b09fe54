"""Hours of trouble in minutes: every answer and every judgement that was acknowledged is kept once.

``python -m benchmarks.serving.soak [SHARE]`` sends 100,000 requests and 50,000 pieces of feedback,
or a share of that, to a gateway that is killed 50 times, whose store is taken away 5 times, and
whose upstream fails 5 % of the time. The client notes what was acknowledged; what the store holds
in the end is compared with that. After the last kill a fifth of the requests are sent to one
process, whose memory is watched.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil  # type: ignore[import-untyped]

from backtalk.store import Store
from benchmarks.serving import servers
from benchmarks.serving.load import chat_request
from benchmarks.serving.servers import Server
from benchmarks.serving.wire import Broken, Client

CALLERS = 12
FAILING = 0.05
_TROUBLED = 0.8
"""After this share of the requests nothing is killed or taken away any more."""

_AWAY_SECONDS = 1.5
_AGAIN_SECONDS = 0.02
_LOOKS, _LOOK_SECONDS = 1_200, 0.1
"""How often, and how far apart, it looks whether everything is in the store."""
_SETTINGS = {"patience": {"pause": 0.01, "connect": 2.0, "read": 10.0}, "acknowledge_after": 0.5}


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    requests: int = 100_000
    kills: int = 50
    away: int = 5
    """Every other one of them by a lock that another holds, the rest by moving the files."""

    def of(self, share: float) -> Size:
        """Return a share of it, with at least one of each trouble."""
        some = [max(1, round(share * n)) for n in (self.requests, self.kills, self.away)]
        return Size(*some)


@dataclass
class Noted:
    """What the client knows."""

    interactions: set[str] = field(default_factory=set)
    """The ids of the answers that it got."""
    judged: set[str] = field(default_factory=set)
    """The ids of the feedback that was acknowledged."""
    statuses: Counter[str] = field(default_factory=Counter)
    unsure: int = 0
    """Requests whose connection broke: their answers may be kept, and nobody knows their ids."""
    memory: list[tuple[int, int]] = field(default_factory=list)
    """Requests answered and bytes in memory, of the process that lived longest."""

    @property
    def growth(self) -> float:
        """Return the bytes in memory that each request adds, in the second half of the watch."""
        late = self.memory[len(self.memory) // 2 :]
        if len(late) < 3:
            return float("nan")
        requests, memory = zip(*late, strict=True)
        return statistics.linear_regression(requests, memory).slope


@dataclass(frozen=True)
class Kept:
    """What the store holds, against what was acknowledged."""

    lost_talks: int
    lost_feedback: int
    twice: int
    surplus_talks: int
    """Kept without an answer that arrived: of requests whose connection broke."""
    surplus_feedback: int


class Soak:
    """One run.

    Parameters
    ----------
    folder
        For everything that it writes.
    size
        How much of everything.
    store
        Where, if not in a SQLite file of the folder.
    workers
        How many processes serve.
    """

    def __init__(
        self, folder: Path, size: Size, *, store: str | None = None, workers: int = 1
    ) -> None:
        self.size = size
        self.noted = Noted()
        self.kills = 0
        self._folder = folder
        self._file = folder / "feedback.db"
        self._store = store or str(self._file)
        self._workers = workers
        self._key = servers.make_key(self._store)
        self._upstream = servers.upstream(folder, FAILING)
        self._port = servers.free_port()
        self._gateway: Server | None = None
        self._one_by_one = asyncio.Lock()

    def run(self) -> Kept:
        """Do it all, and compare."""
        with servers.running(self._upstream):
            try:
                asyncio.run(self._run())
                self.gateway.end()
            finally:
                if self._gateway is not None and self._gateway.process.poll() is None:
                    self._gateway.kill()
        return self._compare()

    @property
    def gateway(self) -> Server:
        """The gateway as it runs now."""
        assert self._gateway is not None
        return self._gateway

    async def _run(self) -> None:
        await self._start()
        self._client = Client(self._port, authorization=f"Bearer {self._key}")
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(self._call())
            group.create_task(self._trouble())
            group.create_task(self._watch())
        await self._drained()
        self._client.close()

    async def _start(self) -> None:
        self._gateway = servers.gateway(
            self._folder,
            self._upstream.port,
            store=self._store,
            key=self._key,
            port=self._port,
            workers=self._workers,
            settings=_SETTINGS,
        )
        await asyncio.to_thread(servers.wait_for, self._gateway)

    @property
    def _done(self) -> bool:
        return len(self.noted.interactions) >= self.size.requests

    async def _call(self) -> None:
        request = chat_request(self._client, "small")
        while not self._done:
            try:
                reply = await self._client.send(request)
            except Broken:
                self.noted.unsure += 1
                continue
            except OSError:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            self.noted.statuses[f"answer {reply.status}"] += 1
            if reply.status == 200:
                interaction = reply.json()["id"]
                self.noted.interactions.add(interaction)
                if len(self.noted.interactions) % 2 == 0:
                    await self._judge(interaction)

    async def _judge(self, interaction: str) -> None:
        """Send feedback until it is acknowledged, each time under the same id."""
        row = {
            "id": f"thumb-{interaction}",
            "interaction": interaction,
            "thumb": "up",
            "user": "bo",
        }
        request = self._client.request("/v1/feedback", json.dumps(row).encode())
        while True:
            try:
                reply = await self._client.send(request)
            except (Broken, OSError):
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            self.noted.statuses[f"feedback {reply.status}"] += 1
            if reply.status in {200, 201, 202}:
                self.noted.judged.add(row["id"])
                return
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _trouble(self) -> None:
        """Kill and take away, evenly over the first part of the requests."""
        troubles = [(i / self.size.kills, "kill") for i in range(self.size.kills)]
        troubles += [((i + 0.5) / self.size.away, f"away {i}") for i in range(self.size.away)]
        gone: list[asyncio.Task[None]] = []
        for share, what in sorted(troubles):
            await self._reached((share + 0.5 / self.size.kills) * _TROUBLED * self.size.requests)
            if what == "kill":
                await self.kill()
                self.kills += 1
            else:
                turn = int(what.removeprefix("away "))
                gone.append(asyncio.create_task(self.take_away(turn)))
        await asyncio.gather(*gone)

    async def _reached(self, due: float) -> None:
        while len(self.noted.interactions) < due:  # noqa: ASYNC110 - nobody has to be quicker than this
            await asyncio.sleep(0.005)

    async def kill(self) -> None:
        """Kill the gateway, and start it again."""
        self.gateway.kill()
        await self._start()

    async def take_away(self, turn: int) -> None:
        """Take the store away for a while: move its files, or hold a lock on it, by turns."""
        async with self._one_by_one:
            if turn % 2:
                await asyncio.to_thread(self._lock)
            else:
                await self._move()

    async def _move(self) -> None:
        away = self._folder / "away"
        away.mkdir(exist_ok=True)
        # The database goes first and comes back last: nobody finds it without its log.
        names = [f"{self._file.name}{suffix}" for suffix in ("", "-wal", "-shm")]
        _move(names, self._folder, away)
        await asyncio.sleep(_AWAY_SECONDS)
        _move(names[::-1], away, self._folder)

    def _lock(self) -> None:
        connection = sqlite3.connect(self._file, timeout=30)
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(_AWAY_SECONDS)
        connection.rollback()
        connection.close()

    async def _watch(self) -> None:
        life = -1
        while not self._done:
            await asyncio.sleep(0.25)
            if life != self.kills:
                life = self.kills
                self.noted.memory.clear()
            with contextlib.suppress(psutil.NoSuchProcess):  # it is killed, now and then
                self.noted.memory.append((len(self.noted.interactions), self.gateway.memory()))

    async def _drained(self) -> None:
        """Wait until the store has what those left behind who were killed."""
        spools = self._folder / "state" / "spool"
        for _ in range(_LOOKS):
            if len(list(spools.iterdir())) <= self._workers:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def _compare(self) -> Kept:
        with Store(self._store) as store:
            interactions = Counter(case.interaction.id for case in store.cases())
            items = Counter(item.id for item in store.feedback())
        return Kept(
            lost_talks=len(self.noted.interactions - set(interactions)),
            lost_feedback=len(self.noted.judged - set(items)),
            twice=sum(times - 1 for times in (interactions + items).values()),
            surplus_talks=len(set(interactions) - self.noted.interactions),
            surplus_feedback=len(set(items) - self.noted.judged),
        )


def _move(names: list[str], here: Path, there: Path) -> None:
    for name in names:
        with contextlib.suppress(FileNotFoundError):  # who let go of the store may have removed it
            (here / name).rename(there / name)


def report(soak: Soak, kept: Kept) -> dict[str, object]:
    """Return what came of a run, ready for JSON."""
    noted = soak.noted
    memory = [round(result / 1e6, 1) for _, result in noted.memory]
    return {
        "requests": len(noted.interactions),
        "feedback": len(noted.judged),
        "kills": soak.kills,
        "away": soak.size.away,
        "statuses": dict(noted.statuses),
        "unsure": noted.unsure,
        "kept": vars(kept),
        "memory_mb": [memory[len(memory) // 2], memory[-1]] if memory else None,
        "bytes_a_request": round(noted.growth, 1),
    }


def main() -> None:
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    begin = time.monotonic()
    with TemporaryDirectory() as name:
        soak = Soak(Path(name), Size().of(share))
        kept = soak.run()
    told = {"seconds": round(time.monotonic() - begin, 1), **report(soak, kept)}
    sys.stdout.write(json.dumps(told, indent=1) + "\n")
    if kept.lost_talks or kept.lost_feedback or kept.twice:
        sys.exit(1)


if __name__ == "__main__":
    main()
