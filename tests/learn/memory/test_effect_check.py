"""Check of a memory before it is learned: kinds of entries that make answers worse."""

import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import Annotator, Demonstration, Edit, Instruction, Interaction
from backtalk.learn import learn
from backtalk.learn.memory.effect_check import KindEffect
from backtalk.learn.no_improvement import NoImprovement
from backtalk.memory import Memory
from backtalk.models import Completion, FunctionModel, register_model
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy
from backtalk.store import Store

ADA = Annotator.human("ada")
ANSWER = "We would be glad to see you at the garden party."
CALLS = []


@register_model("confused-by-examples")
def confused_by_examples():
    def say(request):
        text = " ".join(message.text for message in request.messages)
        CALLS.append(text)
        answer = "Lorem ipsum." if "Good answer to it" in text else ANSWER
        return Completion(text=answer, model="confused-by-examples")

    return FunctionModel(say, name="confused-by-examples")


POLICY = Policy(model=NamedSpec(name="confused-by-examples"))
NAMES = ("Ada", "Bo", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana")


@pytest.fixture
def store():
    CALLS.clear()
    with Store(":memory:") as store:
        for name in NAMES:
            request = f"Write a short invitation to the garden party for {name}."
            interaction = Interaction.of(request, "Come.", user="ada")
            about = {"interaction": interaction.id, "annotator": ADA}
            store.add(interaction, Demonstration(**about, text=ANSWER))
        others = (f"What is {number} times {number + 7}?" for number in range(60))
        store.add(*(Interaction.of(request, "42", user="bo") for request in others))
        yield store


def test_a_kind_that_makes_answers_worse_is_left_out(store):
    store.add(Instruction(annotator=ADA, text="Mention the food."))
    learned = learn("memory", POLICY, store, split="all", check=8)
    assert [entry.text for entry in Memory(store).entries()] == ["Mention the food."]
    notes = learned.lineage.notes
    assert notes["effect of entries of kind case"].endswith("on 8 requests, left out")
    assert notes["effect of entries of kind instruction"] == "+0.000 on 8 requests"
    assert len(CALLS) == 24
    assert [one.name for one in learned.lineage.rewards] == ["closeness to corrections"]


def test_nothing_is_learned_if_all_kinds_make_answers_worse(store):
    with pytest.raises(NoImprovement, match="case"):
        learn("memory", POLICY, store, split="all", check=8)
    assert not Memory(store).entries()


def test_no_model_is_called_unless_a_check_is_asked_for(store):
    learn("memory", POLICY, store, split="all")
    assert len(Memory(store).entries()) == len(NAMES)
    assert not CALLS


def test_an_entry_is_not_tested_on_the_request_that_it_was_made_from():
    with Store(":memory:") as store:
        interaction = Interaction.of("Name a colour.", "Red.", user="ada")
        about = {"interaction": interaction.id, "annotator": ADA}
        store.add(interaction, Edit(**about, response="0", text="Blue."))
        learned = learn("memory", POLICY, store, split="all", check=5)
    assert not any(name.startswith("effect") for name in learned.lineage.notes)


def test_a_check_needs_feedback_that_judges_answers():
    with Store(":memory:") as store:
        interaction = Interaction.of("Name a colour.", "Red.", user="ada")
        store.add(interaction, Instruction(annotator=ADA, text="Mention the food."))
        with pytest.raises(BacktalkError, match="tells better answers from worse"):
            learn("memory", POLICY, store, split="all", check=5)


@pytest.mark.parametrize(
    ("kind", "effect", "is_harmful"),
    [
        ("correction", KindEffect(5, -0.01, 0.2), True),
        ("correction", KindEffect(4, -0.5, -0.1), False),
        ("case", KindEffect(9, 0.0, 0.2), False),
        ("instruction", KindEffect(20, -0.1, 0.01), False),
        ("instruction", KindEffect(20, -0.1, -0.01), True),
    ],
)
def test_wishes_are_left_out_only_with_significance(kind, effect, is_harmful):
    assert effect.is_harmful(kind) == is_harmful
