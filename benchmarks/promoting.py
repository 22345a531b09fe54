"""From a store with 1,000 preferences to a policy that is evaluated and promoted, step by step.

Prints the seconds of each command, whole processes as a user starts them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

BEFORE = (
    "simulate mail --requests 1000 --drafts 2 --kind preference",
    "promote plain",
)
TIMED = (
    "learn dpo --name tuned",
    "evaluate tuned --judge true-utility",
    "promote tuned",
)


def main() -> None:
    """Fill a store, then time what a user waits for."""
    with TemporaryDirectory() as folder:
        store = str(Path(folder) / "store.db")
        for command in BEFORE:
            _backtalk(command, store)
        total = 0.0
        for command in TIMED:
            begin = time.perf_counter()
            _backtalk(command, store)
            seconds = time.perf_counter() - begin
            total += seconds
            sys.stdout.write(f"{seconds:6.1f} s  backtalk {command}\n")
            sys.stdout.flush()
        sys.stdout.write(f"{total:6.1f} s  in all\n")


def _backtalk(command: str, store: str) -> None:
    words = [sys.executable, "-m", "backtalk", *command.split(), "--store", store]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
