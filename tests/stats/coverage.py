"""How often each interval covers, by simulation: ``python -m tests.stats.coverage``.

A cell is an interval, a kind of data with known truth, and a number of items. Its coverage is
the share of seeded replications whose interval contains the truth.
"""

import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

COLUMNS = (10, 20, 50, 200)
PART = 500
Limits = tuple[np.ndarray, np.ndarray, np.ndarray | float]


@dataclass(frozen=True)
class Cell:
    """An interval on a kind of data, and what is promised of it.

    ``run`` takes a generator and a number of replications and returns the lower ends, the
    upper ends and the truth. ``promise`` is the least and the greatest coverage that the tests
    accept; None where a figure is only reported.
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
class Measured:
    """What a cell gave: coverage, its Monte-Carlo error, and the mean width."""

    coverage: float
    error: float
    width: float


def measure(cell: Cell, *, until_sure: bool = False) -> Measured:
    """Run a cell with the seed that its name stands for.

    Parameters
    ----------
    cell
        What is run.
    until_sure
        Make the replications a part at a time, and no more once the coverage lies within what is
        promised by two Monte-Carlo errors: a cell that falls short hardly ever seems to, while one
        that is in doubt gets all of its replications.
    """
    rng = np.random.default_rng(zlib.crc32(cell.name.encode()))
    low, high = np.empty(0), np.empty(0)
    covered = np.empty(0, bool)
    made = 0
    while made < cell.replications:
        part = min(PART, cell.replications - made) if until_sure else cell.replications
        lows, highs, truth = cell.run(rng, part)
        made += part
        low, high = np.append(low, lows), np.append(high, highs)
        covered = np.append(covered, (lows - 1e-9 <= truth) & (truth <= highs + 1e-9))
        share = float(covered.mean())
        error = float(np.sqrt(share * (1 - share) / covered.size))
        least, most = cell.promise or (np.inf, -np.inf)
        if until_sure and least + 2 * error <= share <= most - 2 * error:
            break
    return Measured(coverage=share, error=error, width=float(np.mean(high - low)))


def table(cells: list[Cell]) -> str:
    """Lay out the measured coverage as a Markdown table, a row for each interval and data."""
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
