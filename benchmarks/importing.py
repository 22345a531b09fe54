"""Import of a million preferences into SQLite, compared with the bare driver.

The driver inserts finished rows with the same columns and does nothing else. Backtalk reads JSON
lines or Parquet, recognises the layout, shows the first rows, validates all of them, makes records
with content ids, and stores them with its indexes.
"""

from __future__ import annotations

import json
import random
import resource
import sqlite3
import sys
import tempfile
import time
from itertools import islice
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


def write_parquet(path: Path, source: Path) -> None:
    """Write the rows of a file of JSON lines as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string()) for name in ("prompt", "chosen", "rejected")])
    with source.open() as lines, pq.ParquetWriter(path, schema) as writer:
        while batch := list(islice(lines, BATCH)):
            writer.write_table(pa.Table.from_pylist(list(map(json.loads, batch)), schema))


def run_backtalk(source: Path, database: Path) -> dict[str, float]:
    """Import a file with a preview.

    Returns
    -------
    dict
        Seconds; seconds of processor time; peak memory in MB and number of rows. The memory is the
        sum of the peaks of both processes of the import.
    """
    from backtalk import Store, ingest
    from backtalk.formats.preview import read_preview

    start = time.perf_counter()
    with Store(database) as store:
        for preview in read_preview(source):
            preview.lines()
        result = ingest(store, source)
    seconds = time.perf_counter() - start
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "seconds": seconds,
        "cpu_seconds": sum(item.ru_utime + item.ru_stime for item in usage),
        "peak_mb": sum(item.ru_maxrss for item in usage) / 1024,
        "rows": result.added.feedback,
    }


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
    """Import JSON lines and Parquet, each beside inserts of the same rows."""
    with tempfile.TemporaryDirectory() as folder:
        lines, parquet = Path(folder, "rows.jsonl"), Path(folder, "rows.parquet")
        write_rows(lines, ROWS)
        write_parquet(parquet, lines)
        return [
            result
            for name, source in (("JSON lines", lines), ("Parquet", parquet))
            for result in _measure_file(name, source, Path(folder))
        ]


def _measure_file(name: str, source: Path, folder: Path) -> list[BenchmarkResult]:
    """Import once; insert the same rows once without and once with a unique key."""
    database = folder / "store.db"
    backtalk = in_process("benchmarks.importing", "backtalk", str(source), str(database))
    peers = {}
    for peer in ("bare", "unique"):
        copy = folder / f"{peer}.db"
        peers[peer] = in_process("benchmarks.importing", peer, str(database), str(copy))
        copy.unlink()
    database.unlink()
    workload = f"{int(backtalk['rows']):,} preference rows, {name} into SQLite"
    ending = "" if name == "JSON lines" else f", {name}"
    usage = (
        f"{backtalk['cpu_seconds']:.3g} s of processor time in two processes, peak memory of both "
        f"{backtalk['peak_mb']:.0f} MB"
    )
    notes = {
        "bare": ("import, against bare inserts", f"the same columns, no index; {usage}"),
        "unique": (
            "import, against inserts with a unique key",
            "the same columns, unique by id, as idempotent imports need",
        ),
    }
    return [
        BenchmarkResult(
            f"{title}{ending}",
            workload,
            "sqlite3.executemany",
            sqlite3.sqlite_version,
            "s",
            backtalk["seconds"],
            peers[peer]["seconds"],
            1,
            note,
        )
        for peer, (title, note) in notes.items()
    ]


if __name__ == "__main__":
    program, first, second = sys.argv[1:]
    if program == "backtalk":
        result = run_backtalk(Path(first), Path(second))
    else:
        result = run_executemany(Path(first), Path(second), unique=program == "unique")
    sys.stdout.write(json.dumps(result) + "\n")
