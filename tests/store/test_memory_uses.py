"""Answers that used a memory: their reader, and the measured effects, in each database."""

from datetime import timedelta

import pytest

from backtalk.feedback import Annotator, Edit, Interaction, Label, MemoryUse, Message, Response
from backtalk.feedback.record import now
from backtalk.memory import Memory, MemoryEntry
from backtalk.memory.effect import entry_effects, retire_harmful
from backtalk.memory.effect import updating as updating_module
from backtalk.store import Store
from backtalk.store.memory_uses import MemoryUseReader

PROMPT = (Message.user('Write "memory":[{ to my 100%_boss.'),)


@pytest.fixture
def at_once(monkeypatch):
    """Records are read at once although other processes might still write, and checked again."""
    monkeypatch.setattr(updating_module, "_SETTLE", timedelta(seconds=-60))
    monkeypatch.setattr(updating_module, "_CHECK_SHARE", 0)


def answers(store, number, *, start=0):
    """Add answers with labels that are bad where the entry is shown, and others without uses."""
    records = []
    for i in range(start, start + number):
        shown = i % 2 == 0
        for uses in ((MemoryUse(entry="e", shown=shown, propensity=0.5),), ()):
            response = Response(id="0", text="a b", memory=uses)
            kind = "used" if uses else "bare"
            one = Interaction(
                id=f"{kind}{i}", prompt=PROMPT, user=f"user {i % 20}", responses=(response,)
            )
            about = {"interaction": one.id, "annotator": Annotator.human(f"user {i % 20}")}
            records += [one, Label(**about, response="0", good=not shown)]
            if i % 3 == 0:
                records.append(Edit(**about, response="0", text="x y"))
    store.add(*records)


def read(batches):
    return {
        interaction.id: [item.kind for _, item in feedback]
        for batch in batches
        for interaction, feedback in batch.cases
    }


def test_only_answers_that_used_a_memory_are_read_with_the_kinds_asked_for(store):
    answers(store, 7)
    reader = MemoryUseReader(store, before=now() + timedelta(minutes=1))
    used = {f"used{i}" for i in range(7)}
    assert {*read(reader.interactions(after=0))} == used
    assert read(reader.judged(["label"], after=0)) == {id_: ["label"] for id_ in used}
    settled = read(reader.settled(["edit"], after=0, wait=timedelta(0)))
    assert {*settled} == used
    (first,) = reader.judged(["label"], after=0)
    assert not read(reader.judged(["label"], after=first.last))


def test_nothing_younger_than_the_time_is_read(store):
    answers(store, 3)
    reader = MemoryUseReader(store, before=now() - timedelta(minutes=1))
    assert read(reader.interactions(after=0)) == read(reader.judged(["label"], after=0)) == {}


def test_the_checksum_changes_as_records_are_deleted(store):
    answers(store, 4)
    reader = MemoryUseReader(store, before=now() + timedelta(minutes=1))
    before = reader.checksum(interactions=1_000, feedback=1_000)
    item = next(iter(store.feedback(kinds=["label"])))
    store.delete(item.id)
    assert reader.checksum(interactions=1_000, feedback=1_000) != before


def test_effects_are_those_of_the_same_records_in_sqlite(store, at_once):
    with Store(":memory:") as other:
        effects = []
        for one in (store, other):
            memory = Memory(one)
            memory.add([MemoryEntry(id="e", kind="principle", text="Be rude.")])
            for number in (40, 60):
                answers(one, number, start=number - 40)
                effect = entry_effects(one, memory, wait=timedelta(0))["e"]
            one.delete(next(iter(one.feedback(kinds=["label"]))).id)
            effects.append([effect, entry_effects(one, memory, wait=timedelta(0))["e"]])
    assert effects[0] == effects[1]
    assert effects[0][0].feedback["label"] == effects[0][1].feedback["label"] + 1


def test_a_harmful_entry_retires(store, at_once):
    memory = Memory(store)
    memory.add([MemoryEntry(id="e", kind="principle", text="Be rude.")])
    answers(store, 150)
    retire_harmful(store, memory)
    assert memory.get("e").state == "retired"
