"""The gateway against the upstream asked directly, and against LiteLLM's proxy, in one run.

All three are asked in turns, round after round, by the same load from a process of its own: at 25
and 100 requests a second, with an upstream that answers at once and one that takes 50 ms, and flat
out with more and more callers. The gateway keeps every answer, asks for a key and, at a fixed rate,
takes feedback on every other answer, all in SQLite and durable. LiteLLM's proxy asks for a key and
logs each request to SQLite.
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

from benchmarks.measure import Measured, machine
from benchmarks.serving import servers
from benchmarks.serving.load import Plan
from benchmarks.serving.servers import ROOT, Server

ROUNDS = 3
SECONDS = 4.0
FLAT_OUT_SECONDS = 1.5
CALLERS = (2, 8, 32)
RAW = ROOT / "build" / "serving.json"

Found = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One load, named."""

    name: str
    fields: dict[str, Any]


AT_RATE = (
    Step("25/s, at once", {"rate": 25.0, "seconds": SECONDS}),
    Step("100/s, at once", {"rate": 100.0, "seconds": SECONDS}),
    Step("100/s, after 50 ms", {"rate": 100.0, "seconds": SECONDS, "model": "slow"}),
)
STEPS = (
    *AT_RATE,
    *(Step(f"{n} callers", {"callers": n, "seconds": FLAT_OUT_SECONDS}) for n in CALLERS),
)
JUDGED = Step("8 callers, feedback", {"callers": 8, "seconds": FLAT_OUT_SECONDS, "feedback": 2})


def measure() -> list[Measured]:
    """Run the race and return what came of it; all figures go to ``build/serving.json``."""
    rounds = race()
    RAW.parent.mkdir(exist_ok=True)
    RAW.write_text(json.dumps({"machine": machine(), "rounds": rounds}, indent=1) + "\n")
    sys.stdout.write(table(rounds))
    return _compared(rounds)


def race(rounds: int = ROUNDS) -> list[Found]:
    """Return what each load found, of each server in each round."""
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        up = stack.enter_context(servers.running(servers.upstream(folder)))
        store = str(folder / "feedback.db")
        key = servers.make_key(store)
        peer = servers.peer(folder, up.port)
        ours = servers.gateway(folder, up.port, store=store, key=key)
        stack.enter_context(servers.running(ours))
        stack.enter_context(servers.running(peer, "/health/liveliness"))
        contenders = [up, ours, peer]
        for server in contenders:
            load(server, Plan(port=server.port, key=server.key, seconds=1.0, callers=2))
        results = []
        for place in range(rounds):
            for step in STEPS:
                results += [_run(s, up, step, place, judge=s is ours) for s in contenders]
            results.append(_run(ours, up, JUDGED, place, judge=True))
        return results


def load(server: Server, plan: Plan) -> Found:
    """Put a load on a server, from another process, and return what it saw."""
    fields = {**vars(plan), "port": server.port, "key": server.key}
    command = [sys.executable, "-m", "benchmarks.serving.load", json.dumps(fields)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    seen: Found = json.loads(done.stdout)
    del seen["plan"]
    return seen


def _run(server: Server, up: Server, step: Step, place: int, *, judge: bool) -> Found:
    fields = dict(step.fields)
    if judge and fields.get("rate"):
        fields["feedback"] = 2
    before, up_before = server.cpu(), up.cpu()
    seen = load(server, Plan(port=server.port, key=server.key, **fields))
    cpu = 1000 * (server.cpu() - before) / max(1, seen["requests"])
    up_cpu = 1000 * (up.cpu() - up_before) / max(1, seen["requests"])
    name = "direct" if server is up else server.name
    return {"server": name, "step": step.name, "round": place, "cpu": cpu, "up_cpu": up_cpu, **seen}


def middle(rounds: list[Found], server: str, step: str, what: str) -> float:
    """Return the median over the rounds."""
    return statistics.median(
        float(f[what]) for f in rounds if f["server"] == server and f["step"] == step
    )


def added(rounds: list[Found], server: str, step: str, what: str) -> float:
    """Return the median over the rounds of what a server adds to the upstream asked directly."""
    by_round: dict[int, dict[str, float]] = {}
    for result in rounds:
        if result["step"] == step:
            by_round.setdefault(result["round"], {})[result["server"]] = result[what]
    return statistics.median(f[server] - f["direct"] for f in by_round.values())


def most(rounds: list[Found], server: str) -> float:
    """Return the requests a second at the number of callers at which there are most."""
    return max(middle(rounds, server, f"{n} callers", "per_second") for n in CALLERS)


def table(rounds: list[Found]) -> str:
    """Return all medians, a line each."""
    lines = [f"{'server':8} {'step':20} {'req/s':>8} {'p50':>8} {'p99':>8} {'CPU ms':>7} failed\n"]
    for server in ("direct", "gateway", "LiteLLM"):
        for step in (*STEPS, JUDGED):
            own = [f for f in rounds if f["server"] == server and f["step"] == step.name]
            if not own:
                continue
            numbers = [
                middle(rounds, server, step.name, what)
                for what in ("per_second", "p50", "p99", "cpu")
            ]
            failed = sum(sum(result["failed"].values()) for result in own)
            cells = "{:8.0f} {:8.2f} {:8.2f} {:7.2f}".format(*numbers)
            lines.append(f"{server:8} {step.name:20} {cells} {failed}\n")
    return "".join(lines)


def _compared(rounds: list[Found]) -> list[Measured]:
    results = []
    for step in AT_RATE:
        note = ""
        if most(rounds, "LiteLLM") < step.fields["rate"]:
            note = "more than LiteLLM takes here: its requests queue up"
        for what in ("p50", "p99"):
            values = {s: added(rounds, s, step.name, what) for s in ("gateway", "LiteLLM")}
            name = f"serving, {what} added, {step.name}"
            results.append(_line(name, f"{_ON}, feedback on every other answer", values, note))
    rates = {s: most(rounds, s) for s in ("gateway", "LiteLLM")}
    results.append(
        _line(
            "serving, flat out",
            f"a request at the best of {', '.join(map(str, CALLERS))} callers, {_ON}",
            {server: 1000 / rate for server, rate in rates.items()},
            f"{rates['gateway']:.0f} against {rates['LiteLLM']:.0f} requests/s",
        )
    )
    cpu = {s: middle(rounds, s, "8 callers", "cpu") for s in ("gateway", "LiteLLM")}
    results.append(_line("serving, CPU of a request", f"8 callers, {_ON}", cpu))
    return results


_ON = "logging (the peer's by a callback to SQLite) and keys on"


def _line(name: str, what: str, values: dict[str, float], note: str = "") -> Measured:
    return Measured(
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
