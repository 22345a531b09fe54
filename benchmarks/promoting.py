"""Duration of training, evaluating and promoting a policy from 1,000 preferences.

Prints the seconds of each command, which runs in a new process.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

SETUP = (
    "simulate mail --requests 1000 --drafts 2 --kind preference",
    "promote plain",
)
COMMANDS = (
    "learn dpo --name tuned",
    "evaluate tuned --judge true-utility",
    "promote tuned",
)


def main() -> None:
    """Fill a store, then time each command."""
    with TemporaryDirectory() as folder:
        store = str(Path(folder) / "store.db")
        for command in SETUP:
            _backtalk(command, store)
        total = 0.0
        for command in COMMANDS:
            begin = time.perf_counter()
            _backtalk(command, store)
            seconds = time.perf_counter() - begin
            total += seconds
            sys.stdout.write(f"{seconds:6.1f} s  backtalk {command}\n")
            sys.stdout.flush()
        sys.stdout.write(f"{total:6.1f} s  total\n")


def _backtalk(command: str, store: str) -> None:
    arguments = [sys.executable, "-m", "backtalk", *command.split(), "--store", store]
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
