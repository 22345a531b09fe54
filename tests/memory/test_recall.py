"""Recall of memory entries for a request."""

import random
from datetime import UTC, datetime

import pytest

from backtalk.errors import UnknownName
from backtalk.feedback import Interaction, Scope, as_prompt
from backtalk.memory import (
    LoadedMemory,
    Memory,
    MemoryEntry,
    MemorySpec,
    candidates,
    precedence,
    visible,
)
from backtalk.models.run_sync import run_sync
from backtalk.store import Store


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store.db") as db:
        yield db


def entry(text, *, kind="instruction", **fields):
    scope = {name: fields.pop(name) for name in list(fields) if name in Scope.model_fields}
    return MemoryEntry(kind=kind, text=text, scope=Scope(**scope), **fields)


def load(store, *entries, **fields):
    return LoadedMemory(store, MemorySpec(revision=Memory(store).add(entries), **fields))


def texts(memory, request, **options):
    return run_sync(memory.recall(as_prompt(request), **options)).texts


def test_entries_apply_to_their_users_and_their_requests(store):
    memory = load(
        store,
        entry("Be brief."),
        entry("Use metric units.", users=("ann",)),
        entry("No emojis.", where="in mails to my boss"),
    )
    assert texts(memory, "How far is it?") == ("Be brief.",)
    assert texts(memory, "How far is it?", user="ann") == ("Be brief.", "Use metric units.")
    assert texts(memory, "How far is it?", user="bob") == ("Be brief.",)
    assert texts(memory, "Write to my boss.", user="bob") == ("Be brief.", "No emojis.")


