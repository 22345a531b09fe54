"""Measuring claims: seed by seed, several at once, and never one twice."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

from claims.claim import CLAIMS, Claim

MODULES = ("simulation", "preferences", "memory", "games", "supervised")
"""The files of claims, one a family."""

KEPT = Path(__file__).parent.parent / ".claims"
"""Where what was measured is kept, so that a run that was broken off goes on where it was."""


@dataclass(frozen=True)
class Measured:
    """What one run of a claim found."""

    claim: str
    seed: int
    digest: str
    seconds: float
    figures: dict[str, float] = field(default_factory=dict)
    error: str = ""
    """What went wrong, if something did."""


def load() -> dict[str, Claim]:
    """Return all claims by name, their modules imported."""
    for name in MODULES:
        import_module(f"claims.{name}")
    return CLAIMS


def kept(claim: Claim, folder: Path = KEPT) -> list[Measured]:
    """Return what the claim's program has measured before."""
    results = []
    for seed in range(claim.seeds):
        path = _path(folder, claim.name, seed)
        if path.exists():
            measured = Measured(**json.loads(path.read_text()))
            if measured.digest == claim.digest:
                results.append(measured)
    return results


def run(
    claims: Sequence[Claim],
    *,
    jobs: int = 2,
    again: bool = False,
    report: Callable[[Measured], None],
    folder: Path = KEPT,
) -> None:
    """Measure what has not been measured yet; what broke is tried again.

    Parameters
    ----------
    claims
        Which.
    jobs
        How many runs go on at once, each in a process of its own with its share of the cores; one
        runs in this process.
    again
        Whether to measure anew what was measured before.
    report
        Told each result as it comes.
    folder
        Where results are kept.
    """
    done = {
        (claim.name, measured.seed)
        for claim in claims
        for measured in ([] if again else kept(claim, folder))
        if not measured.error
    }
    wanted = [
        (claim.name, seed)
        for claim in claims
        for seed in range(claim.seeds)
        if (claim.name, seed) not in done
    ]
    if jobs == 1:
        for name, seed in wanted:
            report(_measure(name, seed, folder))
        return
    threads = max((os.cpu_count() or 1) // jobs, 1)
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_limit, initargs=(threads,)
    ) as pool:
        futures = [pool.submit(_measure, name, seed, folder) for name, seed in wanted]
        for future in as_completed(futures):
            report(future.result())


def _limit(threads: int) -> None:
    """Keep the runs that go on at once from waiting for one another's threads."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)


def _measure(name: str, seed: int, folder: Path) -> Measured:
    claim = load()[name]
    begin = time.perf_counter()
    figures: dict[str, float] = {}
    error = ""
    try:
        figures = {key: float(value) for key, value in claim.measure(seed).items()}
    except Exception:  # noqa: BLE001 - a claim that breaks is reported, and the others go on
        error = traceback.format_exc()
    measured = Measured(name, seed, claim.digest, time.perf_counter() - begin, figures, error)
    path = _path(folder, name, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(measured), indent=1) + "\n")
    return measured


def _path(folder: Path, name: str, seed: int) -> Path:
    return folder / name / f"{seed}.json"
