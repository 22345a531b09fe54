"""Comparison of the gateway with the one of another revision, in turns.

``python -m benchmarks.serving.revisions REVISION [ROUNDS]`` checks the revision out into a
temporary folder, and prints for each load the ratios of added latency, throughput and processor
time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.serving import servers
from benchmarks.serving.load import LoadSpec
from benchmarks.serving.race import (
    AT_RATE,
    LoadStep,
    Measurement,
    added_latency,
    load,
    median_of,
    run_step,
)
from benchmarks.serving.servers import ROOT, Server

ROUNDS = 4
STEPS = (
    *AT_RATE[:2],
    LoadStep("8 callers", {"callers": 8, "seconds": 3.0}),
    LoadStep("8 callers, feedback", {"callers": 8, "seconds": 3.0, "feedback": 2}),
)
_MAKE_KEY = (
    "import sys; from benchmarks.serving.servers import make_key; print(make_key(sys.argv[1]))"
)


def compare(revision: str, rounds: int) -> dict[str, dict[str, float]]:
    """Return the ratios of this revision's figures to those of another one, for each load.

    Parameters
    ----------
    revision : str
        Name of the other revision in Git.
    rounds : int
        Number of rounds. Ratios are those of the medians.
    """
    results: dict[str, list[Measurement]] = {"now": [], "before": []}
    with TemporaryDirectory() as name, checked_out(revision) as before:
        for round_ in range(rounds):
            for label, checkout in (("before", before), ("now", ROOT)):
                folder = Path(name) / f"{label}-{round_}"
                folder.mkdir()
                results[label] += measure(checkout, folder, round_)
    return {step.name: _ratios(results, step.name) for step in STEPS}


def measure(checkout: Path, folder: Path, round_: int) -> list[Measurement]:
    """Return the measurements of one round of the gateway in a checkout.

    Parameters
    ----------
    checkout : Path
        Root of the checkout.
    folder : Path
        Folder for the files of the servers.
    round_ : int
        Number of the round.
    """
    with ExitStack() as stack:
        upstream = stack.enter_context(servers.running(servers.upstream(folder)))
        gateway = stack.enter_context(servers.running(_start(checkout, folder, upstream)))
        load(gateway, LoadSpec(port=gateway.port, key=gateway.key, seconds=1.0, callers=2))
        return [
            run_step(server, upstream, step, round_, with_feedback=server is gateway)
            for step in STEPS
            for server in (gateway, upstream)
        ]


def _start(checkout: Path, folder: Path, upstream: Server) -> Server:
    """Start the gateway of a checkout, with a store that it makes itself."""
    path = f"{checkout / 'src'}:{checkout}"
    store = str(folder / "feedback.db")
    made = subprocess.run(
        [sys.executable, "-c", _MAKE_KEY, store],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": path},
    )
    key = made.stdout.strip()
    return servers.gateway(folder, upstream.port, store=store, key=key, PYTHONPATH=path)


def _ratios(results: dict[str, list[Measurement]], step: str) -> dict[str, float]:
    figures = {
        label: {
            **{m: added_latency(rounds, "gateway", step, m) for m in ("p50", "p99")},
            **{m: median_of(rounds, "gateway", step, m) for m in ("cpu", "per_second")},
        }
        for label, rounds in results.items()
    }
    return {
        metric: round(figures["now"][metric] / before, 3)
        for metric, before in figures["before"].items()
    }


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Check a revision out into a temporary folder."""
    with TemporaryDirectory() as name:
        folder = Path(name) / "checkout"
        git = ["git", "-C", str(ROOT), "worktree"]
        command = [*git, "add", "--quiet", "--detach", str(folder), revision]
        subprocess.run(command, check=True)
        try:
            yield folder
        finally:
            subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def main() -> None:
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    sys.stdout.write(json.dumps(compare(sys.argv[1], rounds), indent=1) + "\n")


if __name__ == "__main__":
    main()
