"""Comparison of the gateway with the upstream alone and with LiteLLM's proxy, in one run.

The same load generator measures all three in turns: at 25 and 100 requests per second, with an
upstream that responds immediately or after 50 ms, and at maximum throughput with an increasing
number of callers. The gateway stores every completion durably in SQLite, requires a key and, at
fixed rates, takes feedback on every other completion. LiteLLM's proxy requires a key and logs each
request to SQLite.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import BenchmarkResult, machine
from benchmarks.serving import servers
from benchmarks.serving.load import LoadSpec
from benchmarks.serving.servers import ROOT, Server

ROUNDS = 3
SECONDS = 4.0
FLAT_OUT_SECONDS = 1.5
CALLERS = (2, 8, 32)
RAW = ROOT / "build" / "serving.json"

Measurement = dict[str, Any]


@dataclass(frozen=True)
class LoadStep:
    """Named load."""

    name: str
    fields: dict[str, Any]


AT_RATE = (
    LoadStep("25/s, at once", {"rate": 25.0, "seconds": SECONDS}),
    LoadStep("100/s, at once", {"rate": 100.0, "seconds": SECONDS}),
    LoadStep("100/s, after 50 ms", {"rate": 100.0, "seconds": SECONDS, "model": "slow"}),
)
STEPS = (
    *AT_RATE,
    *(LoadStep(f"{n} callers", {"callers": n, "seconds": FLAT_OUT_SECONDS}) for n in CALLERS),
)
WITH_FEEDBACK = LoadStep(
    "8 callers, feedback", {"callers": 8, "seconds": FLAT_OUT_SECONDS, "feedback": 2}
)


def measure() -> list[BenchmarkResult]:
    """Run the comparison and return its results. All figures go to ``build/serving.json``."""
    rounds = race()
    RAW.parent.mkdir(exist_ok=True)
    RAW.write_text(json.dumps({"machine": machine(), "rounds": rounds}, indent=1) + "\n")
    sys.stdout.write(table(rounds))
    return _compared(rounds)


def race(rounds: int = ROUNDS) -> list[Measurement]:
    """Return the measurements of each load on each server in each round."""
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        upstream = stack.enter_context(servers.running(servers.upstream(folder)))
        store = str(folder / "feedback.db")
        key = servers.make_key(store)
        peer = servers.peer(folder, upstream.port)
        ours = servers.gateway(folder, upstream.port, store=store, key=key)
        stack.enter_context(servers.running(ours))
        stack.enter_context(servers.running(peer, "/health/liveliness"))
        contenders = [upstream, ours, peer]
        for server in contenders:
            load(server, LoadSpec(port=server.port, key=server.key, seconds=1.0, callers=2))
        results = []
        for round_ in range(rounds):
            for step in STEPS:
                results += [
                    run_step(s, upstream, step, round_, with_feedback=s is ours) for s in contenders
                ]
            results.append(run_step(ours, upstream, WITH_FEEDBACK, round_, with_feedback=True))
        return results


def load(server: Server, plan: LoadSpec) -> Measurement:
    """Run a load on a server from another process, and return its result."""
    fields = {**vars(plan), "port": server.port, "key": server.key}
    command = [sys.executable, "-m", "benchmarks.serving.load", json.dumps(fields)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    result: Measurement = json.loads(done.stdout)
    del result["plan"]
    return result


def run_step(
    server: Server, upstream: Server, step: LoadStep, round_: int, *, with_feedback: bool
) -> Measurement:
    """Run a load on a server, and return the result with the processor time of a request.

    Parameters
    ----------
    server : Server
        Server that gets the load.
    upstream : Server
        Upstream behind it.
    step : LoadStep
        Load.
    round_ : int
        Number of the round.
    with_feedback : bool
        If true, feedback follows every other completion at a fixed rate.
    """
    fields = dict(step.fields)
    if with_feedback and fields.get("rate"):
        fields["feedback"] = 2
    before, up_before = server.cpu(), upstream.cpu()
    result = load(server, LoadSpec(port=server.port, key=server.key, **fields))
    cpu = 1000 * (server.cpu() - before) / max(1, result["requests"])
    up_cpu = 1000 * (upstream.cpu() - up_before) / max(1, result["requests"])
    name = "direct" if server is upstream else server.name
    return {
        "server": name,
        "step": step.name,
        "round": round_,
        "cpu": cpu,
        "up_cpu": up_cpu,
        **result,
    }


def median_of(rounds: list[Measurement], server: str, step: str, metric: str) -> float:
    """Return the median of a metric over the rounds.

    Parameters
    ----------
    rounds : list of Measurement
        Measurements of all rounds.
    server : str
        Name of the server; ``"direct"`` for the upstream alone.
    step : str
        Name of the load.
    metric : str
        Field of the measurements.
    """
    return statistics.median(
        float(f[metric]) for f in rounds if f["server"] == server and f["step"] == step
    )


def added_latency(rounds: list[Measurement], server: str, step: str, metric: str) -> float:
    """Return the median over the rounds of the difference to the upstream alone.

    Parameters
    ----------
    rounds : list of Measurement
        Measurements of all rounds.
    server : str
        Name of the server.
    step : str
        Name of the load.
    metric : str
        Field of the measurements.
    """
    by_round: dict[int, dict[str, float]] = {}
    for result in rounds:
        if result["step"] == step:
            by_round.setdefault(result["round"], {})[result["server"]] = result[metric]
    return statistics.median(f[server] - f["direct"] for f in by_round.values())


def max_throughput(rounds: list[Measurement], server: str) -> float:
    """Return the requests per second at the best number of callers."""
    return max(median_of(rounds, server, f"{n} callers", "per_second") for n in CALLERS)


def table(rounds: list[Measurement]) -> str:
    """Return a table of all medians."""
    lines = [f"{'server':8} {'step':20} {'req/s':>8} {'p50':>8} {'p99':>8} {'CPU ms':>7} failed\n"]
    for server in ("direct", "gateway", "LiteLLM"):
        for step in (*STEPS, WITH_FEEDBACK):
            matches = [f for f in rounds if f["server"] == server and f["step"] == step.name]
            if not matches:
                continue
            numbers = [
                median_of(rounds, server, step.name, metric)
                for metric in ("per_second", "p50", "p99", "cpu")
            ]
            failed = sum(sum(result["failed"].values()) for result in matches)
            cells = "{:8.0f} {:8.2f} {:8.2f} {:7.2f}".format(*numbers)
            lines.append(f"{server:8} {step.name:20} {cells} {failed}\n")
    return "".join(lines)


def _compared(rounds: list[Measurement]) -> list[BenchmarkResult]:
    results = []
    for step in AT_RATE:
        note = ""
        if max_throughput(rounds, "LiteLLM") < step.fields["rate"]:
            note = "above LiteLLM's throughput here: its requests queue up"
        for metric in ("p50", "p99"):
            values = {
                s: added_latency(rounds, s, step.name, metric) for s in ("gateway", "LiteLLM")
            }
            name = f"serving, {metric} added, {step.name}"
            results.append(_line(name, f"{_ON}, feedback on every other answer", values, note))
    rates = {s: max_throughput(rounds, s) for s in ("gateway", "LiteLLM")}
    results.append(
        _line(
            "serving, flat out",
            f"a request at the best of {', '.join(map(str, CALLERS))} callers, {_ON}",
            {server: 1000 / rate for server, rate in rates.items()},
            f"{rates['gateway']:.0f} against {rates['LiteLLM']:.0f} requests/s",
        )
    )
    cpu = {s: median_of(rounds, s, "8 callers", "cpu") for s in ("gateway", "LiteLLM")}
    results.append(_line("serving, CPU of a request", f"8 callers, {_ON}", cpu))
    return results


_ON = "logging (the peer's by a callback to SQLite) and keys on"


def _line(name: str, what: str, values: dict[str, float], note: str = "") -> BenchmarkResult:
    return BenchmarkResult(
        name=name,
        what=what,
        peer="LiteLLM proxy",
        peer_version=servers.PEER_VERSION,
        unit="ms",
        ours=values["gateway"],
        theirs=values["LiteLLM"],
        runs=ROUNDS,
        note=note,
    )
