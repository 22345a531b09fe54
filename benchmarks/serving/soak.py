"""Soak test: every acknowledged completion and feedback record is stored exactly once.

``python -m benchmarks.serving.soak [SHARE]`` sends 100,000 requests and 50,000 feedback records, or
a share of that, to a gateway that is killed 50 times, whose store is unavailable 5 times, and whose
upstream fails for 5 % of the requests. The client records the acknowledgements, which are compared
with the store in the end. The memory of the process is monitored after the last kill, for a fifth
of the requests.
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
from benchmarks.serving.wire import Client, ConnectionBroken

CALLERS = 12
FAILING = 0.05
_FAULT_SHARE = 0.8
"""Share of the requests during which faults are injected."""

_OUTAGE_SECONDS = 1.5
_RETRY_SECONDS = 0.02
_MAX_POLLS, _POLL_SECONDS = 1_200, 0.1
_SETTINGS = {
    "retry": {"backoff": 0.01, "connect_timeout": 2.0, "read_timeout": 10.0},
    "acknowledge_after": 0.5,
}


@dataclass(frozen=True)
class SoakSize:
    """Numbers of requests and faults."""

    requests: int = 100_000
    kills: int = 50
    outages: int = 5
    """Number of outages of the store: alternately by moving its files and by locking it."""

    def scaled(self, share: float) -> SoakSize:
        """Return a share of the size, with at least one fault of each kind."""
        numbers = [max(1, round(share * n)) for n in (self.requests, self.kills, self.outages)]
        return SoakSize(*numbers)


@dataclass
class ClientRecord:
    """Acknowledgements seen by the client."""

    interactions: set[str] = field(default_factory=set)
    """Ids of the completions."""
    feedback: set[str] = field(default_factory=set)
    """Ids of acknowledged feedback."""
    statuses: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    """Number of requests whose connection broke: they may be stored under unknown ids."""
    memory: list[tuple[int, int]] = field(default_factory=list)
    """Pairs of the number of completions and the bytes in memory, of the last process."""

    @property
    def growth(self) -> float:
        """Bytes of memory added by each request, in the second half of the measurements."""
        late = self.memory[len(self.memory) // 2 :]
        if len(late) < 3:
            return float("nan")
        requests, memory = zip(*late, strict=True)
        return statistics.linear_regression(requests, memory).slope


@dataclass(frozen=True)
class StoreComparison:
    """Comparison of the store with the acknowledgements."""

    lost_interactions: int
    lost_feedback: int
    duplicates: int
    surplus_interactions: int
    """Stored without a received response, of requests whose connection broke."""
    surplus_feedback: int


class Soak:
    """Soak test run.

    Parameters
    ----------
    folder
        Folder of all files.
    size
        Numbers of requests and faults.
    store
        Location of the store. Default: a SQLite file in the folder.
    workers
        Number of worker processes.
    """

    def __init__(
        self, folder: Path, size: SoakSize, *, store: str | None = None, workers: int = 1
    ) -> None:
        self.size = size
        self.client_record = ClientRecord()
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

    def run(self) -> StoreComparison:
        """Run the test and compare the store with the acknowledgements."""
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
        """Running gateway."""
        assert self._gateway is not None
        return self._gateway

    async def _run(self) -> None:
        await self._start()
        self._client = Client(self._port, authorization=f"Bearer {self._key}")
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(self._call())
            group.create_task(self._inject_faults())
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
        return len(self.client_record.interactions) >= self.size.requests

    async def _call(self) -> None:
        request = chat_request(self._client, "small")
        while not self._done:
            try:
                reply = await self._client.send(request)
            except ConnectionBroken:
                self.client_record.unknown += 1
                continue
            except OSError:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self.client_record.statuses[f"answer {reply.status}"] += 1
            if reply.status == 200:
                interaction = reply.json()["id"]
                self.client_record.interactions.add(interaction)
                if len(self.client_record.interactions) % 2 == 0:
                    await self._judge(interaction)

    async def _judge(self, interaction: str) -> None:
        """Send feedback until it is acknowledged, always under the same id."""
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
            except (ConnectionBroken, OSError):
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self.client_record.statuses[f"feedback {reply.status}"] += 1
            if reply.status in {200, 201, 202}:
                self.client_record.feedback.add(row["id"])
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _inject_faults(self) -> None:
        """Inject the faults, evenly over the first part of the requests."""
        faults = [(i / self.size.kills, "kill") for i in range(self.size.kills)]
        faults += [((i + 0.5) / self.size.outages, f"away {i}") for i in range(self.size.outages)]
        gone: list[asyncio.Task[None]] = []
        for share, what in sorted(faults):
            await self._reached((share + 0.5 / self.size.kills) * _FAULT_SHARE * self.size.requests)
            if what == "kill":
                await self.kill()
                self.kills += 1
            else:
                turn = int(what.removeprefix("away "))
                gone.append(asyncio.create_task(self.make_unavailable(turn)))
        await asyncio.gather(*gone)

    async def _reached(self, due: float) -> None:
        while len(self.client_record.interactions) < due:  # noqa: ASYNC110 - polling suffices
            await asyncio.sleep(0.005)

    async def kill(self) -> None:
        """Kill the gateway and start it again."""
        self.gateway.kill()
        await self._start()

    async def make_unavailable(self, turn: int) -> None:
        """Make the store unavailable for a while: move its files, or lock it, in turns."""
        async with self._one_by_one:
            if turn % 2:
                await asyncio.to_thread(self._lock)
            else:
                await self._move()

    async def _move(self) -> None:
        moved = self._folder / "away"
        moved.mkdir(exist_ok=True)
        # The database moves first and returns last, so that it is never seen without its log.
        names = [f"{self._file.name}{suffix}" for suffix in ("", "-wal", "-shm")]
        _move(names, self._folder, moved)
        await asyncio.sleep(_OUTAGE_SECONDS)
        _move(names[::-1], moved, self._folder)

    def _lock(self) -> None:
        connection = sqlite3.connect(self._file, timeout=30)
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(_OUTAGE_SECONDS)
        connection.rollback()
        connection.close()

    async def _watch(self) -> None:
        life = -1
        while not self._done:
            await asyncio.sleep(0.25)
            if life != self.kills:
                life = self.kills
                self.client_record.memory.clear()
            with contextlib.suppress(psutil.NoSuchProcess):  # it may be killed at any time
                self.client_record.memory.append(
                    (len(self.client_record.interactions), self.gateway.memory())
                )

    async def _drained(self) -> None:
        """Wait until the logs of killed processes are in the store."""
        logs = self._folder / "state" / "write_ahead_log"
        for _ in range(_MAX_POLLS):
            if len(list(logs.iterdir())) <= self._workers:
                return
            await asyncio.sleep(_POLL_SECONDS)

    def _compare(self) -> StoreComparison:
        with Store(self._store) as store:
            interactions = Counter(case.interaction.id for case in store.cases())
            items = Counter(item.id for item in store.feedback())
        return StoreComparison(
            lost_interactions=len(self.client_record.interactions - set(interactions)),
            lost_feedback=len(self.client_record.feedback - set(items)),
            duplicates=sum(times - 1 for times in (interactions + items).values()),
            surplus_interactions=len(set(interactions) - self.client_record.interactions),
            surplus_feedback=len(set(items) - self.client_record.feedback),
        )


def _move(names: list[str], here: Path, there: Path) -> None:
    for name in names:
        with contextlib.suppress(FileNotFoundError):  # closing the store may have removed it
            (here / name).rename(there / name)


def report(soak: Soak, comparison: StoreComparison) -> dict[str, object]:
    """Return the results of a run as JSON."""
    client_record = soak.client_record
    memory = [round(result / 1e6, 1) for _, result in client_record.memory]
    return {
        "requests": len(client_record.interactions),
        "feedback": len(client_record.feedback),
        "kills": soak.kills,
        "outages": soak.size.outages,
        "statuses": dict(client_record.statuses),
        "unknown": client_record.unknown,
        "comparison": vars(comparison),
        "memory_mb": [memory[len(memory) // 2], memory[-1]] if memory else None,
        "bytes_a_request": round(client_record.growth, 1),
    }


def main() -> None:
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    begin = time.monotonic()
    with TemporaryDirectory() as name:
        soak = Soak(Path(name), SoakSize().scaled(share))
        comparison = soak.run()
    output = {"seconds": round(time.monotonic() - begin, 1), **report(soak, comparison)}
    sys.stdout.write(json.dumps(output, indent=1) + "\n")
    if comparison.lost_interactions or comparison.lost_feedback or comparison.duplicates:
        sys.exit(1)


if __name__ == "__main__":
    main()
