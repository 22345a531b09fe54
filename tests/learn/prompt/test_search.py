"""Search for prompts: what it finds, what it refuses to claim, what it pays."""

from collections import Counter

import numpy as np
import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import (
    Annotator,
    Critique,
    Edit,
    Instruction,
    Interaction,
    Label,
    Message,
    Preference,
    as_prompt,
)
from backtalk.feedback.case import prompt_key
from backtalk.learn import TrainingSet, get_method, learn
from backtalk.learn.context import MethodContext
from backtalk.learn.no_improvement import NoImprovement
from backtalk.learn.prompt.allowance import Allowance
from backtalk.learn.prompt.closeness import closeness
from backtalk.learn.prompt.criteria import find_criteria
from backtalk.learn.prompt.from_feedback.screening import (
    Change,
    apply_changes,
    possible_changes,
    screen,
)
from backtalk.learn.prompt.learning import split_prompts
from backtalk.learn.prompt.protocol import (
    PromptCandidate,
    SearchState,
    TextFeedback,
    Trial,
    pareto_counts,
)
from backtalk.learn.prompt.signals import make_signal
from backtalk.memory import Memory, MemoryEntry, MemorySpec
from backtalk.models import Budget, FunctionModel, Request, register_model
from backtalk.models.errors import ContextTooLong
from backtalk.models.protocol import Usage
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, PromptTemplate
from backtalk.policy.prompt_template import Example
from backtalk.run import Run
from backtalk.store import Store

CALLS: Counter[str] = Counter()
STOP_AT: list[int] = []


class Killed(BaseException):
    """End of a process in the middle of a search."""


def _answer(request):
    """Answer politely if told so, rudely if told so, and with some noise."""
    if STOP_AT and CALLS.total() == STOP_AT[0]:
        raise Killed
    CALLS[request.key] += 1
    system = " ".join(m.text for m in request.messages if m.role == "system")
    noise = np.random.default_rng(request.draw_seed).random()
    word = request.messages[-1].text.split()[-1]
    text = f"The answer is {word}."
    if "Say please." in system and noise < 0.9:
        text = f"{text} Please tell me if that helps."
    if "Be rude." in system:
        text = f"Go away. {text}"
    return text if noise < 0.95 else f"Hm. {text}"


@register_model("polite-or-rude")
def _model():
    model = FunctionModel(_answer, name="polite-or-rude")
    # As an endpoint: each answer is stored when it arrives.
    model.concurrency = 1
    return model


@register_model("narrow")
def _narrow_model():
    """Return a model in whose context a second or a long message of a user does not fit."""

    def answer(request):
        texts = [message.text for message in request.messages if message.role == "user"]
        if len(texts) > 1 or len(texts[0]) > 100:
            raise ContextTooLong("A prompt of 600 tokens does not fit")
        return _answer(request)

    return FunctionModel(answer, name="narrow")


PLAIN = Policy(model=NamedSpec(name="polite-or-rude"), name="plain")
NARROW = Policy(model=NamedSpec(name="narrow"), name="narrow")
RUDE = PLAIN.model_copy(update={"system": "Answer the question.\nBe rude."})


@pytest.fixture(autouse=True)
def _fresh():
    CALLS.clear()
    STOP_AT.clear()


def interactions(count):
    return [
        Interaction.of(
            f"What is item {i}",
            f"The answer is {i}.",
            f"The answer is {i}. Please tell me if that helps.",
        )
        for i in range(count)
    ]


def fill(store, kind, *, count=100, rule="Say please."):
    for number, item in enumerate(interactions(count)):
        plain, polite = item.responses
        ada = Annotator.human(f"ada-{number % 3}")
        common = {"interaction": item.id, "annotator": ada}
        feedback = {
            "edit": [Edit(**common, response=plain.id, text=polite.text)],
            "preference": [Preference(**common, a=plain.id, b=polite.id, verdict="b")],
            "label": [
                Label(**common, response=plain.id, good=False),
                Label(**common, response=polite.id, good=True),
            ],
            "critique": [Critique(**common, response=plain.id, text=rule or "Hm.")],
        }[kind]
        store.add(item, *feedback)
    if rule:
        store.add(Instruction(annotator=Annotator.human("ada"), text=rule))


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.db") as opened:
        yield opened


OPTIONS = {"candidates": 6, "examples": 24, "confirmation": 30, "rewrite": False}


@pytest.mark.parametrize("kind", ["edit", "preference", "label"])
def test_a_rule_that_the_feedback_bears_out_becomes_part_of_the_prompt(store, kind):
    fill(store, kind)
    learned = learn("prompt", PLAIN, store, name="clearer", **OPTIONS)
    assert learned.prompt.rules == ("Say please.",)
    notes = learned.lineage.notes
    assert notes["lower bound"] > 0
    assert notes["optimism"] == pytest.approx(
        notes["gain in the search"] - notes["confirmed gain"], abs=2e-4
    )
    assert learned.lineage.rewards


