"""Import into a store, and archives of a project."""

import json

import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import Annotator, Instruction, Scope
from backtalk.formats.archive import read_archive, write_archive
from backtalk.formats.ingest import ingest
from backtalk.memory import Memory, MemoryEntry
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, read_policy
from backtalk.promotion import promote, promotion_history
from backtalk.store import Store

GOOD = {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}


@pytest.fixture
def rows(tmp_path):
    """File of seven valid rows and an invalid one."""
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({**GOOD, "prompt": f"{i}?"}) for i in range(7)]
    path.write_text("\n".join([*lines[:3], "{broken", *lines[3:]]))
    return path


def test_valid_rows_are_stored_and_invalid_ones_rejected(store, rows):
    progress = []
    summary = ingest(store, rows, progress=lambda read, total: progress.append((read, total)))
    assert (summary.rows, summary.added.interactions, summary.added.feedback, summary.rejected) == (
        8,
        7,
        7,
        1,
    )
    assert summary.first_reason.startswith(f"{rows}, line 4: not JSON")
    assert summary.rejects == rows.with_name("rows.jsonl.rejected.jsonl")
    assert progress[-1] == (rows.stat().st_size, rows.stat().st_size)
    assert store.counts() == {"interaction": 7, "preference": 7}


def test_importing_the_same_file_twice_adds_nothing(store, rows):
    ingest(store, rows)
    before = list(store.cases())
    again = ingest(store, rows)
    assert (again.added.interactions, again.added.feedback, again.added.known) == (0, 0, 14)
    assert list(store.cases()) == before


def test_feedback_without_an_interaction_is_stored(store, tmp_path):
    path = tmp_path / "rules.jsonl"
    rule = Instruction(annotator=Annotator.human("ada"), text="No emojis.")
    path.write_text(json.dumps({"feedback": [rule.to_dict()]}))
    assert ingest(store, path).added.feedback == 1
    assert ingest(store, path).added.feedback == 0
    assert list(store.feedback(system_wide=True)) == [rule]


def test_an_archive_restores_a_project(store, rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ingest(store, rows)
    store.add(Instruction(annotator=Annotator.human("ada"), text="No emojis."))
    reward = store.artifacts.put({"reward.json": b"{}"})
    policy = Policy(model=NamedSpec(name="writer"), name="plain")
    promote(store, policy, actor="ada")
    folder = tmp_path / "everything"
    archived = write_archive(store, folder)
    assert (archived.cases, archived.documents, archived.entries) == (8, 1, 1)

    with Store(tmp_path / "other.db") as other:
        read_archive(other, folder)
        assert list(other.cases()) == list(store.cases())
        assert list(other.feedback()) == list(store.feedback())
        assert read_policy(other, "plain") == policy
        assert [(e.actor, e.time, e.promotion) for e in promotion_history(other)] == [
            (e.actor, e.time, e.promotion) for e in promotion_history(store)
        ]
        assert other.artifacts.read(reward) == {"reward.json": b"{}"}
        with pytest.raises(BacktalkError, match="has a history"):
            read_archive(other, folder)


def test_an_archive_restores_memories_with_their_history(store, tmp_path):
    memory = Memory(store)
    scope = Scope(users=("bo",))
    memory.add([MemoryEntry(id="a", kind="preference", text="Use metric units.", scope=scope)])
    memory.add([MemoryEntry(id="b", kind="preference", text="Use imperial units.", scope=scope)])
    (edit,) = memory.edit("b", text="Use imperial units, please.", actor="ada")
    write_archive(store, tmp_path / "everything")
    with Store(tmp_path / "other.db") as other:
        read_archive(other, tmp_path / "everything")
        restored = Memory(other)
        assert restored.entries(states=()) == memory.entries(states=())
        assert restored.entries(revision=1) == memory.entries(revision=1)
        assert restored.history() == memory.history()
        assert restored.revision == 2
        restored.undo(edit.number, actor="bo")
        assert [entry.text for entry in restored.entries()] == ["Use imperial units."]
        assert restored.add([MemoryEntry(kind="fact", text="The shop is closed.")]) == 3
        with pytest.raises(BacktalkError, match="has a memory 'memory' already"):
            read_archive(other, tmp_path / "everything")


def test_an_archive_needs_an_empty_folder_and_only_archives_are_read(store, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine.txt").write_text("mine")
    with pytest.raises(BacktalkError, match="not empty"):
        write_archive(store, tmp_path / "x")
    with pytest.raises(BacktalkError, match="is not an archive"):
        read_archive(store, tmp_path / "x")
