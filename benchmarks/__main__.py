"""Run benchmarks, all or those named, and write ``docs/BENCHMARKS.md`` and ``benchmarks.json``."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.measure import Measured, machine

MODULES = ("importing", "learning", "estimating", "sampling", "finetuning", "serving")
DOCS = Path(__file__).parent.parent / "docs"

HEAD = """# Benchmarks

Each line does one thing twice in one run, by Backtalk and by a peer; the ratio is Backtalk's
time over the peer's, so that below one Backtalk takes less. `make bench` measures again and
rewrites this page. Medians over the runs stated; one run where it takes minutes.

Measured on {machine}.

| what | size | Backtalk | peer | ratio | runs | |
|---|---|---|---|---|---|---|
"""


def line(found: Measured) -> str:
    """Return a line of the table."""
    theirs = f"{found.theirs:.3g} {found.unit}, {found.peer} {found.peer_version}"
    ours = f"{found.ours:.3g} {found.unit}"
    cells = (found.name, found.what, ours, theirs, f"{found.ratio:.2f}", found.runs, found.note)
    return f"| {' | '.join(map(str, cells))} |\n"


def main() -> None:
    """Measure, print and write; what was not asked for stays as it was measured before."""
    kept = json.loads((DOCS / "benchmarks.json").read_text(encoding="utf-8"))["benchmarks"]
    results = {item["name"]: Measured.from_dict(item) for item in kept}
    for name in sys.argv[1:] or MODULES:
        for measured in import_module(f"benchmarks.{name}").measure():
            sys.stdout.write(line(measured))
            sys.stdout.flush()
            results[measured.name] = measured
    page = HEAD.format(machine=machine()) + "".join(map(line, results.values()))
    (DOCS / "BENCHMARKS.md").write_text(page, encoding="utf-8")
    numbers = {"machine": machine(), "benchmarks": [item.to_dict() for item in results.values()]}
    (DOCS / "benchmarks.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
