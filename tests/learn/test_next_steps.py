"""Tests of the next steps of a project."""

import re

import pytest

from backtalk.cli import main
from backtalk.feedback import Annotator, Critique, Interaction, Label, Response, as_prompt
from backtalk.feedback.case import prompt_key
from backtalk.feedback.split import split_for
from backtalk.learn import learn
from backtalk.learn.next_steps import evaluation_command, next_steps, suggested_judge
from backtalk.models.spec import EndpointSpec, NamedSpec
from backtalk.policy import Policy, save_policy
from backtalk.promotion import promote
from backtalk.store import Store

PLAIN = Policy(model=EndpointSpec(model="small", base_url="http://localhost:1/v1"), name="plain")
BRIEF = Policy(model=PLAIN.model, system="Be brief.", name="brief")
COMMAND = re.compile(r"Next: `backtalk ([^`]+)`")


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.db") as opened:
        yield opened


def prompts(split, count):
    """Return prompts of a split."""
    every = (as_prompt(f"question {number}") for number in range(1_000))
    return [prompt for prompt in every if split_for(prompt_key(prompt)) == split][:count]


def add_thumbs(store, split, count=8):
    """Add answers with thumbs, good and bad in turn."""
    for number, prompt in enumerate(prompts(split, count)):
        answer = Response(id="0", text=f"answer {number}", model="small")
        interaction = Interaction(prompt=prompt, responses=(answer,))
        store.add(interaction)
        store.add(
            Label(
                interaction=interaction.id,
                annotator=Annotator.human("ada"),
                response="0",
                good=number % 2 == 0,
            )
        )


def served(store):
    save_policy(store, PLAIN)
    promote(store, PLAIN, actor="ada")


def test_an_empty_project_needs_feedback(store):
    (step,) = next_steps(store)
    assert "backtalk import FILE" in step
    assert "backtalk serve" in step


def test_feedback_without_a_policy_needs_one_of_the_model_that_answered(store):
    add_thumbs(store, "train")
    first, second = next_steps(store)
    assert 'model: "small"' in first
    assert COMMAND.search(second)[1] == "policy add plain.yaml --name plain"


def test_a_policy_that_is_not_active_is_promoted(store):
    save_policy(store, PLAIN)
    (step,) = next_steps(store)
    assert COMMAND.search(step)[1] == "promote plain"
    assert main(["promote", "plain", "--store", str(store.artifacts.root.with_suffix(".db"))]) == 0


def test_an_active_policy_without_feedback_needs_some(store):
    served(store)
    assert "no feedback to learn from" in next_steps(store)[0]


def test_feedback_on_held_out_prompts_only_is_named(store):
    served(store)
    add_thumbs(store, "held-out", 1)
    assert "held out" in next_steps(store)[0]


@pytest.mark.parametrize(
    ("count", "command"),
    [
        (40, "learn prompt --policy plain --name clearer"),
        (2, "learn memory --policy plain --name remembers"),
    ],
)
def test_words_of_people_make_a_better_prompt_or_a_memory(store, count, command):
    served(store)
    for number in range(count):
        shown = Interaction.of(f"Is it open on day {number}?", "Yes.")
        text = f"Say until when, and who is there on day {number}."
        store.add(
            shown,
            Critique(
                interaction=shown.id, annotator=Annotator.human("ada"), response="0", text=text
            ),
        )
    assert COMMAND.search(next_steps(store)[0])[1] == command


def test_thumbs_on_an_endpoint_drive_best_of_n(store, capsys):
    served(store)
    add_thumbs(store, "train")
    add_thumbs(store, "held-out", 1)
    command = COMMAND.search(next_steps(store)[0])[1]
    assert command == "learn best-of-n --policy plain --name chooser"
    location = str(store.artifacts.root.with_suffix(".db"))
    assert main([*command.split(), "--store", location]) == 0
    assert COMMAND.search(next_steps(store)[0])[1] == "evaluate chooser --judge people"
    assert f"backtalk evaluate chooser --judge people --store {location}" in re.sub(
        r"\s+", " ", capsys.readouterr().err
    )


@pytest.mark.parametrize(("count", "judge"), [(1, "people"), (8, "reward:held-out")])
def test_the_judge_is_a_reward_where_held_out_feedback_suffices(store, count, judge):
    served(store)
    save_policy(store, BRIEF)
    add_thumbs(store, "held-out", count)
    assert suggested_judge(BRIEF, PLAIN, store) == judge
    assert next_steps(store) == [f"Next: `backtalk evaluate brief --judge {judge}`"]


@pytest.mark.parametrize("learned_from_all", [True, False])
def test_new_prompts_are_named_where_the_store_has_none_for_an_evaluation(store, learned_from_all):
    served(store)
    add_thumbs(store, "train")
    brief = BRIEF
    if learned_from_all:
        add_thumbs(store, "held-out")
        brief = learn("best-of-n", PLAIN, store, name="brief", split="all", n=2)
    save_policy(store, brief)
    assert next_steps(store) == ["Next: `backtalk evaluate brief --judge people --prompts FILE`"]


def test_the_baseline_is_named_unless_it_is_the_active_policy(store):
    save_policy(store, PLAIN)
    save_policy(store, BRIEF)
    assert "--against plain" in evaluation_command(BRIEF, PLAIN, store)


def test_policies_of_the_sandbox_are_judged_by_the_truth(store):
    writer = Policy(model=NamedSpec(name="writer"), name="writer")
    assert suggested_judge(writer, writer, store) == "true-utility"
