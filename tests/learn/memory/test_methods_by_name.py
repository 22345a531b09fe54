"""Methods by name that write memories; a fake model stands for the policy's in protocol tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import (
    Annotator,
    Choice,
    Critique,
    Demonstration,
    Edit,
    FollowUp,
    Instruction,
    Interaction,
    Label,
    Preference,
)
from backtalk.feedback.case import Case
from backtalk.feedback.kinds import AnyFeedback, Shown
from backtalk.learn import learn
from backtalk.learn.memory.respect import decode_signal
from backtalk.memory import Memory, MemoryEntry
from backtalk.models import NamedSpec, Request, register_model
from backtalk.models.fakes import FunctionModel
from backtalk.policy import Policy
from backtalk.store import Store

RULE = "Begin with Dear."
ADA = Annotator.simulated("ada")


def _reply(request: Request) -> str:
    """Vote for the answer with "Dear", state the rule, follow it, or answer without it."""
    text = request.messages[-1].text
    if "Which answer follows" in text:
        return "A" if "Answer A:\nDear" in text else "B"
    if "Which general wish" in text:
        return RULE if "Dear" in text.split("---")[0] else "none"
    if any(RULE in message.text for message in request.messages[:-1]):
        return f"Dear {text.split()[-1]}"
    return "Hello, it is late."


@register_model("states-a-rule")
def make_model() -> FunctionModel:
    return FunctionModel(_reply, name="states-a-rule")


POLICY = Policy(model=NamedSpec(name="states-a-rule"), name="base")


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(":memory:") as store:
        yield store


def tell(
    store: Store, request: str, answer: str, kind: type[AnyFeedback], **fields: Any
) -> Interaction:
    interaction = Interaction.of(request, answer, user="ada")
    store.add(interaction, kind(interaction=interaction.id, annotator=ADA, **fields))
    return interaction


def entries(store: Store) -> list[MemoryEntry]:
    return Memory(store).entries()


def edit_mails(store: Store) -> None:
    for n in range(6):
        tell(store, f"Write to boss {n}.", f"Hello {n}.", Edit, response="0", text=f"Dear {n}.")
        tell(store, f"Ask friend Bo of {n}.", f"Hey {n}!", Edit, response="0", text=f"Hey {n}.")


@pytest.mark.parametrize("method", ["cipher", "droc"])
def test_edits_of_one_kind_become_a_preference_in_its_context(store: Store, method: str) -> None:
    edit_mails(store)
    learn(method, POLICY, store, split="all")
    found = [entry for entry in entries(store) if entry.text == RULE]
    assert {entry.scope.users for entry in found} == {("ada",)}
    assert any(entry.scope.where == "boss" for entry in found)


def test_a_rule_that_brings_no_answer_closer_is_not_remembered(store: Store) -> None:
    for n in range(6):
        text = f"Hello, it is late. No Dear {n}."
        tell(store, f"Write to boss {n}.", f"Hi {n}.", Edit, response="0", text=text)
        tell(store, f"Ask friend Bo of {n}.", f"Hey {n}!", Edit, response="0", text=f"Hey {n}.")
    learn("droc", POLICY, store, split="all")
    assert RULE not in {entry.text for entry in entries(store)}


def test_cipher_reads_each_edit_once(store: Store) -> None:
    edit_mails(store)
    first = learn("cipher", POLICY, store, split="all")
    second = learn("cipher", first, store, split="all", seed=1)
    assert second.memory == first.memory


def test_leap_learns_from_mistakes_on_right_answers(store: Store) -> None:
    for n in range(4):
        tell(store, f"Write to my boss on {n}.", "Hey.", Demonstration, text="Dear all, I am late.")
        tell(store, f"Ask friend Bo of {n}.", "Hey.", Demonstration, text="Hello, it is late.")
    learned = learn("leap", POLICY, store, split="all")
    assert learned.lineage.notes["mistakes"] == 8
    assert RULE in {entry.text for entry in entries(store)}


def test_a_constitution_reconstructs_preferences(store: Store) -> None:
    for n in range(20):
        interaction = Interaction.of(
            f"Question {n} to my boss", "Dear you :)", "Hello you", user="ada"
        )
        store.add(
            interaction,
            Preference(interaction=interaction.id, annotator=ADA, a="0", b="1", verdict="a"),
        )
    learned = learn("inverse-constitution", POLICY, store, split="all", n=1)
    assert learned.lineage.notes["annotations reconstructed"] == 1.0
    assert len(entries(store)) == 1


def test_a_clarification_is_recalled_by_its_requests(store: Store) -> None:
    for n in range(5):
        tell(store, f"Write to my boss on {n}.", "Hi.", Critique, response="0", text=RULE)
        tell(store, f"Ask friend Bo of {n}.", "Hi.", Critique, response="0", text="Be funny.")
    learn("mem-prompt", POLICY, store, split="all")
    found = {entry.text: entry.scope.where for entry in entries(store)}
    assert found[RULE] == "boss"
    assert found["Be funny."] in {"ask", "friend", "bo"}


def test_an_instruction_learns_its_condition_from_near_misses(store: Store) -> None:
    for n in range(6):
        tell(store, f"Write to my boss on {n}.", "Hi.", Instruction, text=RULE)
        tell(store, f"Write to a friend on {n}.", "Hi.", Label, response="0", good=True)
    learn("verbal-feedback", POLICY, store, split="all")
    (entry,) = entries(store)
    assert entry.scope.where == "boss"
    assert entry.scope.outside


def test_praise_critique_and_rewrite_become_principles(store: Store) -> None:
    tell(store, "A?", "Yes.", Label, response="0", good=True, metadata={"comment": "Stay brief."})
    tell(store, "B?", "Yes.", Critique, response="0", text="Name the source.")
    tell(store, "C?", "Hello you.", Edit, response="0", text="Dear you.")
    learn("constitution-maker", POLICY, store, split="all")
    texts = {entry.text for entry in entries(store)}
    assert texts == {"Stay brief.", "Name the source.", "Write “Dear” instead of “Hello”."}
    assert {entry.kind for entry in entries(store)} == {"principle"}


def test_a_canonical_example_is_a_case_of_its_request(store: Store) -> None:
    tell(store, "Capital of Mauritius?", "Paris.", Edit, response="0", text="Port Louis.")
    learn("canonical-examples", POLICY, store, split="all")
    (entry,) = entries(store)
    assert (entry.kind, entry.text) == ("case", "Port Louis.")
    assert entry.scope.inside == ("Capital of Mauritius?",)


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        ("Thanks, perfect!", "positive"),
        ("No, I meant Oslo.", "negative"),
        ("how far is oslo from here", "negative"),
        ("And what does a ticket cost?", "neutral"),
    ],
)
def test_the_next_message_tells_whether_the_answer_was_good(text: str, signal: str) -> None:
    interaction = Interaction.of("How far is Oslo from here?", "Near.", user="ada")
    item = FollowUp(interaction=interaction.id, annotator=ADA, text=text)
    assert decode_signal(item, Case(interaction, (item,))) == signal


def test_looking_back_remembers_what_was_picked(store: Store) -> None:
    interaction = Interaction.of("A name?", "Bo", "Cy", user="ada")
    shown = (Shown(response="0"), Shown(response="1"))
    store.add(
        interaction, Choice(interaction=interaction.id, annotator=ADA, chosen="1", shown=shown)
    )
    learned = learn("respect", POLICY, store, split="all")
    assert [entry.text for entry in entries(store)] == ["Cy"]
    assert learned.lineage.notes["positive signals"] == 1


def test_a_profile_follows_what_a_user_says_of_themself(store: Store) -> None:
    tell(store, "Hello", "Hi.", FollowUp, text="I live in Oslo.")
    first = learn("user-profile", POLICY, store, split="all")
    for n in range(3):
        tell(store, f"Hello {n}", "Hi.", FollowUp, text="I moved to Bergen.")
    learn("user-profile", first, store, split="all")
    (entry,) = entries(store)
    assert (entry.text, entry.scope.users) == ("User profile: home: Bergen", ("ada",))
    assert 0.5 < entry.confidence < 1


def test_a_profile_has_only_traits_that_some_answers_have(store: Store) -> None:
    for n in range(8):
        tell(store, f"Hello {n}", "Hi 😀", Edit, response="0", text="Hi")
    learn("user-profile", POLICY, store, split="all")
    assert [entry.text for entry in entries(store)] == ["User profile: emojis in answers: no"]


def test_an_error_names_the_instructions_that_are_missing(store: Store) -> None:
    tell(store, "Is it open?", "Yes.", Label, response="0", good=True)
    with pytest.raises(BacktalkError, match="missing: instructions") as error:
        learn("verbal-feedback", POLICY, store, split="all")
    assert "Collect feedback" not in error.value.mend
    assert "There is, on the all prompts: 1 label" in error.value.mend
