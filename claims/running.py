"""Measurement of claims: in parallel, once for each seed."""

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

MODULES = (
    "simulation",
    "preferences",
    "memory",
    "memory_words",
    "memory_edits",
    "memory_facts",
    "memory_pairs",
    "memory_profile",
    "memory_questions",
    "prompts",
    "prompts_compositions",
    "prompts_criteria",
    "prompts_gradients",
    "prompts_control",
    "prompts_preferences",
    "prompts_principles",
    "prompts_search",
    "prompts_requests",
    "prompts_tokens",
    "prompts_tools",
    "games",
    "supervised",
    "real_language",
)
"""Modules with claims, one for each family."""

MEASUREMENTS = Path(__file__).parent.parent / ".claims"
"""Folder of measurements, from which an interrupted run is resumed."""


@dataclass(frozen=True)
class Measured:
    """Figures of one run of a claim."""

    claim: str
    seed: int
    digest: str
    seconds: float
    figures: dict[str, float] = field(default_factory=dict)
    error: str = ""
    """Traceback of the error; empty if there was none."""


def load() -> dict[str, Claim]:
    """Import the modules with claims, and return all claims by name."""
    for name in MODULES:
        import_module(f"claims.{name}")
    return CLAIMS


def read_measurements(
    claim: Claim, folder: Path = MEASUREMENTS, *, seeds: range | None = None
) -> list[Measured]:
    """Return the stored measurements of the claim's present program.

    Parameters
    ----------
    claim : Claim
        Claim.
    folder : Path, default MEASUREMENTS
        Folder of measurements.
    seeds : range, optional
        Seeds; default: those of the published figures.
    """
    results = []
    for seed in claim.main_seeds if seeds is None else seeds:
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
    confirm: bool = False,
    report: Callable[[Measured], None],
    folder: Path = MEASUREMENTS,
) -> None:
    """Run the measurements that are missing or that failed.

    Parameters
    ----------
    claims : sequence of Claim
        Claims to measure.
    jobs : int, default 2
        Number of parallel processes, which share the cores; 1 runs in this process.
    again : bool, default False
        If true, repeat measurements that are stored.
    confirm : bool, default False
        If true, measure the confirmation seeds instead of those of the published figures.
    report : Callable[[Measured], None]
        Function that receives each measurement.
    folder : Path, default MEASUREMENTS
        Folder of measurements.
    """
    missing = []
    for claim in claims:
        seeds = claim.confirmation_seeds if confirm else claim.main_seeds
        stored = [] if again else read_measurements(claim, folder, seeds=seeds)
        done = {measured.seed for measured in stored if not measured.error}
        missing += [(claim.name, seed) for seed in seeds if seed not in done]
    if jobs == 1:
        for name, seed in missing:
            report(_measure(name, seed, folder))
        return
    threads = max((os.cpu_count() or 1) // jobs, 1)
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_limit, initargs=(threads,)
    ) as pool:
        futures = [pool.submit(_measure, name, seed, folder) for name, seed in missing]
        for future in as_completed(futures):
            report(future.result())


def _limit(threads: int) -> None:
    """Limit the threads of a process, so that parallel runs do not compete for cores."""
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
