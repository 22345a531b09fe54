"""Result of a demo, and the folder that it writes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from backtalk.reports.report import Report

ACTOR = "demo"
"""Name of the promoter in the history of a demo's store."""


@dataclass(frozen=True)
class DemoResult:
    """Files and summary of a demo run."""

    store: Path
    """Path of the store."""
    page: Path
    """Path of the HTML report."""
    report: Report
    """Content of the report."""
    lines: tuple[str, ...]
    """Summary, one sentence per line."""


def prepare_folder(folder: Path, name: str) -> Path:
    """Remove the files of an earlier run, and return the path of the store.

    Parameters
    ----------
    folder : Path
        Folder of the demo; made if it does not exist.
    name : str
        Name of the store, without its suffix.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in (f"{name}.db", f"{name}.db-wal", f"{name}.db-shm", "report.html", "report.json"):
        (folder / file).unlink(missing_ok=True)
    for subfolder in (f"{name}.artifacts", f"{name}.runs"):
        shutil.rmtree(folder / subfolder, ignore_errors=True)
    return folder / f"{name}.db"
