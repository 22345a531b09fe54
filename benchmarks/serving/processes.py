"""Four processes against one on PostgreSQL, and what is left of the records when some are killed.

``python -m benchmarks.serving.processes [SHARE]`` asks both in turns, flat out, and prints the CPU
that each part takes of a request: load, upstream, gateway and database share the same cores, which
bounds what more processes can bring. Then the soak is run on four processes, of which one at a time
is killed, while the server of the database crashes now and then.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.serving import servers
from benchmarks.serving.load import Plan
from benchmarks.serving.postgres import Postgres, postgres
from benchmarks.serving.race import load
from benchmarks.serving.soak import Size, Soak, report

WORKERS = 4
ROUNDS = 3
SECONDS = 4.0
CALLERS = 96

Found = dict[str, Any]


class Processes(Soak):
    """The soak on several processes: one of them is killed at a time, or the database crashes."""

    def __init__(self, folder: Path, size: Size, *, server: Postgres, workers: int) -> None:
        super().__init__(folder, size, store=server.make("soak"), workers=workers)
        self._server = server
        self._random = random.Random(0)

    async def kill(self) -> None:
        """Kill one process; its supervisor starts another."""
        self._random.choice(self.gateway.workers()).kill()

    async def take_away(self, turn: int) -> None:
        """Crash the server of the database."""
        del turn
        await asyncio.to_thread(self._server.crash)


def compare(server: Postgres, folder: Path) -> list[Found]:
    """Ask a gateway of one process and one of several in turns."""
    with ExitStack() as stack:
        up = stack.enter_context(servers.running(servers.upstream(folder)))
        gateways = {}
        for workers in (1, WORKERS):
            own = folder / f"of-{workers}"
            own.mkdir()
            store = server.make(f"of_{workers}")
            key = servers.make_key(store)
            made = servers.gateway(own, up.port, store=store, key=key, workers=workers)
            gateways[workers] = stack.enter_context(servers.running(made))
        plan = Plan(port=0, seconds=SECONDS, callers=CALLERS, feedback=2)
        for gateway in gateways.values():
            load(gateway, plan)
        return [
            _ask(gateway, up, server, plan, workers)
            for _ in range(ROUNDS)
            for workers, gateway in gateways.items()
        ]


def _ask(
    gateway: servers.Server, up: servers.Server, server: Postgres, plan: Plan, workers: int
) -> Found:
    before = _spent(gateway, up, server)
    seen = load(gateway, plan)
    after = _spent(gateway, up, server)
    each = {name: 1000 * (after[name] - before[name]) / seen["requests"] for name in before}
    return {"workers": workers, "per_second": seen["per_second"], "cpu_ms": each, **seen}


def _spent(gateway: servers.Server, up: servers.Server, server: Postgres) -> dict[str, float]:
    load_ = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "gateway": gateway.cpu(),
        "database": server.cpu(),
        "load": load_.ru_utime + load_.ru_stime,
        "upstream": up.cpu(),
    }


def told(rounds: list[Found]) -> Found:
    """Return the medians, the ratio, and the ratio that the cores allow."""
    rate, each = {}, {}
    for workers in (1, WORKERS):
        own = [result for result in rounds if result["workers"] == workers]
        rate[workers] = statistics.median(result["per_second"] for result in own)
        each[workers] = {
            name: round(statistics.median(result["cpu_ms"][name] for result in own), 3)
            for name in own[0]["cpu_ms"]
        }
    cores = len(os.sched_getaffinity(0))
    bound = 1000 * cores / sum(each[WORKERS].values())
    return {
        "requests_per_second": rate,
        "ratio": rate[WORKERS] / rate[1],
        "cpu_ms_a_request": each,
        "bound_by_the_cores": {"requests_per_second": bound, "ratio": bound / rate[1]},
        "failed": [result["failed"] for result in rounds if result["failed"]],
    }


def main() -> None:
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 0.1
    with postgres() as server, TemporaryDirectory() as name:
        folder = Path(name)
        sys.stdout.write(json.dumps(told(compare(server, folder)), indent=1) + "\n")
        sys.stdout.flush()
        soak = Processes(folder, Size().of(share), server=server, workers=WORKERS)
        kept = soak.run()
    sys.stdout.write(json.dumps(report(soak, kept), indent=1) + "\n")
    if kept.lost_talks or kept.lost_feedback or kept.twice:
        sys.exit(1)


if __name__ == "__main__":
    main()
