"""Availability of methods on stores with different content, and the documentation of methods."""

import pytest

from backtalk.feedback import Annotator, Instruction, Interaction, Label, Preference
from backtalk.learn import METHODS, available_methods, get_method
from backtalk.models.spec import EndpointSpec, NamedSpec
from backtalk.policy import Policy, save_policy
from backtalk.store import Store

ADA = Annotator.human("ada")
ENDPOINT = Policy(model=EndpointSpec(model="large"), name="endpoint")
LOCAL = Policy(model=NamedSpec(name="small"), name="local")
OTHER = Policy(model=NamedSpec(name="small"), system="Be brief.", name="other")


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.db") as opened:
        yield opened


def availability(store, name):
    (item,) = [item for item in available_methods(store) if item.method.name == name]
    return item


def test_nothing_is_available_on_an_empty_store(store):
    assert not any(item.available for item in available_methods(store))
    assert all(item.reasons for item in available_methods(store))


def test_prompts_alone_make_no_method_of_feedback_available(store):
    store.add(Interaction.of("2 + 2?", "4", "5"))
    assert [item.method.name for item in available_methods(store) if item.available] == []
    assert availability(store, "weak-to-strong").reasons == ("at least two policies",)
    assert availability(store, "c3po").reasons == ("standing rules (instruction feedback)",)
    assert "-o style=TEXT" in availability(store, "counterfactual-dpo").reasons[0]


def test_methods_of_rules_are_available_only_with_rules(store):
    interaction = Interaction.of("2 + 2?", "4", "5")
    preference = Preference(interaction=interaction.id, annotator=ADA, a="0", b="1", verdict="a")
    store.add(interaction, preference)
    assert availability(store, "dpo").available
    assert availability(store, "best-of-n").available
    assert not availability(store, "c3po").available
    store.add(Instruction(interaction=interaction.id, annotator=ADA, text="Be brief."))
    assert availability(store, "c3po").available
    assert not availability(store, "counterfactual-dpo").available


def test_labels_make_the_methods_of_labels_available(store):
    interaction = Interaction.of("2 + 2?", "4")
    store.add(
        interaction, Label(interaction=interaction.id, annotator=ADA, response="0", good=True)
    )
    assert availability(store, "kto").available
    assert availability(store, "kto").kinds == ("label",)
    assert not availability(store, "dpo").available
    assert "preference" in availability(store, "dpo").reasons[0]


def test_weak_to_strong_needs_two_policies(store):
    store.add(Interaction.of("2 + 2?", "4"))
    save_policy(store, LOCAL)
    assert not availability(store, "weak-to-strong").available
    save_policy(store, OTHER)
    assert availability(store, "weak-to-strong").available


def test_training_needs_a_local_model_where_there_are_policies(store):
    interaction = Interaction.of("2 + 2?", "4", "5")
    preference = Preference(interaction=interaction.id, annotator=ADA, a="0", b="1", verdict="a")
    store.add(interaction, preference)
    save_policy(store, ENDPOINT)
    assert availability(store, "dpo").reasons == ("a policy with a local model",)
    assert availability(store, "best-of-n").available
    save_policy(store, LOCAL)
    assert availability(store, "dpo").available


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_documents_itself(name):
    description = get_method(name).describe()
    assert description.summary.endswith(".")
    assert "----" not in description.details
    assert description.formula
    assert description.requires
    assert description.example.startswith(f"backtalk learn {name} ")
    assert [option.name for option in description.options if not option.meaning] == []
    assert all(option.type for option in description.options)
