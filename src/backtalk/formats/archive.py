"""Everything that a project holds, as a folder of plain files, and back."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backtalk.errors import BacktalkError
from backtalk.formats import export
from backtalk.formats.ingest import ingest
from backtalk.store.journal import LogEntry
from backtalk.store.store import Store

RECORDS = "records.jsonl"
DOCUMENTS = "documents.jsonl"
JOURNAL = "journal.jsonl"
ARTIFACTS = "artifacts"


@dataclass(frozen=True)
class Archived:
    """How much went into an archive, or came out of it."""

    cases: int
    documents: int
    entries: int
    artifacts: int


def write_archive(store: Store, folder: Path) -> Archived:
    """Write a project's records, policies, evaluations, history and artifacts to a folder.

    The artifacts are those of all projects that share the store's artifact folder.

    Raises
    ------
    BacktalkError
        If the folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BacktalkError(f"The folder {folder} is not empty", "Give a new one")
    folder.mkdir(parents=True, exist_ok=True)
    cases = export(
        store.cases(), folder / RECORDS, "backtalk", loose=store.feedback(system_wide=True)
    )
    documents = entries = 0
    with (folder / DOCUMENTS).open("w", encoding="utf-8") as file:
        for kind in store.documents.kinds():
            for id_, time, body in store.documents.all(kind):
                line = {"kind": kind, "id": id_, "time": time.isoformat(), "body": body}
                file.write(json.dumps(line) + "\n")
                documents += 1
    with (folder / JOURNAL).open("w", encoding="utf-8") as file:
        for topic in store.journal.topics():
            for entry in store.journal.entries(topic):
                file.write(json.dumps(_event(topic, entry)) + "\n")
                entries += 1
    kept = sorted(store.artifacts.ids())
    for id_ in kept:
        shutil.copytree(store.artifacts.path(id_), folder / ARTIFACTS / id_)
    return Archived(cases.rows, documents, entries, len(kept))


def read_archive(store: Store, folder: Path) -> Archived:
    """Put what :func:`write_archive` wrote into a project; what is there already stays.

    Raises
    ------
    BacktalkError
        If the folder is not a whole archive, or the project has a history of its own.
    """
    for name in (RECORDS, DOCUMENTS, JOURNAL):
        if not (folder / name).is_file():
            raise BacktalkError(
                f"{folder} is not an archive: it has no {name}",
                "Give the folder that `backtalk export FOLDER --format archive` wrote",
            )
    history = _lines(folder / JOURNAL)
    if history and store.journal.topics():
        raise BacktalkError(
            f"Project {store.project!r} has a history of its own, the archive's cannot follow it",
            "Read the archive into a new project, with --project NAME",
        )
    result = ingest(store, folder / RECORDS, format="backtalk")
    documents = _lines(folder / DOCUMENTS)
    for line in documents:
        time = datetime.fromisoformat(line["time"])
        store.documents.put(line["kind"], line["id"], line["body"], time=time)
    for line in history:
        store.journal.append(
            line["topic"],
            line["body"],
            actor=line["actor"] if "actor" in line else line["who"],
            after=store.journal.last(line["topic"]),
            time=datetime.fromisoformat(line["time"]),
        )
    artifacts = [path for path in sorted((folder / ARTIFACTS).glob("*")) if path.is_dir()]
    for path in artifacts:
        files = {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}
        store.artifacts.put(files)
    return Archived(result.added.interactions, len(documents), len(history), len(artifacts))


def _event(topic: str, entry: LogEntry) -> dict[str, str]:
    time = entry.time.isoformat()
    return {"topic": topic, "actor": entry.actor, "time": time, "body": entry.body}


def _lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
