"""Coverage of each interval by simulation: ``python -m tests.stats.coverage``.

A cell is an interval, a kind of data with known truth, and a number of items. Its coverage is
the share of seeded replications whose interval contains the truth.
"""

import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

COLUMNS = (10, 20, 50, 200)
BATCH_SIZE = 500
Limits = tuple[np.ndarray, np.ndarray, np.ndarray | float]


@dataclass(frozen=True)
class Cell:
    """An interval on a kind of data, with its expected coverage.

    ``run`` takes a random generator and a number of replications and returns the lower ends, the
    upper ends and the truth. ``promise`` is the range of coverage that the tests accept; None if
    the figure is only reported.
    """

    interval: str
    data: str
    n: int
    run: Callable[[np.random.Generator, int], Limits]
    replications: int = 4000
    promise: tuple[float, float] | None = (0.93, 0.97)

    @property
    def name(self) -> str:
        return f"{self.interval}, {self.data}, n={self.n}"


@dataclass(frozen=True)
class CoverageResult:
    """Coverage of a cell, its Monte Carlo error, and the mean width."""

    coverage: float
    error: float
    width: float


def measure(cell: Cell, *, until_sure: bool = False) -> CoverageResult:
    """Run a cell with a seed derived from its name.

    Parameters
    ----------
    cell : Cell
        Cell to run.
    until_sure : bool, default False
        If true, stop early, once the coverage lies within the promised range by two Monte Carlo
        errors. A cell whose coverage is too low hardly ever stops early, and one that is in doubt
        runs all of its replications.
    """
    rng = np.random.default_rng(zlib.crc32(cell.name.encode()))
    low, high = np.empty(0), np.empty(0)
    covered = np.empty(0, bool)
    done = 0
    while done < cell.replications:
        size = min(BATCH_SIZE, cell.replications - done) if until_sure else cell.replications
        lows, highs, truth = cell.run(rng, size)
        done += size
        low, high = np.append(low, lows), np.append(high, highs)
        covered = np.append(covered, (lows - 1e-9 <= truth) & (truth <= highs + 1e-9))
        share = float(covered.mean())
        error = float(np.sqrt(share * (1 - share) / covered.size))
        lowest, highest = cell.promise or (np.inf, -np.inf)
        if until_sure and lowest + 2 * error <= share <= highest - 2 * error:
            break
    return CoverageResult(coverage=share, error=error, width=float(np.mean(high - low)))


def table(cells: list[Cell]) -> str:
    """Return the measured coverage as a Markdown table, one row per interval and kind of data."""
    rows: dict[tuple[str, str], dict[int, str]] = {}
    for cell in cells:
        rows.setdefault((cell.interval, cell.data), {})[cell.n] = f"{measure(cell).coverage:.1%}"
    heads = ["interval", "data", *(f"n = {size}" for size in COLUMNS), "other n"]
    lines = [heads, ["---", "---", *["---:"] * len(COLUMNS), "---"]]
    for names, result in rows.items():
        others = ", ".join(f"{n}: {share}" for n, share in result.items() if n not in COLUMNS)
        lines.append([*names, *(result.get(size, "") for size in COLUMNS), others])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    from tests.stats.cells import ALL

    sys.stdout.write(table(ALL))
