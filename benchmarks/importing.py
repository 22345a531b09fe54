"""Import of a million preferences into SQLite, compared with the bare driver.

The driver inserts finished rows with the same columns and does nothing else. Backtalk reads JSON
lines, validates them, makes records with content ids, and stores them with its indexes.
"""

from __future__ import annotations

import json
import random
import resource
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import BenchmarkResult, in_process

ROWS = 1_000_000
BATCH = 20_000
WORDS = "the a model answer question because so order delivery tomorrow blue green refund thanks"
TABLES = ("interactions", "feedback")


def write_rows(path: Path, rows: int) -> None:
    """Write preferences as JSON lines, with prompts of 12 words and responses of 20."""
    rng = random.Random(0)
    words = WORDS.split()

    def text(count: int) -> str:
        return " ".join(rng.choices(words, k=count))

    with path.open("w") as file:
        for i in range(rows):
            row = {"prompt": f"{i}: {text(12)}", "chosen": text(20), "rejected": text(20)}
            file.write(json.dumps(row) + "\n")


def run_backtalk(source: Path, database: Path) -> dict[str, float]:
    """Import a file; return the seconds, the peak memory in MB and the number of rows."""
    from backtalk import Store, ingest

    start = time.perf_counter()
    with Store(database) as store:
        result = ingest(store, source)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak_mb": peak, "rows": result.added.feedback}


def run_executemany(database: Path, copy: Path, *, unique: bool) -> dict[str, float]:
    """Insert the same columns with ``executemany``; return the seconds, without those of reading.

    Parameters
    ----------
    database : Path
        SQLite file with the rows to insert.
    copy : Path
        SQLite file to insert them into.
    unique : bool
        If true, the table has a unique key.
    """
    reading = sqlite3.connect(database)
    writing = sqlite3.connect(copy)
    seconds = 0.0
    for table in TABLES:
        names = [row[1] for row in reading.execute(f"PRAGMA table_info({table})")]
        columns = ", ".join(f'"{name}"' for name in names if name != "seq")
        key = ", UNIQUE (project, id)" if unique else ""
        writing.execute(f"CREATE TABLE {table} ({columns}{key})")
        placeholders = ", ".join("?" for name in names if name != "seq")
        rows = reading.execute(f"SELECT {columns} FROM {table} ORDER BY seq")
        while batch := rows.fetchmany(BATCH):
            start = time.perf_counter()
            writing.executemany(f"INSERT INTO {table} VALUES ({placeholders})", batch)
            seconds += time.perf_counter() - start
        start = time.perf_counter()
        writing.commit()
        seconds += time.perf_counter() - start
    return {"seconds": seconds}


def measure() -> list[BenchmarkResult]:
    """Import once; insert the same rows once without and once with a unique key."""
    with tempfile.TemporaryDirectory() as folder:
        source, database = Path(folder, "rows.jsonl"), Path(folder, "store.db")
        write_rows(source, ROWS)
        backtalk = in_process("benchmarks.importing", "backtalk", str(source), str(database))
        peers = {
            name: in_process("benchmarks.importing", name, str(database), str(Path(folder, name)))
            for name in ("bare", "unique")
        }
    workload = f"{int(backtalk['rows']):,} preference rows, JSON lines into SQLite"
    peer = ("sqlite3.executemany", sqlite3.sqlite_version)
    return [
        BenchmarkResult(
            "import, against bare inserts",
            workload,
            *peer,
            "s",
            backtalk["seconds"],
            peers["bare"]["seconds"],
            1,
            f"the same columns, no index; peak memory of the import {backtalk['peak_mb']:.0f} MB",
        ),
        BenchmarkResult(
            "import, against inserts with a unique key",
            workload,
            *peer,
            "s",
            backtalk["seconds"],
            peers["unique"]["seconds"],
            1,
            "the same columns, unique by id, as idempotent imports need",
        ),
    ]


if __name__ == "__main__":
    program, first, second = sys.argv[1:]
    if program == "backtalk":
        result = run_backtalk(Path(first), Path(second))
    else:
        result = run_executemany(Path(first), Path(second), unique=program == "unique")
    sys.stdout.write(json.dumps(result) + "\n")
