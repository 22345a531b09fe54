"""GATE: questions by edge cases, and what people answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backtalk.feedback import Annotator, Interaction, Preference
from backtalk.feedback.kinds import Verdict
from backtalk.learn import learn
from backtalk.memory import Memory
from backtalk.models import NamedSpec, Request, register_model
from backtalk.models.fakes import FunctionModel
from backtalk.policy import Policy
from backtalk.store import Store

POLICY = Policy(model=NamedSpec(name="does-as-asked"), name="base")


@register_model("does-as-asked")
def make_model() -> FunctionModel:
    def reply(request: Request) -> str:
        wish = request.messages[0].text
        if "longer" in wish:
            return "Hello, I write to you as I am late."
        if "emoji" in wish:
            return "Hello, I am late. :)"  # also if it should not
        return "I am late." if "shorter" in wish else "Hello, I am late."

    return FunctionModel(reply, name="does-as-asked")


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(":memory:") as store:
        store.add(Interaction.of("Write a mail.", "Hello."))
        yield store


def ask(store: Store, policy: Policy = POLICY, count: int = 1) -> Policy:
    return learn("gate", policy, store, split="all", questions=count)


def questions(store: Store) -> list[Interaction]:
    return [case.interaction for case in store.cases() if len(case.interaction.responses) == 2]


def prefer(store: Store, words: str, verdict: Verdict) -> None:
    """Prefer the first or the second answer to the question about a wish."""
    (asked,) = (
        one
        for one in questions(store)
        if any(words in str(response.metadata) for response in one.responses)
    )
    ada = Annotator.human("ada")
    store.add(Preference(interaction=asked.id, annotator=ada, a="0", b="1", verdict=verdict))


def wishes(store: Store) -> list[str]:
    return [entry.text for entry in Memory(store).entries()]


def test_a_policy_asks_and_remembers_the_answer(store: Store) -> None:
    first = ask(store)
    assert first.lineage.notes["questions for the inbox"] == 1
    prefer(store, "shorter", "b")
    second = ask(store, first)
    assert wishes(store) == ["Write shorter answers."]
    assert second.lineage.notes["new instructions"] == 1
    assert len(questions(store)) == 2, "a question about another wish"


def test_it_asks_only_about_differences_that_the_answers_show(store: Store) -> None:
    ask(store, count=15)
    asked = [[r.metadata["elicited wish"] for r in one.responses] for one in questions(store)]
    assert asked == [["Write longer answers.", "Write shorter answers."], ["Use an emoji.", ""]]


@pytest.mark.parametrize(("verdict", "remembered"), [("a", ["Use an emoji."]), ("b", [])])
def test_who_prefers_the_answer_as_it_is_wishes_no_change(
    store: Store, verdict: Verdict, remembered: list[str]
) -> None:
    first = ask(store, count=15)
    prefer(store, "emoji", verdict)
    ask(store, first, count=15)
    assert wishes(store) == remembered
    assert len(questions(store)) == 2, "none of them again"
