"""Start of the command line, in processor time, compared with bare imports and with peers.

Each command runs in a new process, in turn with its peer. The bare imports are those of the
libraries that every command line of this kind needs: arguments, database, validation.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import BenchmarkResult

RUNS = 10
ROWS = 10
BACKTALK = (sys.executable, "-m", "backtalk")
IMPORTS = (sys.executable, "-c", "import typer, sqlalchemy, pydantic")
HF = (str(Path(sys.executable).with_name("hf")), "version")


def processor_seconds(command: tuple[str, ...], folder: Path) -> float:
    """Return the user and system time of a command, in seconds."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}  # no look for a newer version
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(
    name: str, ours: tuple[str, ...], theirs: tuple[str, ...], *, peer: str, package: str
) -> BenchmarkResult:
    """Run two commands in turn, after one run of each that is not measured.

    Parameters
    ----------
    name : str
        Name of the task.
    ours, theirs : tuple of str
        Commands.
    peer : str
        Name of the peer.
    package : str
        Package whose version is the peer's.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = [{"prompt": f"{i}?", "chosen": "Yes.", "rejected": "No."} for i in range(ROWS)]
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        processor_seconds((*BACKTALK, "import", "rows.jsonl"), folder)
        pairs = [
            (processor_seconds(ours, folder), processor_seconds(theirs, folder))
            for _ in range(RUNS + 1)
        ]
    mine, others = (statistics.median(column) for column in zip(*pairs[1:], strict=True))
    what = f"processor time of a new process; a store of {ROWS} preferences"
    return BenchmarkResult(name, what, peer, version(package), "s", mine, others, RUNS)


def measure() -> list[BenchmarkResult]:
    """Compare three commands with bare imports, and the shortest one with a peer's."""
    commands = {
        "status": ("status",),
        "methods": ("methods",),
        f"import of {ROWS} rows": ("import", "rows.jsonl"),
    }
    against_imports = [
        compare(
            f"start, {name}, against bare imports",
            (*BACKTALK, *command),
            IMPORTS,
            peer="`import typer, sqlalchemy, pydantic`, SQLAlchemy",
            package="sqlalchemy",
        )
        for name, command in commands.items()
    ]
    shortest = compare(
        "start, version", (*BACKTALK, "--version"), HF, peer="hf version", package="huggingface_hub"
    )
    return [*against_imports, shortest]
