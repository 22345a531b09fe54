"""Importing a million preferences into SQLite, against the bare driver.

The peer gets the finished rows, the very same columns, and does nothing but insert them; Backtalk
reads JSON lines, checks them, makes records with content ids, and keeps them with its indexes.
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

from benchmarks.measure import Measured, in_process

ROWS = 1_000_000
BATCH = 20_000
WORDS = "the a model answer question because so order delivery tomorrow blue green refund thanks"
TABLES = ("interactions", "feedback")


def write_rows(path: Path, rows: int) -> None:
    """Write preferences as JSON lines: prompts of 12 words, answers of 20."""
    rng = random.Random(0)
    words = WORDS.split()

    def text(count: int) -> str:
        return " ".join(rng.choices(words, k=count))

    with path.open("w") as file:
        for i in range(rows):
            row = {"prompt": f"{i}: {text(12)}", "chosen": text(20), "rejected": text(20)}
            file.write(json.dumps(row) + "\n")


def ours(source: Path, database: Path) -> dict[str, float]:
    """Import, and say how long it took and how much memory at most."""
    from backtalk import Store, ingest

    begin = time.perf_counter()
    with Store(database) as store:
        done = ingest(store, source)
    took = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": took, "peak_mb": peak, "rows": done.added.feedback}


def bare(database: Path, copy: Path, *, unique: bool) -> dict[str, float]:
    """Insert the same columns with ``executemany``; reading them back does not count."""
    reading = sqlite3.connect(database)
    writing = sqlite3.connect(copy)
    took = 0.0
    for table in TABLES:
        names = [row[1] for row in reading.execute(f"PRAGMA table_info({table})")]
        listed = ", ".join(f'"{name}"' for name in names if name != "seq")
        key = ", UNIQUE (project, id)" if unique else ""
        writing.execute(f"CREATE TABLE {table} ({listed}{key})")
        marks = ", ".join("?" for name in names if name != "seq")
        rows = reading.execute(f"SELECT {listed} FROM {table} ORDER BY seq")
        while batch := rows.fetchmany(BATCH):
            begin = time.perf_counter()
            writing.executemany(f"INSERT INTO {table} VALUES ({marks})", batch)
            took += time.perf_counter() - begin
        begin = time.perf_counter()
        writing.commit()
        took += time.perf_counter() - begin
    return {"seconds": took}


def measure() -> list[Measured]:
    """Import once, and insert the same once without and once with a unique key."""
    with tempfile.TemporaryDirectory() as folder:
        source, database = Path(folder, "rows.jsonl"), Path(folder, "store.db")
        write_rows(source, ROWS)
        mine = in_process("benchmarks.importing", "ours", str(source), str(database))
        peers = {
            name: in_process("benchmarks.importing", name, str(database), str(Path(folder, name)))
            for name in ("bare", "unique")
        }
    what = f"{int(mine['rows']):,} preference rows, JSON lines into SQLite"
    peer = ("sqlite3.executemany", sqlite3.sqlite_version)
    return [
        Measured(
            "import, against bare inserts",
            what,
            *peer,
            "s",
            mine["seconds"],
            peers["bare"]["seconds"],
            1,
            f"the same columns, no index; peak memory of the import {mine['peak_mb']:.0f} MB",
        ),
        Measured(
            "import, against inserts with a unique key",
            what,
            *peer,
            "s",
            mine["seconds"],
            peers["unique"]["seconds"],
            1,
            "the same columns, unique by id, as idempotent imports need",
        ),
    ]


if __name__ == "__main__":
    way, first, second = sys.argv[1:]
    if way == "ours":
        found = ours(Path(first), Path(second))
    else:
        found = bare(Path(first), Path(second), unique=way == "unique")
    sys.stdout.write(json.dumps(found) + "\n")
