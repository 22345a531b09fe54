"""Command that runs benchmarks and writes ``docs/BENCHMARKS.md`` and ``benchmarks.json``."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.measure import BenchmarkResult, machine
from benchmarks.table import Table

MODULES = (
    "importing",
    "startup",
    "learning",
    "estimating",
    "sampling",
    "finetuning",
    "serving",
    "memory-search",
    "memory-changes",
    "memory-effects",
    "memory-scope",
    "prompt-signals",
    "prompt-resume",
)
"""Names of the benchmarks. Those with a function ``tables`` compare figures other than times."""
DOCS = Path(__file__).parent.parent / "docs"

HEAD = """# Benchmarks

Each line measures one task with Backtalk and with a peer, in the same process. The ratio is
Backtalk's time over the peer's; below one, Backtalk takes less. Times are medians over the runs;
tasks that take minutes run once. `make bench` measures again and rewrites this page.

Measured on {machine}.

| what | size | Backtalk | peer | ratio | runs | |
|---|---|---|---|---|---|---|
"""


def line(result: BenchmarkResult) -> str:
    """Return the row of a result in the table."""
    theirs = f"{result.theirs:.3g} {result.unit}, {result.peer} {result.peer_version}"
    ours = f"{result.ours:.3g} {result.unit}"
    cells = (
        result.name,
        result.what,
        ours,
        theirs,
        f"{result.ratio:.2f}",
        result.runs,
        result.note,
    )
    return f"| {' | '.join(map(str, cells))} |\n"


def main() -> None:
    """Run the benchmarks and write the page, with the previous results of the others."""
    measured: list[BenchmarkResult | Table] = []
    for name in sys.argv[1:] or MODULES:
        module = import_module(f"benchmarks.{name.replace('-', '_')}")
        for table in module.tables() if hasattr(module, "tables") else ():
            sys.stdout.write(table.markdown())
            measured.append(table)
        for result in module.measure() if hasattr(module, "measure") else ():
            sys.stdout.write(line(result))
            sys.stdout.flush()
            measured.append(result)
    # Read now: another run may have added results in the meantime.
    previous = json.loads((DOCS / "benchmarks.json").read_text(encoding="utf-8"))
    results = {item["name"]: BenchmarkResult.from_dict(item) for item in previous["benchmarks"]}
    tables = {item["name"]: Table.from_dict(item) for item in previous.get("tables", ())}
    results |= {item.name: item for item in measured if isinstance(item, BenchmarkResult)}
    tables |= {item.name: item for item in measured if isinstance(item, Table)}
    page = HEAD.format(machine=machine()) + "".join(map(line, results.values()))
    page += "".join(table.markdown() for table in tables.values())
    (DOCS / "BENCHMARKS.md").write_text(page, encoding="utf-8")
    numbers = {
        "machine": machine(),
        "benchmarks": [item.to_dict() for item in results.values()],
        "tables": [item.to_dict() for item in tables.values()],
    }
    (DOCS / "benchmarks.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