def test_a_wrong_line_of_the_seed_is_removed(store):
    ada = Annotator.human("ada")
    for i in range(100):
        item = Interaction.of(f"What is item {i}", f"Go away. The answer is {i}.")
        common = {"interaction": item.id, "response": item.responses[0].id, "annotator": ada}
        store.add(item, Edit(**common, text=f"The answer is {i}."))
    learned = learn("prompt", RUDE, store, **OPTIONS)
    assert "Be rude." not in (learned.system or "")


@pytest.mark.parametrize("remembers", [False, True])
def test_a_candidate_that_does_not_fit_into_the_context_loses(store, remembers):
    fill(store, "edit")
    policy = NARROW
    if remembers:
        revision = Memory(store).add([MemoryEntry(kind="instruction", text="Use metric units.")])
        policy = NARROW.model_copy(update={"memory": MemorySpec(revision=revision)})
    learned = learn("prompt", policy, store, **OPTIONS)
    assert learned.prompt.rules == ("Say please.",)
    assert not learned.prompt.demonstrations


def test_a_writer_whose_requests_do_not_fit_writes_nothing(store, caplog):
    fill(store, "edit")
    learned = learn("prompt", NARROW, store, **OPTIONS | {"rewrite": True})
    assert learned.prompt.rules == ("Say please.",)
    assert caplog.text.count("do not fit into the context window of narrow") == 1


def test_a_prompt_of_the_policy_that_does_not_fit_is_an_error(store):
    fill(store, "edit")
    shown = Example(prompt=as_prompt("What is item 0"), answer="The answer is 0.")
    template = PromptTemplate(demonstrations=(shown,))
    with pytest.raises(ContextTooLong, match="does not fit"):
        learn("prompt", NARROW.model_copy(update={"prompt": template}), store, **OPTIONS)


@pytest.mark.parametrize("kind", ["edit", "preference"])
def test_a_rule_that_changes_nothing_is_no_improvement(store, kind):
    fill(store, kind, rule="Hum a tune.")
    with pytest.raises(NoImprovement, match="No better prompt was found"):
        learn("prompt", PLAIN, store, **OPTIONS)


def test_few_prompts_and_silent_feedback_are_refused_with_a_mend(store):
    fill(store, "edit", count=5)
    with pytest.raises(BacktalkError, match="8 different prompts"):
        learn("prompt", PLAIN, store, split="all", **OPTIONS)


@pytest.mark.parametrize("stop", [30, 130])
def test_a_search_that_was_killed_goes_on_without_repeating_a_paid_call(store, tmp_path, stop):
    fill(store, "edit")
    expected = learn("prompt", PLAIN, store, folder=tmp_path / "whole", **OPTIONS)
    total = CALLS.total()
    CALLS.clear()
    STOP_AT.append(stop)
    with pytest.raises(BaseException) as killed:  # noqa: PT011 - perhaps in a group
        learn("prompt", PLAIN, store, folder=tmp_path / "killed", **OPTIONS)
    assert killed.group_contains(Killed) or killed.errisinstance(Killed)
    assert CALLS.total() == stop
    STOP_AT.clear()
    resumed = learn("prompt", PLAIN, store, folder=tmp_path / "killed", **OPTIONS)
    assert resumed.id == expected.id
    assert max(CALLS.values()) == 1
    assert CALLS.total() == total


def test_a_search_leaves_enough_of_its_budget_for_the_confirmation(store):
    fill(store, "edit")
    learned = learn("prompt", PLAIN, store, budget=Budget(calls=230), **OPTIONS)
    assert CALLS.total() <= 230
    assert learned.prompt.rules == ("Say please.",)


def test_a_confirmation_with_a_budget_stops_when_the_gain_is_shown(store):
    fill(store, "edit")
    learned = learn("prompt", PLAIN, store, budget=Budget(calls=230), **OPTIONS)
    assert learned.lineage.notes["confirmation prompts"] < 30
    assert learned.lineage.notes["lower bound"] > 0


def test_a_clear_rule_is_found_and_confirmed_within_fifty_calls(store):
    fill(store, "edit")
    learned = learn("prompt", PLAIN, store, budget=Budget(calls=50), **OPTIONS)
    assert CALLS.total() <= 50
    assert learned.prompt.rules == ("Say please.",)


def test_completions_of_all_models_count_in_the_budget_of_a_search_once():
    messages = [(Message.user(str(number)),) for number in range(3)]
    with Run(budget=Budget(calls=10)) as run:
        model = run.wrap(FunctionModel(lambda request: "Yes.", name="writer"))
        for _ in range(2):
            run_sync(model.generate([Request(messages=one) for one in messages]))
        assert Allowance(run, "", reserve=2).room(Usage()) == 5


def test_a_search_without_a_budget_has_room_for_any_number_of_answers():
    with Run() as run:
        assert Allowance(run, "", reserve=2).room(Usage(calls=9)) == float("inf")


