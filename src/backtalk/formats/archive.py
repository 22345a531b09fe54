"""Archives: a whole project as a folder of plain files, written and read back."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from backtalk.errors import BacktalkError
from backtalk.formats import export
from backtalk.formats.ingest import ingest
from backtalk.store.event_log import LogEntry
from backtalk.store.memory_copy import copy_memories, restore_memories
from backtalk.store.store import Store

RECORDS = "records.jsonl"
DOCUMENTS = "documents.jsonl"
JOURNAL = "journal.jsonl"
MEMORIES = "memories.jsonl"
ARTIFACTS = "artifacts"


@dataclass(frozen=True)
class ArchiveSummary:
    """Number of items that were written to an archive, or read from it."""

    cases: int
    """Interactions; when writing, system-wide feedback too."""
    documents: int
    """Policies and evaluations."""
    entries: int
    """Entries of the event log."""
    artifacts: int


def write_archive(store: Store, folder: Path) -> ArchiveSummary:
    """Write a project to a folder: records, policies, evaluations, history, memories, artifacts.

    The artifacts are those of all projects that share the store's artifact folder.

    Raises
    ------
    BacktalkError
        If the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BacktalkError(f"The folder {folder} is not empty", "Name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    cases = export(
        store.cases(),
        folder / RECORDS,
        "backtalk",
        system_feedback=store.feedback(system_wide=True),
    )
    documents = entries = 0
    with (folder / DOCUMENTS).open("w", encoding="utf-8") as file:
        for kind in store.documents.kinds():
            for id_, time, body in store.documents.all(kind):
                line = {"kind": kind, "id": id_, "time": time.isoformat(), "body": body}
                file.write(json.dumps(line) + "\n")
                documents += 1
    with (folder / JOURNAL).open("w", encoding="utf-8") as file:
        for topic in store.events.topics():
            for entry in store.events.entries(topic):
                file.write(json.dumps(_entry_line(topic, entry)) + "\n")
                entries += 1
    with (folder / MEMORIES).open("w", encoding="utf-8") as file:
        for row in copy_memories(store):
            file.write(json.dumps(row) + "\n")
    artifact_ids = sorted(store.artifacts.ids())
    for id_ in artifact_ids:
        shutil.copytree(store.artifacts.path(id_), folder / ARTIFACTS / id_)
    return ArchiveSummary(cases.rows, documents, entries, len(artifact_ids))


def read_archive(store: Store, folder: Path) -> ArchiveSummary:
    """Read an archive of :func:`write_archive` into a project; existing records are left unchanged.

    Raises
    ------
    BacktalkError
        If a file of the archive is missing, or the project has an event log or a memory of its own.
    """
    for name in (RECORDS, DOCUMENTS, JOURNAL):
        if not (folder / name).is_file():
            raise BacktalkError(
                f"{folder} is not an archive: it has no file {name}",
                "Name a folder that `backtalk export FOLDER --format archive` wrote",
            )
    history = _read_lines(folder / JOURNAL)
    if history and store.events.topics():
        raise BacktalkError(
            f"Project {store.project!r} has a history, so that the archive's cannot be added",
            "Read the archive into a new project, with --project NAME",
        )
    result = ingest(store, folder / RECORDS, format="backtalk")
    if (folder / MEMORIES).is_file():  # older archives have none
        restore_memories(store, _read_lines(folder / MEMORIES))
    documents = _read_lines(folder / DOCUMENTS)
    for line in documents:
        time = datetime.fromisoformat(line["time"])
        store.documents.put(line["kind"], line["id"], line["body"], time=time)
    for line in history:
        store.events.append(
            line["topic"],
            line["body"],
            actor=line["actor"] if "actor" in line else line["who"],
            after=store.events.last(line["topic"]),
            time=datetime.fromisoformat(line["time"]),
        )
    artifacts = [path for path in sorted((folder / ARTIFACTS).glob("*")) if path.is_dir()]
    for path in artifacts:
        files = {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}
        store.artifacts.put(files)
    return ArchiveSummary(result.added.interactions, len(documents), len(history), len(artifacts))


def _entry_line(topic: str, entry: LogEntry) -> dict[str, str]:
    time = entry.time.isoformat()
    return {"topic": topic, "actor": entry.actor, "time": time, "body": entry.body}


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
