"""Criteria of critiques as prompts and metrics, and reasoning modules that a model makes."""

import asyncio

import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import Annotator, Critique, Interaction, Label, as_prompt
from backtalk.learn import TrainingSet, available_methods, get_method
from backtalk.learn.prompt.criteria import find_criteria
from backtalk.learn.prompt.criterion_metrics import metric_name
from backtalk.learn.prompt.edits import lines
from backtalk.learn.prompt.proposers.auto_evolve import AutoEvolveProposer
from backtalk.learn.prompt.protocol import TextFeedback, Trial
from backtalk.learn.prompt.writer import InstructionWriter
from backtalk.models import Completion, FunctionModel, register_model
from backtalk.models.registry import MODELS
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, save_policy
from backtalk.rewards.rewards_by_name import find_reward
from backtalk.run import Run
from backtalk.store import Store
from tests.learn.prompt.test_proposers import ANSWERS, RuleWriter, make_state, true_score

COMMAS = "Use commas between the words."


def reviews(*texts):
    """Return answers about jam, tea and ham, each with a critique."""
    things = ("jam", "tea", "ham")
    return [
        TextFeedback(as_prompt(f"Buy {thing} please"), "bread", text.format(thing))
        for text in texts
        for thing in things
    ]


def test_critiques_that_differ_in_the_words_of_the_request_are_of_one_criterion():
    criteria = run_sync(find_criteria(reviews("Add {}.", COMMAS), general=True))
    assert sorted(one.text for one in criteria) == ["Add ….", COMMAS]
    assert [len(one.examples) for one in criteria] == [3, 3]


def test_without_generalisation_each_wording_stands_for_itself():
    criteria = run_sync(find_criteria(reviews("Add {}.")))
    assert len(criteria) == 3


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Add … after ….", "criterion-add-after"),
        ("Be kind, and brief, and true, and more.", "criterion-be-kind-and-brief-and"),
    ],
)
def test_a_metric_is_named_after_the_words_of_its_criterion(text, name):
    assert metric_name(text) == name


def answer(request):
    """Answer with commas if the prompt or a critique says so, and write prompts."""
    text = request.messages[-1].text
    if "<prompt>" in text:
        return Completion(text=f"<prompt>{COMMAS}</prompt>", model="comma")
    wanted = any(COMMAS in message.text for message in request.messages)
    return Completion(text="ant, bee, cod" if wanted else "ant bee cod", model="comma")


@pytest.fixture(scope="module", autouse=True)
def _comma():
    if "comma-writer" not in MODELS:
        register_model("comma-writer")(lambda: FunctionModel(answer, name="comma"))


@pytest.fixture
def store(tmp_path):
    """Return a store with answers that lack commas, or are too loud, and critiques of them."""
    with Store(tmp_path / "s.db") as store:
        for number in range(80):
            loud = number % 3 == 0
            text = "ANT, BEE, COD" if loud else "ant bee cod"
            shown = Interaction.of(f"List words number {number}.", text)
            critique = Critique(
                interaction=shown.id,
                annotator=Annotator.human("ada"),
                response="0",
                text="Do not shout at people." if loud else COMMAS,
            )
            store.add(shown, critique)
        yield store


def test_the_prompt_states_a_criterion_and_each_criterion_becomes_a_stored_metric(store):
    policy = Policy(model=NamedSpec(name="comma-writer"), system="You list words.")
    with Run(seed=1) as run:
        learned = asyncio.run(
            get_method("system-feedback").learn(policy, TrainingSet(store), run, examples=16)
        )
    assert COMMAS in lines_of(learned)
    summaries = learned.lineage.notes["criteria"]
    assert len(summaries) == 2
    assert any(summary.startswith(COMMAS) and "agreement" in summary for summary in summaries)
    reward = find_reward(metric_name(COMMAS), store)
    prompt = as_prompt("List words number 99.")
    answers = [(prompt, "ANT, BEE, COD"), (prompt, "ant bee cod")]
    good, bad = run_sync(reward.score(answers)).mean
    assert good > bad


def lines_of(policy):
    rules = () if policy.prompt is None else policy.prompt.rules
    return [*(policy.system or "").split("\n"), *rules]


def test_the_metrics_can_be_left_out(store):
    policy = Policy(model=NamedSpec(name="comma-writer"), system="You list words.")
    with Run(seed=1) as run:
        learned = asyncio.run(
            get_method("system-feedback").learn(
                policy, TrainingSet(store), run, examples=16, metrics=False
            )
        )
    assert "criteria" not in learned.lineage.notes
    with pytest.raises(BacktalkError):
        find_reward(metric_name(COMMAS), store)


def test_a_store_without_critiques_names_what_is_missing(tmp_path):
    with Store(tmp_path / "s.db") as store:
        policy = Policy(model=NamedSpec(name="comma-writer"), name="comma")
        save_policy(store, policy)
        for number in range(10):
            shown = Interaction.of(f"List words number {number}.", "ant bee")
            about = {"interaction": shown.id, "annotator": Annotator.human("ada")}
            store.add(shown, Label(**about, response="0", good=number % 2 == 0))
        items = {one.method.name: one for one in available_methods(store, policy=policy)}
        assert any("5 critiques" in reason for reason in items["system-feedback"].reasons)


def evolve(proposer, state, rounds):
    for _ in range(rounds):
        for candidate in run_sync(proposer.propose(state, 6)):
            score = true_score(candidate)
            state.trials.append(
                Trial(candidate, dict.fromkeys(range(4), score), dict.fromkeys(range(4), "0.0"))
            )
        state.incumbent = max(range(len(state.trials)), key=lambda index: state.trials[index].mean)
    return state.best


def test_refinement_continues_from_the_plan_until_the_best_prompt():
    best = evolve(AutoEvolveProposer(RuleWriter(), ANSWERS), make_state(), 6)
    assert best.mean == 1.0
    assert best.candidate.proposer == "auto-evolve"


def test_without_refinement_there_is_one_round_of_plans():
    proposer = AutoEvolveProposer(RuleWriter(), ANSWERS, refine=False)
    state = make_state()
    assert run_sync(proposer.propose(state, 6))
    assert run_sync(proposer.propose(state, 6)) == []


def test_an_instruction_model_makes_modules_of_the_requests_and_a_plan_of_the_modules():
    seen = []

    def write(request):
        seen.append(request.messages[0].text)
        if "<prompt>" in seen[-1]:
            return Completion(text="<prompt>1. Count. 2. Check.</prompt>", model="fake")
        return Completion(text="1. Count the parts.\n2. Check the sum.", model="fake")

    writer = InstructionWriter(FunctionModel(write, name="fake"))
    proposer = AutoEvolveProposer(writer, ANSWERS, modules=1, plans=1)
    (plan,) = run_sync(proposer.propose(make_state(), 6))
    assert "1. Count. 2. Check." in lines(plan)
    assert "Question" in seen[0]
    assert "Count the parts." in seen[1]
    assert "Check the sum." not in seen[1]