def test_the_room_of_a_budget_of_tokens_follows_the_mean_usage_so_far():
    with Run(budget=Budget(tokens=1_000)) as run:
        used = Usage(calls=10, prompt_tokens=150, completion_tokens=50)
        assert Allowance(run, "", reserve=4).room(used) == 50 - 10 - 4


def test_the_prompts_of_the_confirmation_are_in_no_part_of_the_search(store):
    fill(store, "edit")
    feedback = TrainingSet(store)
    prompts = feedback.prompts()
    split = split_prompts(feedback, prompts, seed=3, examples=30, confirmation=30)
    searched = {prompt_key(prompt) for prompt in split.examples}
    assert searched.isdisjoint(split.confirmation_keys)
    assert (len(searched), len(split.confirmation_keys)) == (30, 30)


@pytest.mark.parametrize("kind", ["edit", "preference", "label"])
def test_signals_of_any_feedback_tell_better_answers_from_worse(store, kind):
    fill(store, kind)
    signal = run_sync(make_signal(MethodContext(PLAIN, TrainingSet(store), Run())))
    prompts = [(Message.user("What is item 500"),)] * 2
    scores = run_sync(
        signal.score(
            prompts, ["The answer is 500.", "The answer is 500. Please tell me if that helps."]
        )
    )
    assert scores[1] > scores[0]
    assert sum(signal.weights.values()) == pytest.approx(1)


def test_feedback_without_judgements_makes_no_signal(store):
    store.add(Interaction.of("Hm?", "Yes."))
    with pytest.raises(BacktalkError, match="tells better answers from worse"):
        run_sync(make_signal(MethodContext(PLAIN, TrainingSet(store, split="all"), Run())))


def test_where_an_edit_is_known_closeness_to_it_decides(store):
    fill(store, "edit")
    signal = run_sync(make_signal(MethodContext(PLAIN, TrainingSet(store), Run())))
    assert signal.weights["closeness to corrections"] > 0.9


def test_answers_are_not_compared_with_refined_ones(store):
    fill(store, "critique")
    signal = run_sync(make_signal(MethodContext(PLAIN, TrainingSet(store), Run())))
    assert list(signal.weights) == ["reward"]
    assert signal.known.refinements


def test_closeness_counts_words_in_their_order_and_lines():
    answers = ["milk\ntea", "milk tea", "tea\nmilk", "coffee"]
    values = [closeness(answer, "milk\ntea") for answer in answers]
    assert values[0] == 1.0
    assert values[0] > values[1] > values[2] > values[3] == 0.0


def test_critiques_of_one_kind_are_one_criterion():
    prompt = (Message.user("Hm?"),)
    texts = [*(f"The time should be {n}:00." for n in range(6)), *["Leave out the cat."] * 4]
    examples = [TextFeedback(prompt, f"answer {i}", text) for i, text in enumerate(texts)]
    first, second = run_sync(find_criteria(examples))
    assert (len(first.examples), len(second.examples)) == (6, 4)
    assert second.text == "Leave out the cat."


def test_only_candidates_that_none_dominates_are_on_the_front():
    scores = [{0: 1.0, 1: 0.0, 2: 0.5}, {0: 0.5, 1: 1.0, 2: 0.5}, {0: 0.5, 1: 0.5, 2: 0.5}]
    assert pareto_counts(scores) == [2, 2, 0]


def test_changes_add_rules_and_remove_lines_of_both_slots():
    seed = PromptCandidate("Be kind.\nBe rude.")
    changes = possible_changes(seed, ["Be brief.", "Be kind."])
    assert [change.note for change in changes] == [
        "remove: Be kind.",
        "remove: Be rude.",
        "add: Be brief.",
    ]
    changed = apply_changes(seed, changes[1:], proposer="test")
    assert (changed.system, changed.template.rules) == ("Be kind.", ("Be brief.",))


def test_screening_recovers_the_effects_of_many_changes_from_few_answers():
    effects = {"a": 0.3, "b": -0.3, "c": 0.0, "d": 0.0, "e": 0.2}
    rng = np.random.default_rng(5)

    async def evaluate(jobs):
        return [
            ("", 0.5 + sum(effects[rule] for rule in c.template.rules) + 0.1 * rng.normal())
            for c, _ in jobs
        ]

    state = SearchState(
        MethodContext(PLAIN, None, Run()),
        None,
        [(Message.user(str(i)),) for i in range(20)],
        [Trial(PromptCandidate(None))],
        0,
        rng,
        evaluate,
    )
    result = run_sync(screen(state, [Change(name) for name in effects]))
    assert [change.line for change in result.above(2.0)] == ["a", "e"]
    assert "b" not in {change.line for change in result.above(-2.0)}


def test_the_method_can_learn_from_every_kind_that_judges_an_answer():
    kinds = set(get_method("prompt").kinds)
    assert {"edit", "preference", "ranking", "label", "rating", "critique", "outcome"} <= kinds
