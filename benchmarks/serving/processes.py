"""Four worker processes against one on PostgreSQL, and a soak test with kills of single processes.

``python -m benchmarks.serving.processes [SHARE]`` measures both in turns at maximum throughput, and
prints the CPU time per request of the load generator, the upstream, the gateway and the database.
They share the same cores, which limits the gain by more processes. Then the soak test runs on four
processes, one of which is killed at a time, while the database server crashes now and then.
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
from benchmarks.serving.load import LoadSpec
from benchmarks.serving.postgres import Postgres, postgres
from benchmarks.serving.race import load
from benchmarks.serving.soak import Soak, SoakSize, report

WORKERS = 4
ROUNDS = 3
SECONDS = 4.0
CALLERS = 96

Measurement = dict[str, Any]


class Processes(Soak):
    """Soak test with several worker processes, kills of single ones, and database crashes."""

    def __init__(self, folder: Path, size: SoakSize, *, server: Postgres, workers: int) -> None:
        super().__init__(folder, size, store=server.make("soak"), workers=workers)
        self._server = server
        self._random = random.Random(0)

    async def kill(self) -> None:
        """Kill a worker process; the supervisor replaces it."""
        self._random.choice(self.gateway.workers()).kill()

    async def make_unavailable(self, turn: int) -> None:
        """Crash the database server."""
        del turn
        await asyncio.to_thread(self._server.crash)


def compare(server: Postgres, folder: Path) -> list[Measurement]:
    """Measure a gateway with one process and one with several, in turns."""
    with ExitStack() as stack:
        up = stack.enter_context(servers.running(servers.upstream(folder)))
        gateways = {}
        for workers in (1, WORKERS):
            matches = folder / f"of-{workers}"
            matches.mkdir()
            store = server.make(f"of_{workers}")
            key = servers.make_key(store)
            made = servers.gateway(matches, up.port, store=store, key=key, workers=workers)
            gateways[workers] = stack.enter_context(servers.running(made))
        spec = LoadSpec(port=0, seconds=SECONDS, callers=CALLERS, feedback=2)
        for gateway in gateways.values():
            load(gateway, spec)
        return [
            _measure(gateway, up, server, spec, workers)
            for _ in range(ROUNDS)
            for workers, gateway in gateways.items()
        ]


def _measure(
    gateway: servers.Server, up: servers.Server, server: Postgres, spec: LoadSpec, workers: int
) -> Measurement:
    before = _cpu_seconds(gateway, up, server)
    result = load(gateway, spec)
    after = _cpu_seconds(gateway, up, server)
    per_request = {
        name: 1000 * (after[name] - before[name]) / result["requests"] for name in before
    }
    return {"workers": workers, "per_second": result["per_second"], "cpu_ms": per_request, **result}


def _cpu_seconds(gateway: servers.Server, up: servers.Server, server: Postgres) -> dict[str, float]:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "gateway": gateway.cpu(),
        "database": server.cpu(),
        "load": usage.ru_utime + usage.ru_stime,
        "upstream": up.cpu(),
    }


def summarise(rounds: list[Measurement]) -> Measurement:
    """Return the medians, the ratio of throughputs, and the bound on it by the cores."""
    rate, per_request = {}, {}
    for workers in (1, WORKERS):
        matches = [result for result in rounds if result["workers"] == workers]
        rate[workers] = statistics.median(result["per_second"] for result in matches)
        per_request[workers] = {
            name: round(statistics.median(result["cpu_ms"][name] for result in matches), 3)
            for name in matches[0]["cpu_ms"]
        }
    cores = len(os.sched_getaffinity(0))
    bound = 1000 * cores / sum(per_request[WORKERS].values())
    return {
        "requests_per_second": rate,
        "ratio": rate[WORKERS] / rate[1],
        "cpu_ms_a_request": per_request,
        "bound_by_the_cores": {"requests_per_second": bound, "ratio": bound / rate[1]},
        "failed": [result["failed"] for result in rounds if result["failed"]],
    }


def main() -> None:
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 0.1
    with postgres() as server, TemporaryDirectory() as name:
        folder = Path(name)
        sys.stdout.write(json.dumps(summarise(compare(server, folder)), indent=1) + "\n")
        sys.stdout.flush()
        soak = Processes(folder, SoakSize().scaled(share), server=server, workers=WORKERS)
        comparison = soak.run()
    sys.stdout.write(json.dumps(report(soak, comparison), indent=1) + "\n")
    if comparison.lost_interactions or comparison.lost_feedback or comparison.duplicates:
        sys.exit(1)


if __name__ == "__main__":
    main()
