"""The method ``memory``: what people said becomes entries with scope and provenance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.errors import BacktalkError
from backtalk.feedback import (
    Annotator,
    Critique,
    Demonstration,
    Edit,
    FollowUp,
    Instruction,
    Interaction,
    Label,
    Preference,
    Scope,
)
from backtalk.feedback.kinds import AnyFeedback, Outcome, Span, Spans, Verdict
from backtalk.learn import TrainingSet, learn
from backtalk.learn.memory.habits import change_of_mind
from backtalk.memory import Memory, MemoryEntry
from backtalk.models.spec import EndpointSpec
from backtalk.policy import Policy, save_policy
from backtalk.policy.origin import policy_origin
from backtalk.rewards.judge_info import JudgeInfo
from backtalk.store import Store

ADA, BOB, CY = (Annotator.human(name) for name in ("ada", "bob", "cy"))
POLICY = Policy(model=EndpointSpec(model="m", base_url="http://127.0.0.1:9/v1"), name="base")


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(":memory:") as store:
        yield store


def tell(
    store: Store,
    request: str,
    answer: str,
    *kinds: type[AnyFeedback],
    by: Annotator = ADA,
    **fields: Any,
) -> Interaction:
    """Add an answered request of the annotator with their feedback."""
    interaction = Interaction.of(request, answer, user=fields.pop("user", by.id))
    items = [kind(interaction=interaction.id, annotator=by, **fields) for kind in kinds]
    store.add(interaction, *items)
    return interaction


def remember(store: Store, policy: Policy = POLICY, **options: Any) -> Policy:
    return learn("memory", policy, store, split="all", **options)


def entries(store: Store) -> list[MemoryEntry]:
    return Memory(store).entries()


def by_text(store: Store) -> dict[str, MemoryEntry]:
    return {entry.text: entry for entry in entries(store)}


def test_an_instruction_keeps_its_words_and_scope(store: Store) -> None:
    scope = Scope(where="in mails to my boss", users=("ada",))
    store.add(Instruction(annotator=ADA, text="Use no emojis.", scope=scope))
    remember(store)
    (entry,) = entries(store)
    assert (entry.kind, entry.text, entry.scope) == ("instruction", "Use no emojis.", scope)
    assert entry.people == ("ada",)
    assert entry.feedback


def test_a_users_own_instruction_is_theirs_and_a_reviewers_is_for_all(store: Store) -> None:
    tell(store, "Hi", "Hello.", Instruction, text="Call me Captain.")
    tell(store, "Hours?", "Nine.", Instruction, by=BOB, user="ada", text="Give hours as a table.")
    remember(store)
    found = by_text(store)
    assert found["Call me Captain."].scope.users == ("ada",)
    assert found["Give hours as a table."].scope.users == ()


def test_an_edit_is_a_correction_of_its_request_in_words(store: Store) -> None:
    tell(store, "When?", "We open on Monday.", Edit, response="0", text="We open on Tuesday.")
    remember(store)
    (entry,) = entries(store)
    assert entry.kind == "correction"
    assert entry.scope.inside == ("When?",)
    assert "Write “Tuesday” instead of “Monday”." in entry.text


@pytest.mark.parametrize(
    ("before", "after", "wish"),
    [
        ("Hello {n}, it is late. :)", "Hello {n}, it is late.", "Do not use emojis."),
        ("Hello {n}, it is late.", "Dear {n}, it is late.", "Write “Dear” instead of “Hello”."),
        ("It is {n} late, to be honest.", "It is {n} late.", "Leave out “to be honest”."),
        ("Sorry, no {n} here.", "No {n} here.", "Do not apologise."),
    ],
)
def test_a_change_that_a_user_always_makes_is_a_preference_of_theirs(
    store: Store, before: str, after: str, wish: str
) -> None:
    for n in range(4):
        answer, text = before.format(n=f"x{n}"), after.format(n=f"x{n}")
        tell(store, f"Question {n}", answer, Edit, response="0", text=text)
    remember(store)
    entry = by_text(store)[wish]
    assert entry.kind == "preference"
    assert entry.scope.users == ("ada",)
    assert len(entry.feedback) == 4


def test_a_change_made_for_one_kind_of_request_has_that_scope(store: Store) -> None:
    for n in range(6):
        answer = f"Hello, the thing {n} is late. :)"
        tell(store, f"Write to my boss about {n}", answer, Edit, response="0", text=answer[:-3])
        tell(store, f"Chat with friend Bo on {n}", answer, Edit, response="0", text=answer + "!")
    remember(store)
    scope = by_text(store)["Do not use emojis."].scope
    assert scope.inside
    assert all("boss" in request for request in scope.inside)
    assert all("friend" in request for request in scope.outside)


@pytest.mark.parametrize(
    ("texts", "wishes"),
    [
        (("{n} is late.", "{n} is late. :)"), ("Use an emoji.", "Do not use emojis.")),
        (
            ("Hello {n}.", "Dear {n}."),
            ("Write “Dear” instead of “Hello”.", "Write “Hello” instead of “Dear”."),
        ),
    ],
)
@pytest.mark.parametrize("old", [4, 20])
def test_a_change_of_mind_in_edits_wins(
    store: Store, texts: tuple[str, str], wishes: tuple[str, str], old: int
) -> None:
    first, then = wishes
    for n in range(old + 3):
        answer, text = (text.format(n=f"x{n}") for text in texts)
        if n >= old:
            answer, text = text, answer
        tell(store, f"Question {n}", answer, Edit, response="0", text=text)
    remember(store)
    found = by_text(store)
    assert then in found
    assert first not in found
    assert len(found[then].feedback) == 3


def test_a_slip_is_no_change_of_mind(store: Store) -> None:
    for n in range(8):
        texts = [f"x{n} is late. :)", f"x{n} is late."]
        answer, text = texts if n != 6 else texts[::-1]
        tell(store, f"Question {n}", answer, Edit, response="0", text=text)
    remember(store)
    assert len(by_text(store)["Do not use emojis."].feedback) == 7


def test_a_change_of_mind_in_preferences_wins(store: Store) -> None:
    for n in range(45):
        interaction = Interaction.of(f"Question {n}", "word " * 30, "word " * 10, user="ada")
        verdict: Verdict = "a" if n < 30 else "b"
        store.add(
            interaction,
            Preference(interaction=interaction.id, annotator=ADA, a="0", b="1", verdict=verdict),
        )
    remember(store)
    (entry,) = entries(store)
    assert entry.text == "Write shorter answers."
    assert len(entry.feedback) == 15


@given(st.lists(st.sampled_from([1, -1]), min_size=2, max_size=40))
def test_a_change_of_mind_divides_judgements_with_contrary_majorities(signs: list[int]) -> None:
    split = change_of_mind(signs)
    if split:
        assert sum(signs[:split]) * sum(signs[split:]) < 0


def test_random_judgements_seldom_show_a_change_of_mind() -> None:
    draws = np.random.default_rng(5).choice([1, -1], size=(300, 40))
    assert np.mean([change_of_mind(row.tolist()) > 0 for row in draws]) <= 0.05


def test_critiques_of_several_people_make_a_principle_for_all(store: Store) -> None:
    for by, request in ((ADA, "Open?"), (BOB, "Closed?"), (CY, "Where?")):
        tell(store, request, "Yes.", Critique, by=by, response="0", text="Say the day too.")
    remember(store)
    (entry,) = entries(store)
    assert (entry.kind, entry.scope.users) == ("principle", ())
    assert entry.people == ("ada", "bob", "cy")


def test_a_critique_of_a_part_names_the_part(store: Store) -> None:
    tell(store, "Open?", "Yes, dude.", Critique, response="0", text="Too casual.", start=5, end=9)
    remember(store)
    assert "“dude”: Too casual." in entries(store)[0].text


def test_a_follow_up_gives_a_correction_a_wish_and_a_fact(store: Store) -> None:
    text = "No, I meant in kilometres. From now on, use metric units. I am a vegetarian."
    tell(store, "How far?", "Ten miles.", FollowUp, text=text)
    remember(store)
    kinds = {entry.kind: entry for entry in entries(store)}
    assert set(kinds) == {"correction", "preference", "fact"}
    assert "kilometres" in kinds["correction"].text
    assert "metric" not in kinds["correction"].text
    assert all(entry.scope.users == ("ada",) for entry in kinds.values())


def test_a_good_answer_after_a_corrected_one_is_a_solved_case(store: Store) -> None:
    first = tell(store, "Far?", "Ten miles.", FollowUp, text="Wrong, in km.", act="correction")
    second = Interaction.of("In km, please.", "16 km.", user="ada")
    second = second.model_copy(update={"parent": first.id})
    store.add(second, Label(interaction=second.id, annotator=ADA, response="0", good=True))
    remember(store)
    (case,) = [entry for entry in entries(store) if entry.kind == "case"]
    assert (case.text, case.scope.inside) == ("16 km.", ("Far?",))


def test_demonstrations_and_failed_checks_are_remembered(store: Store) -> None:
    tell(store, "Add 1 and 2.", "4", Demonstration, text="3")
    check = Annotator.verifier("tests")
    tell(
        store, "Sort it.", "[2, 1]", Outcome, by=check, user="ada", response="0", passed=False,
        text="AssertionError: not sorted",
    )  # fmt: skip
    remember(store)
    found = {entry.kind: entry for entry in entries(store)}
    assert found["case"].text == "3"
    assert "not sorted" in found["correction"].text


def test_marked_spans_are_corrections(store: Store) -> None:
    span = Span(start=0, end=4, label="rude", comment="Never say this.")
    tell(store, "Hm?", "What do you want?", Spans, response="0", spans=(span,))
    remember(store)
    assert "“What”: Never say this." in entries(store)[0].text


def test_preferences_of_one_person_show_a_trait(store: Store) -> None:
    for n in range(12):
        interaction = Interaction.of(f"Question {n}", "word " * 30, "word " * 10, user="ada")
        verdict = Preference(interaction=interaction.id, annotator=ADA, a="0", b="1", verdict="b")
        store.add(interaction, verdict)
    remember(store)
    (entry,) = entries(store)
    assert (entry.text, entry.scope.users) == ("Write shorter answers.", ("ada",))


def test_preferences_at_random_show_nothing(store: Store) -> None:
    for n in range(12):
        interaction = Interaction.of(f"Question {n}", "word " * 30, "word " * 10, user="ada")
        verdict: Verdict = "a" if n % 2 else "b"
        store.add(
            interaction,
            Preference(interaction=interaction.id, annotator=ADA, a="0", b="1", verdict=verdict),
        )
    with pytest.raises(BacktalkError, match="feedback in words"):
        remember(store)


def test_learning_again_adds_nothing(store: Store) -> None:
    tell(store, "When?", "Monday.", Critique, response="0", text="Say the hour.")
    first = remember(store)
    again = remember(store, first, seed=1)
    assert again.memory == first.memory
    assert again.lineage.notes["known"] == 1


def test_more_evidence_replaces_an_entry_by_one_with_both(store: Store) -> None:
    for n in range(3):
        tell(store, f"Q {n}", f"Hello {n}.", Edit, response="0", text=f"Dear {n}.")
    first = remember(store)
    tell(store, "Q 3", "Hello 3.", Edit, response="0", text="Dear 3.")
    second = remember(store, first)
    (entry,) = [one for one in entries(store) if one.kind == "preference"]
    assert len(entry.feedback) == 4
    assert second.lineage.notes["updated"] == 1


def test_what_a_person_forgot_or_changed_stays_so(store: Store) -> None:
    tell(store, "When?", "Monday.", Critique, response="0", text="Say the hour.")
    tell(store, "Where?", "Here.", Critique, response="0", text="Give the street.")
    first = remember(store)
    memory = Memory(store)
    hour, street = sorted(memory.entries(), key=lambda entry: "street" in entry.text)
    memory.forget(hour.id, actor="ada")
    memory.edit(street.id, text="Give the full address.", actor="ada")
    tell(store, "Where?", "Here.", Critique, response="0", text="Give the street.")
    learned = remember(store, first, seed=1)
    assert [entry.text for entry in entries(store)] == ["Give the full address."]
    assert learned.lineage.notes["left out: forgotten by a person"] == 1
    assert learned.lineage.notes["left out: changed by a person"] == 1


def test_only_some_kinds_of_entries_are_written(store: Store) -> None:
    tell(store, "Hi", "Hello.", Instruction, text="Be brief.")
    tell(store, "When?", "Monday.", Critique, response="0", text="Say the hour.")
    learned = remember(store, entry_kinds="instruction")
    assert [entry.kind for entry in entries(store)] == ["instruction"]
    assert learned.lineage.notes["left out: other kinds of entries"] == 1
    with pytest.raises(BacktalkError, match="correction"):
        remember(store, entry_kinds="rules")


def test_the_policy_names_its_memory_and_how_it_recalls(store: Store) -> None:
    tell(store, "Hi", "Hello.", Instruction, text="Be brief.")
    learned = remember(store, memory_name="notes", recall_limit=3, withhold=0.1, name="remembers")
    assert learned.memory is not None
    assert (learned.memory.name, learned.memory.limit) == ("notes", 3)
    assert learned.memory.withhold == 0.1
    assert Memory(store, "notes").entries()


def test_the_gate_knows_that_a_memory_optimises_no_reward(store: Store) -> None:
    tell(store, "Hi", "Hello.", Instruction, text="Be brief.")
    learned = remember(store, name="remembers")
    save_policy(store, POLICY)
    save_policy(store, learned)
    held_out = TrainingSet(store, split="held-out").snapshot
    judge = JudgeInfo(name="held-out", kind="reward", fitted_on=held_out)
    assert policy_origin(learned, store, judge=judge).unknown == ()
