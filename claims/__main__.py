"""Command that measures claims and writes the evidence: ``python -m claims [NAME ...]``."""

from __future__ import annotations

import argparse
import sys

from backtalk.errors import BacktalkError
from claims import evidence, running
from claims.claim import find_claims


def main() -> int:
    """Measure the claims that have not been measured, and write the evidence."""
    parser = argparse.ArgumentParser(prog="python -m claims", description=main.__doc__)
    parser.add_argument("names", nargs="*", help="claims, systems or families; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="number of parallel runs")
    parser.add_argument(
        "--again", action="store_true", help="measure again what was measured before"
    )
    parser.add_argument(
        "--confirm", action="store_true", help="measure the confirmation seeds instead, once"
    )
    parser.add_argument(
        "--real-model",
        action="store_true",
        help="measure the claims on a real language model, which take longer; without names only "
        "these are measured with this option, and only the others without it",
    )
    parser.add_argument(
        "--list", action="store_true", help="list the claims and their status, without measuring"
    )
    arguments = parser.parse_args()
    try:
        running.load()
        chosen = find_claims(arguments.names)
        if not arguments.names:
            chosen = [item for item in chosen if bool(item.model) == arguments.real_model]
    except BacktalkError as error:
        print(error, file=sys.stderr)
        return 2
    if not arguments.list:
        running.run(
            chosen,
            jobs=arguments.jobs,
            again=arguments.again,
            confirm=arguments.confirm,
            report=_print_run,
        )
    for item in evidence.write(running.load().values()):
        print(f"{item.status:>8}  {item.claim.name} ({item.claim.system})")
    return 0


def _print_run(measured: running.Measured) -> None:
    outcome = measured.error.strip().splitlines()[-1] if measured.error else measured.figures
    print(
        f"{measured.claim}, seed {measured.seed}: {outcome} ({measured.seconds:.0f} s)", flush=True
    )


if __name__ == "__main__":
    sys.exit(main())