@pytest.mark.parametrize(
    ("rules", "request_", "user"),
    [
        (
            (entry("Use emojis."), entry("No emojis.", where="in mails to my boss")),
            "Write to my boss.",
            None,
        ),
        (
            (entry("Use metric units."), entry("Use imperial units.", users=("ann",))),
            "How far?",
            "ann",
        ),
        (
            (
                entry("Use emojis.", where="in mails"),
                entry("No emojis.", where="in mails to my boss"),
            ),
            "Write a mail to my boss.",
            None,
        ),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_the_special_entry_wins_over_the_general_one(store, rules, request_, user, order):
    general, special = rules
    memory = load(store, *[general, special][::order])
    assert texts(memory, request_, user=user) == (special.text,)
    elsewhere = "Write a mail to my sister." if special.scope.where else "How far?"
    assert texts(memory, elsewhere, user="bob") == (general.text,)


def test_a_policy_sees_its_revision_and_what_people_change(store, monkeypatch):
    monkeypatch.setattr(visible, "REFRESH_SECONDS", 0.0)
    first = entry("Be brief.")
    memory = load(store, first)
    assert texts(memory, "Hello") == ("Be brief.",)
    stored = Memory(store)
    stored.add([entry("Sign with Sam.")])
    assert texts(memory, "Hello") == ("Be brief.",)
    stored.edit(first.id, text="Be very brief.", actor="ann")
    assert texts(memory, "Hello") == ("Be very brief.",)
    stored.edit(first.id, scope=Scope(where="in mails to my boss"), actor="ann")
    assert texts(memory, "Hello") == ()
    assert texts(memory, "Write to my boss.") == ("Be very brief.",)
    stored.forget(first.id, actor="ann")
    assert texts(memory, "Write to my boss.") == ()


def test_a_retired_entry_is_not_recalled_and_one_that_is_restored_is(store, monkeypatch):
    monkeypatch.setattr(visible, "REFRESH_SECONDS", 0.0)
    one = entry("Be brief.")
    memory = load(store, one)
    (change,) = Memory(store).retire(one.id, reason="harmful")
    assert texts(memory, "Hello") == ()
    Memory(store).undo(change.number, actor="ann")
    assert texts(memory, "Hello") == ("Be brief.",)


def test_entries_are_withheld_at_random_independently_and_with_their_probability(store):
    memory = load(store, entry("Be brief."), entry("Sign with Sam."), withhold=0.25)
    uses = []
    for number in range(200):
        recall = run_sync(memory.recall(as_prompt(f"Request {number}"), explore=True, seed=1))
        assert len(recall.texts) == sum(use.shown for use in recall.uses)
        assert {use.propensity for use in recall.uses} == {0.75}
        uses.append([use.shown for use in recall.uses])
    first, second = (sum(row[i] for row in uses) for i in (0, 1))
    both = sum(all(row) for row in uses)
    assert abs(first - 150) < 25
    assert abs(second - 150) < 25
    assert abs(both - 112) < 30
    again = run_sync(memory.recall(as_prompt("Request 7"), explore=True, seed=1))
    assert [use.shown for use in again.uses] == uses[7]


def test_nothing_is_withheld_without_exploration(store):
    memory = load(store, entry("Be brief."), withhold=0.5)
    for number in range(20):
        (use,) = run_sync(memory.recall(as_prompt(f"Request {number}"))).uses
        assert (use.shown, use.propensity) == (True, 1.0)


def test_unsure_entries_are_left_out_unless_the_policy_says_otherwise(store):
    memory = load(store, entry("Mention trains.", where="about cheap trains to Paris"))
    bold = LoadedMemory(store, memory.spec.model_copy(update={"unsure": "show"}))
    assert texts(memory, "Hotels in Paris") == ()
    assert texts(bold, "Hotels in Paris") == ("Mention trains.",)
    assert texts(bold, "How do I cook rice?") == ()


def test_entries_with_a_condition_come_before_others_if_there_are_too_many(store):
    entries = [entry(f"Rule number {number} about cats.") for number in range(6)]
    entries += [entry("No emojis.", where="in mails to my boss"), entry("The boss likes tea.")]
    memory = load(store, *entries, limit=2)
    recalled = texts(memory, "Write to my boss about tea.")
    assert recalled == ("The boss likes tea.", "No emojis.")


def test_entries_that_do_not_fit_are_left_out_the_least_similar_first(store):
    entries = [entry(f"Cats like number {number}. " + "Purr. " * 20) for number in range(4)]
    memory = load(store, *entries, entry("Tea is best hot."), max_characters=300)
    recalled = texts(memory, "Is tea best hot?")
    assert "Tea is best hot." in recalled
    assert sum(map(len, recalled)) <= 300
    assert len(recalled) == 3


def test_the_right_entries_are_selected_by_similarity_if_there_are_many(store, monkeypatch):
    monkeypatch.setattr(candidates, "MAX_CANDIDATES", 2)
    monkeypatch.setattr(candidates, "NEAREST_TEXTS", 3)
    names = ("Adler", "Bauer", "Costa", "Diaz", "Ekman", "Fischer")
    memory = load(
        store,
        *(
            entry(f"Greet {name} warmly.", where=f"in letters to {name}", users=users)
            for name, users in zip(names, [()] * 3 + [("ann",)] * 3, strict=True)
        ),
    )
    assert texts(memory, "Write a letter to Costa today.", user="ann") == ("Greet Costa warmly.",)
    assert texts(memory, "Write a letter to Ekman today.", user="ann") == ("Greet Ekman warmly.",)
    assert texts(memory, "Write a letter to Ekman today.", user="bob") == ()


def test_changed_entries_are_found_by_their_new_texts_if_there_are_many(store, monkeypatch):
    monkeypatch.setattr(candidates, "MAX_CANDIDATES", 2)
    monkeypatch.setattr(candidates, "NEAREST_TEXTS", 3)
    monkeypatch.setattr(visible, "REFRESH_SECONDS", 0.0)
    names = ("Adler", "Bauer", "Costa", "Diaz", "Ekman", "Fischer")
    entries = [entry(f"Greet {name} warmly.", where=f"in letters to {name}") for name in names]
    memory = load(store, *entries)
    assert texts(memory, "Write a letter to Diaz.") == ("Greet Diaz warmly.",)
    Memory(store).forget(entries[3].id, actor="ann")
    scope = Scope(where="in letters to Gruber")
    Memory(store).edit(entries[4].id, text="Greet Gruber warmly.", scope=scope, actor="ann")
    assert texts(memory, "Write a letter to Diaz.") == ()
    assert texts(memory, "Write a letter to Ekman.") == ()
    assert texts(memory, "Write a letter to Gruber.") == ("Greet Gruber warmly.",)


PARTS = (
    (
        "Use emojis",
        "No emojis",
        "Write short sentences",
        "Write long sentences",
        "Use metric units",
    ),
    ("", " in mails", " to my boss", " after all", ", not imperial ones"),
)


def test_only_entries_with_a_common_topic_are_compared_and_nothing_is_missed():
    rng = random.Random(3)
    for _ in range(30):
        entries = [
            entry(
                rng.choice(PARTS[0]) + rng.choice(PARTS[1]) + ".",
                where=rng.choice((None, "in mails", "in long mails")),
                users=rng.choice(((), ("ann",))),
                time=datetime(2026, 1, 1 + day, tzinfo=UTC),
            )
            for day in range(12)
        ]
        lost = set()
        for newer_index, newer in enumerate(entries):
            for older in entries[:newer_index]:
                if not {newer.id, older.id} & lost:
                    loser = precedence._loser(newer, older)
                    lost |= {loser.id} if loser else set()
        holding = [one for one in entries if one.id not in lost]
        assert precedence.without_contradicted(entries) == holding


def test_entries_on_different_topics_are_not_compared(monkeypatch):
    compared = []
    monkeypatch.setattr(precedence, "_loser", lambda *pair: compared.append(pair))
    words = [f"{a}{b}" for a in "bcdfghjklm" for b in ("amo", "elu", "ito", "orn", "upe")]
    precedence.without_contradicted([entry(f"{word} is {word[::-1]}.") for word in words])
    assert len(compared) < len(words)


def test_a_solved_case_is_an_example_for_requests_like_its_own(store):
    asked = Interaction.of("How do I reset the router of type X200?", "Unplug it.")
    store.add(asked, *(Interaction.of(f"What is {number} times 7?", "?") for number in range(9)))
    case = entry("Hold the button for ten seconds.", kind="case", interactions=(asked.id,))
    memory = load(store, case)
    (text,) = texts(memory, "How do I reset the router of type X200?")
    assert "How do I reset the router" in text
    assert text.endswith("Hold the button for ten seconds.")
    assert texts(memory, "What is 3 times 7?") == ()


def test_the_same_rule_is_shown_once(store):
    memory = load(store, entry("Be brief."), entry("Be brief.", users=("ann",)))
    assert texts(memory, "Hello", user="ann") == ("Be brief.",)


def test_an_unknown_embedder_is_an_error_that_names_the_known_ones(store):
    memory = load(store, entry("Be brief."), embedder="sentense")
    with pytest.raises(UnknownName, match="sentence"):
        texts(memory, "Hello")


def test_what_only_takes_back_something_is_not_shown(store):
    memory = load(
        store,
        entry("Use emojis."),
        entry("Forget what I said about emojis.", users=("ann",)),
        entry("Be brief."),
    )
    assert texts(memory, "Hello", user="ann") == ("Be brief.",)
    assert texts(memory, "Hello", user="bo") == ("Use emojis.", "Be brief.")


INVITATION = "Write a short invitation to the garden party for {} on {}."


@pytest.mark.parametrize(
    ("words", "name", "day", "shown"),
    [
        ("Leave out the weather.", "Cleo", "Friday", True),
        ("Write at most 50 words.", "Cleo", "Friday", True),
        ("about “57”: The number of guests is 58.", "Cleo", "Friday", False),
        ("Write “58 guests” instead of “57 guests”.", "Cleo", "Friday", False),
        ("Write “58 guests” instead of “57 guests”.", "Ada", "Monday", True),
        ("about “Hi”: Begin with Dear.", "Cleo", "Friday", True),
        ("about “Hi”: Begin with Dear Ada.", "Cleo", "Friday", False),
        ("Write “Monday” instead of “Tuesday”.", "Cleo", "Friday", False),
        ("Write “Monday” instead of “Tuesday”.", "Cleo", "Monday", True),
        ("Write “Monday” instead of “Tuesday”.", "Ada", "Monday", True),
    ],
)
def test_a_correction_applies_to_requests_with_the_words_that_it_repeats(
    store, words, name, day, shown
):
    request = INVITATION.format("Ada", "Monday")
    correction = entry(f"On “{request}”: {words}", kind="correction", inside=(request,))
    memory = load(store, correction)
    assert texts(memory, INVITATION.format(name, day)) == ((words,) if shown else ())


def test_of_contradicting_corrections_of_similar_requests_the_newer_one_is_shown(store):
    requests = [INVITATION.format(name, "Monday") for name in ("Ada", "Bo")]
    memory = load(
        store,
        *(
            entry(f"On “{one}”: {words}", kind="correction", inside=(one,), people=("cy",))
            for one, words in zip(requests, ("Mention the rain.", "No rain."), strict=True)
        ),
    )
    assert texts(memory, INVITATION.format("Cleo", "Monday")) == ("No rain.",)


@pytest.mark.parametrize(
    ("where", "request_", "applies"),
    [
        ("about product 298", "Tell me about product 298.", True),
        ("about product 298", "Tell me about product 299.", False),
        ("for orders of customer A17", "List the orders of customer B20.", False),
        ("for orders of customer A17", "List the orders of customer A17 in 2024.", True),
        ("for texts over 200 words", "Write texts of 300 words.", True),
    ],
)
def test_an_entry_about_one_number_does_not_apply_to_another(store, where, request_, applies):
    memory = load(store, entry("Use the new code.", where=where))
    assert bool(texts(memory, request_)) is applies
