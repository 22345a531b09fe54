"""Memories in SQLite and PostgreSQL: changes, their undoing, contradictions and purging."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backtalk.errors import BacktalkError, Conflict, NotFound
from backtalk.feedback import Annotator, Critique, Interaction, Scope
from backtalk.memory import EntryQuery, Memory, MemoryEntry
from backtalk.store import Store

START = datetime(2026, 1, 1, tzinfo=UTC)
METRIC, IMPERIAL = "Use metric units.", "Imperial units, not metric."


def make_entry(text, *, users=(), people=(), kind="preference", minute=None, **fields):
    time = START if minute is None else START + timedelta(minutes=minute)
    scope = fields.pop("scope", Scope(users=users))
    return MemoryEntry(kind=kind, text=text, scope=scope, people=people, time=time, **fields)


@pytest.fixture
def memory(store):
    return Memory(store)


def texts(memory, revision=None, states=("active",)):
    return [entry.text for entry in memory.entries(revision, states)]


def said(memory, user):
    """Return what holds for a user: their own entries before those for everybody."""
    entries = [one for one in memory.entries() if not one.scope.users or user in one.scope.users]
    lost = {id_ for entry in entries for id_ in entry.supersedes}
    return [entry.text for entry in entries if entry.id not in lost]


def actions(changes):
    return [change.action for change in changes]


def test_entries_come_back_as_they_were_added(memory):
    entries = [
        make_entry(f"Entry {n} is 'quoted', ünïcode.", users=(f"u{n % 2}",)) for n in range(3)
    ]
    assert memory.add(entries) == 1
    assert memory.add(entries) == 1
    stored = memory.entries()
    assert [entry.model_copy(update={"revision": 0}) for entry in stored] == entries
    assert {entry.revision for entry in stored} == {1}
    assert memory.get(entries[1].id) == stored[1]
    assert list(memory.rows(after=1)) == [(2, stored[1]), (3, stored[2])]
    assert memory.revision == 1


def test_projects_and_names_have_their_own_memories(store, memory):
    memory.add([make_entry("Be kind.")])
    assert texts(Memory(store, "other")) == []
    assert texts(Memory(store.in_project("other"))) == []
    assert store.memories.names() == ["memory"]


def test_another_entry_with_the_same_id_is_refused(memory):
    entry = make_entry("Be kind.")
    memory.add([entry])
    with pytest.raises(Conflict, match=entry.id):
        memory.add([entry.model_copy(update={"text": "Be rude."})])
    with pytest.raises(Conflict, match=entry.id):
        Memory.add(memory, [entry, entry.model_copy(update={"text": "Be rude."})])
    assert texts(memory) == ["Be kind."]


def test_a_policy_sees_the_entries_up_to_its_revision(memory):
    memory.add([make_entry(METRIC, minute=0)])
    memory.add([make_entry(IMPERIAL, minute=1), make_entry("Be kind.")])
    assert texts(memory, revision=0) == []
    assert texts(memory, revision=1) == [METRIC]
    assert texts(memory, revision=2) == [IMPERIAL, "Be kind."]
    assert texts(memory, revision=1, states=("superseded",)) == []
    assert texts(memory, states=("superseded",)) == [METRIC]


def test_what_a_person_adds_is_visible_in_every_policy_at_once(memory):
    memory.add([make_entry(METRIC, minute=0)])
    memory.add([make_entry(IMPERIAL, minute=1)], at_once=True)
    assert texts(memory, revision=1) == [IMPERIAL]
    assert memory.revision == 1


def test_ids_are_found_by_unique_beginnings(memory):
    memory.add(
        [make_entry("A.", id="abcd1"), make_entry("B.", id="abcd"), make_entry("C.", id="ax")]
    )
    assert memory.get("abcd").text == "B."
    assert memory.get("ax").text == "C."
    with pytest.raises(Conflict, match="several ids"):
        memory.get("abc")
    for missing in ("", "x", "a%"):
        with pytest.raises(NotFound, match="There is no entry"):
            memory.get(missing)


def test_pages_are_filtered_and_the_newest_comes_first(memory):
    memory.add(
        make_entry(
            f"Likes Äpfel {n}" if n % 3 == 0 else f'Likes "nuts" {n}',
            users=(f"u{n % 5}",),
            people=(f"p{n % 4}",),
            kind="fact" if n % 2 else "preference",
        )
        for n in range(60)
    )
    seen, cursor = [], None
    while True:
        page = memory.page(EntryQuery(), before=cursor, size=25)
        seen += page.entries
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == memory.entries()[::-1]
    for query, expected in (
        (EntryQuery(user="u2"), lambda n: n % 5 == 2),
        (EntryQuery(user="u2", person="p1"), lambda n: n % 5 == 2 and n % 4 == 1),
        (EntryQuery(kinds=("fact",)), lambda n: n % 2 == 1),
        (EntryQuery(text="ÄPFEL"), lambda n: n % 3 == 0),
        (EntryQuery(text='"NUTS" 4'), lambda n: n % 3 and str(n).startswith("4")),
        (EntryQuery(states=("retired",)), lambda n: False),
    ):
        ids = [entry.text for entry in memory.page(query, size=100).entries]
        assert ids == [entry.text for n, entry in enumerate(memory.entries()) if expected(n)][::-1]
    assert memory.count() == {"": 60}
    assert memory.count(EntryQuery(user="u2"), by="kind") == {"fact": 6, "preference": 6}
    assert memory.page(EntryQuery(text="likes"), size=7).next_cursor == 54


def test_every_change_says_who_when_and_what_was_before(memory):
    entry = make_entry("Be kind.")
    memory.add([entry], actor="learner")
    memory.edit(entry.id, text="Be very kind.", actor="ada")
    memory.edit(entry.id[:20], scope=Scope(users=("bo",)), actor="ada")
    memory.retire(entry.id, reason="it did harm")
    changes = memory.history(entry.id)
    assert actions(changes) == ["retired", "edited", "edited", "added"]
    assert [change.actor for change in changes] == ["backtalk", "ada", "ada", "learner"]
    assert [change.before and change.before.text for change in changes] == [
        *("Be very kind.", "Be very kind.", "Be kind.", None)
    ]
    assert changes[0].reason == "it did harm"
    assert memory.changes(2) == changes[:2][::-1]
    assert memory.changes(0, limit=1) == [changes[-1]]
    assert [change.number for change in memory.changes(0)] == [1, 2, 3, 4]
    assert memory.last_change == 4


def test_each_change_can_be_undone_and_the_undoing_too(memory):
    entry = make_entry("Be kind.")
    memory.add([entry])
    memory.edit(entry.id, text="Be rude.", actor="eve")
    memory.undo(2, actor="ada")
    assert texts(memory) == ["Be kind."]
    memory.undo(memory.last_change, actor="eve")
    assert texts(memory) == ["Be rude."]
    with pytest.raises(Conflict, match="Undo change 4 first"):
        memory.undo(2, actor="ada")
    memory.undo(1, actor="ada")
    assert (texts(memory), texts(memory, states=("undone",))) == ([], ["Be rude."])
    memory.undo(memory.last_change, actor="ada")
    assert texts(memory) == ["Be rude."]
    memory.retire(entry.id, reason="harm")
    (change,) = memory.undo(memory.last_change, actor="ada")
    assert (change.action, change.reason) == ("restored", "change 7 undone")
    with pytest.raises(NotFound, match="no change 99"):
        memory.undo(99, actor="ada")
    with pytest.raises(BacktalkError, match="Either"):
        memory.undo(actor="ada")


def test_one_call_undoes_all_that_a_round_added(memory):
    memory.add([make_entry(METRIC, minute=0), make_entry("Be kind.")])
    memory.add([make_entry(IMPERIAL, minute=1), make_entry("Be rude."), make_entry("Be brief.")])
    changes = memory.undo(revision=2, actor="ada")
    assert sorted(actions(changes)) == ["restored", "undone", "undone", "undone"]
    assert texts(memory) == [METRIC, "Be kind."]
    with pytest.raises(NotFound, match="revision 2"):
        memory.undo(revision=2, actor="ada")


def test_a_forgotten_text_is_gone_from_the_entry_its_history_and_the_file(tmp_path):
    secret = "Zanzibar-4711"
    with Store(tmp_path / "a.db") as store:
        memory = Memory(store)
        entry = make_entry(
            f"Answer as from {secret}.",
            original=f"{secret}!",
            scope=Scope(where=f"in {secret}", users=("bo",), inside=(f"About {secret}?",)),
            feedback=("f1",),
        )
        memory.add([entry, make_entry("Be kind.")])
        memory.edit(entry.id, text=f"Answer from {secret}, always.", actor="bo")
        memory.forget(entry.id, actor="bo")
        forgotten = memory.get(entry.id)
        assert (forgotten.state, forgotten.text) == ("forgotten", "(forgotten)")
        assert forgotten.scope == Scope(users=("bo",))
        assert all(change.before is None for change in memory.history(entry.id))
        for number in (1, 3, 4):
            with pytest.raises(BacktalkError, match="its text is gone"):
                memory.undo(number, actor="bo")
        with pytest.raises(Conflict, match="its text is gone"):
            memory.edit(entry.id, text="Again.", actor="bo")
        assert memory.of_feedback(["f1", "f2"]) == {"f1"}
        assert memory.add([entry]) == 1  # the same entry is not learned again
    rest = sqlite3.connect(tmp_path / "a.db").execute("SELECT body FROM memory_entries").fetchall()
    assert len(rest) == 2
    for file in Path(tmp_path).glob("a.db*"):
        assert b"anzibar" not in file.read_bytes()


def test_the_last_thing_said_wins_for_whom_it_was_said(memory):
    """Metric, not imperial; no, imperial after all; but only for this user."""
    memory.add([make_entry("Metric, not imperial.", people=("bo",), minute=0)])
    memory.add([make_entry("No, imperial after all.", people=("bo",), minute=1)])
    (entry,) = memory.entries()
    assert entry.text == "No, imperial after all."
    changes = memory.edit(entry.id, scope=Scope(users=("ada",)), actor="bo")
    assert actions(changes) == ["edited", "restored"]
    assert said(memory, "ada") == ["No, imperial after all."]
    assert said(memory, "eve") == ["Metric, not imperial."]
    memory.edit(entry.id, scope=Scope(), actor="bo")
    assert said(memory, "eve") == ["No, imperial after all."]
    memory.forget(entry.id, actor="bo")
    assert said(memory, "ada") == ["Metric, not imperial."]


def test_what_a_user_says_of_themself_holds_against_a_later_entry_for_everybody(memory):
    memory.add([make_entry(IMPERIAL, users=("ada",), people=("ada",), minute=0)])
    memory.add([make_entry(METRIC, people=("bo",), minute=1)])
    assert said(memory, "ada") == [IMPERIAL]
    assert said(memory, "eve") == [METRIC]
    assert memory.conflicts() == []
    memory.add([make_entry("Please use metric.", people=("ada",), minute=2)])
    assert said(memory, "ada") == [METRIC, "Please use metric."]


def test_an_older_statement_that_is_learned_later_does_not_win(memory):
    memory.add([make_entry(IMPERIAL, minute=5)])
    memory.add([make_entry(METRIC, minute=1)])
    assert texts(memory) == [IMPERIAL]


def test_people_are_asked_which_statement_of_different_people_holds(memory):
    first = make_entry(METRIC, people=("ada", "cy"), minute=0)
    second = make_entry(IMPERIAL, people=("eve",), minute=1)
    memory.add([first])
    memory.add([second])
    (question,) = memory.conflicts()
    assert (question.holds.text, question.other.text) == (METRIC, IMPERIAL)  # two said it
    assert texts(memory) == [METRIC]
    memory.settle(second.id, actor="boss")
    assert (texts(memory), memory.conflicts()) == ([IMPERIAL], [])
    with pytest.raises(NotFound, match="No question"):
        memory.settle(second.id, actor="boss")


def test_an_exception_does_not_supersede_the_rule(memory):
    scope = Scope(where="in e-mails to my boss")
    memory.add([make_entry("Use emojis."), make_entry("No emojis.", scope=scope)])
    memory.add([make_entry("No emojis in posts.")])
    assert len(texts(memory)) == 3


def test_a_superseded_entry_can_be_made_to_hold(memory):
    memory.add([make_entry(METRIC, minute=0)])
    memory.add([make_entry(IMPERIAL, minute=1)])
    (change,) = [one for one in memory.changes(0) if one.action == "superseded"]
    memory.undo(change.number, actor="ada")
    assert texts(memory) == [METRIC]


def test_an_entry_can_name_what_it_supersedes(memory):
    old = make_entry("The shop opens early.")
    memory.add([old])
    memory.add([make_entry("Opening hours have changed.", supersedes=(old.id,))])
    assert texts(memory) == ["Opening hours have changed."]
    memory.retire(memory.entries()[0].id, reason="harm")
    assert texts(memory) == ["The shop opens early."]


def test_many_reversals_leave_one_entry(memory):
    for number in range(12):
        memory.add([make_entry((METRIC, IMPERIAL)[number % 2], minute=number)])
    assert texts(memory) == [IMPERIAL]
    assert memory.count(by="state") == {"active": 1, "superseded": 11}


def test_a_purge_removes_a_user_from_memories(store, memory):
    interaction = Interaction.of("How far is it?", "A mile.", user="ada")
    critique = Critique(interaction=interaction.id, annotator=Annotator.human("bo"), text="Metric!")
    store.add(interaction, critique)
    memory.add([make_entry(METRIC, people=("bo",), minute=0)])
    memory.add(
        [
            make_entry(IMPERIAL, people=("ada",), minute=1),
            make_entry("Be kind.", users=("ada", "bo"), people=("ada", "bo")),
            make_entry("Ada is 40 years old.", users=("ada",), people=("bo",)),
            make_entry(
                "Distances matter.",
                people=("bo",),
                feedback=(critique.id,),
                interactions=(interaction.id,),
            ),
            make_entry("Be brief.", people=("bo",), feedback=(critique.id, "f2"), users=("bo",)),
        ]
    )
    memory.edit(memory.entries()[1].id, text="Be very kind.", actor="ada")
    since = memory.last_change
    assert store.purge("ada").memory_entries == 3
    assert texts(memory) == [METRIC, "Be very kind.", "Be brief."]
    _, kind, brief = memory.entries()
    assert (kind.people, kind.scope.users) == (("bo",), ("bo",))
    assert brief.feedback == ("f2",)
    assert "ada" not in {change.actor for change in memory.changes(0)}
    assert all("ada" not in (one.before.people if one.before else ()) for one in memory.changes(0))
    assert sorted(actions(memory.changes(since))) == [
        *["edited"] * 2,
        *["forgotten"] * 3,
        "restored",
    ]
    memory.add([make_entry("Be new.")])
    assert memory.row_numbers([memory.entries()[-1].id]) == {memory.entries()[-1].id: 7}
    assert [entry.text for entry in memory.page(EntryQuery(user="ada")).entries] == []
    assert store.purge("ada").memory_entries == 0
