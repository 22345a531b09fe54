"""Availability of methods on stores with different content, and the documentation of methods."""

from itertools import islice

import pytest

from backtalk.decode import Sample
from backtalk.errors import BacktalkError
from backtalk.feedback import Annotator, Instruction, Interaction, Label, Preference, as_prompt
from backtalk.feedback.views import Pair
from backtalk.learn import (
    METHODS,
    TrainingSet,
    available_methods,
    get_method,
    in_split,
    learn,
    requirements,
)
from backtalk.models import Sampling
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
    """The method gate asks people, so that it needs prompts alone."""
    store.add(Interaction.of("2 + 2?", "4", "5"))
    assert [item.method.name for item in available_methods(store) if item.available] == ["gate"]
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


def add_preferences(store, prompts, **fields):
    for prompt in prompts:
        interaction = Interaction.of(prompt, "Yes.", "No.")
        about = {"interaction": interaction.id, "annotator": ADA, "a": "0", "b": "1"}
        store.add(interaction, Preference(**about, verdict="a", **fields))


def prompts_of(split, count):
    prompts = (f"Question {number}?" for number in range(1_000))
    return [*islice((text for text in prompts if in_split(as_prompt(text), split)), count)]


def test_feedback_that_is_all_held_out_is_named_with_what_to_do(store):
    add_preferences(store, prompts_of("held-out", 20))
    reason = availability(store, "dpo").reasons[0]
    assert reason.startswith(
        "preference on training prompts (all 20 are on held-out prompts) or ranking"
    )
    with pytest.raises(BacktalkError, match="all 20 are on held-out prompts") as raised:
        learn("dpo", LOCAL, store)
    assert "--split all" in raised.value.mend
    add_preferences(store, prompts_of("train", 3))
    assert availability(store, "dpo").available
    (source,) = [one for one in availability(store, "dpo").sources if one.kind == "preference"]
    assert (source.count, source.held_out, source.views) == (3, 20, 3)


def test_the_only_prompt_is_named_as_the_reason_if_it_is_held_out(store):
    add_preferences(store, prompts_of("held-out", 1))
    with pytest.raises(BacktalkError, match=r"The one prompt with feedback is held out"):
        learn("best-of-n", ENDPOINT, store)


def test_judgements_on_other_aspects_are_no_reason_to_say_yes(store):
    add_preferences(store, prompts_of("train", 4), aspect="safety")
    assert "aspect overall (4 on safety)" in availability(store, "dpo").reasons[0]
    with pytest.raises(BacktalkError, match="--aspect NAME"):
        learn("dpo", LOCAL, store)
    (item,) = [
        item for item in available_methods(store, aspect="safety") if item.method.name == "dpo"
    ]
    assert item.available


def test_an_error_counts_what_is_there_and_names_methods_that_can_learn(store):
    interaction = Interaction.of("2 + 2?", "4")
    store.add(
        interaction, Label(interaction=interaction.id, annotator=ADA, response="0", good=True)
    )
    save_policy(store, LOCAL)
    with pytest.raises(BacktalkError, match="dpo has nothing to learn from") as raised:
        learn("dpo", LOCAL, store)
    assert "1 label" in raised.value.mend
    assert "sft" in raised.value.mend
    assert "dpo" not in raised.value.mend.split("Methods that can learn")[1]


def test_missing_packages_are_named_with_their_extra(store, monkeypatch):
    add_preferences(store, prompts_of("train", 2))
    monkeypatch.setattr(requirements, "find_spec", lambda _: None)
    assert availability(store, "dpo").reasons == (
        "the packages of `pip install 'backtalk[train]'`",
    )
    assert availability(store, "best-of-n").available


def test_a_policy_without_sampling_gets_nothing_from_the_best_of_several_samples(store):
    add_preferences(store, prompts_of("train", 2))
    greedy = Policy(
        model=EndpointSpec(model="large"),
        decoder=Sample(sampling=Sampling(temperature=0)),
        name="greedy",
    )
    save_policy(store, greedy)
    assert availability(store, "best-of-n").reasons == ("a policy with a temperature above 0",)


@pytest.mark.parametrize("policy", [ENDPOINT, LOCAL], ids=["endpoint", "local"])
def test_two_hundred_thumbs_alone_drive_a_policy(store, policy):
    save_policy(store, policy)
    for number, prompt in enumerate(prompts_of("train", 200)):
        shown = Interaction.of(prompt, "At nine." if number % 2 else "No idea.")
        person = Annotator.human(f"user-{number}")
        store.add(
            shown,
            Label(interaction=shown.id, annotator=person, response="0", good=number % 2 == 1),
        )
    names = {item.method.name for item in available_methods(store) if item.available}
    assert "best-of-n" in names
    assert ({"sft", "kto"} <= names) == (policy is LOCAL)
    assert availability(store, "best-of-n").kinds == ("label",)
    learned = learn("best-of-n", policy, store, name="chooser")
    assert learned.lineage.notes["single judgements"] == 200
    assert learned.lineage.notes["cross-validated AUC of single judgements"] > 0.9


def test_thumbs_of_several_people_on_one_prompt_make_pairs(store):
    for text, good in (("4", True), ("5", False), ("It is 4.", True)):
        shown = Interaction.of("2 + 2?", text)
        person = Annotator.human(f"user of {text}")
        store.add(shown, Label(interaction=shown.id, annotator=person, response="0", good=good))
    pairs = {(pair.chosen, pair.rejected) for pair in TrainingSet(store).views(Pair)}
    assert pairs == {("4", "5"), ("It is 4.", "5")}


def test_a_popular_prompt_does_not_pair_any_two_of_its_answers(store):
    for number in range(120):
        shown = Interaction.of("2 + 2?", f"Answer {number}")
        about = {"interaction": shown.id, "annotator": ADA, "response": "0"}
        store.add(shown, Label(**about, good=number % 2 == 0))
    pairs = TrainingSet(store).views(Pair)
    assert 120 <= len(pairs) <= 120 * 16
    assert len({pair.chosen for pair in pairs}) == len({pair.rejected for pair in pairs}) == 60
