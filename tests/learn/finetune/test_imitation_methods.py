"""Imitation methods: their training examples, and the policies that they train."""

import asyncio
import inspect

import numpy as np
import pytest
import torch

from backtalk import prompts as wording
from backtalk.errors import BacktalkError, NotFound, UnknownName
from backtalk.feedback import Interaction, Label
from backtalk.feedback.views import Pair
from backtalk.learn import METHODS, TrainingSet, get_method
from backtalk.learn.finetune import OBJECTIVES, Batch, PromptTree, ResponseTokens, get_objective
from backtalk.learn.finetune.config import TrainingConfig
from backtalk.learn.finetune.methods.hindsight import chains
from backtalk.policy import load_policy, save_policy
from backtalk.run import Run
from backtalk.store import Store
from tests.learn.finetune.feedback import (
    ADA,
    ALWAYS,
    BEST,
    CRITIQUE,
    PROMPTS,
    RULES,
    WORSE,
    WORST,
    add_steps,
    build_tasks,
    fill,
    local,
    read,
    texts,
)
from tests.models.tiny import save

HERE = {
    "sft": {},
    "dft": {"samples": 4},
    "dft2": {"samples": 4},
    "thought-cloning": {"alpha": 0.5},
    "self-sampled": {"beta": 0.5},
    "chain-of-hindsight": {"kinds": ["ranking"]},
    "hir": {"contrast": 0.5},
    "faft": {},
    "dress": {},
    "leti": {},
    "ilf": {"samples": 3, "refiner": "rules"},
    "srt": {"samples": 3, "refiner": "rules"},
    "self": {"samples": 3, "refiner": "rules"},
    "cdf": {"samples": 3, "refiner": "rules"},
    "raft": {"sampler": "rules"},
    "superhf": {"sampler": "rules"},
    "rejection-sampling": {"sampler": "rules"},
    "rest-em": {"sampler": "rules", "samples": 3},
    "fast": {"kinds": ["rating"]},
    "weak-to-strong": {"teacher": "rules"},
}
CONDITIONS = {
    "chain-of-hindsight": wording.GOOD_CONDITION,
    "hir": wording.GOOD_CONDITION,
    "faft": wording.PRAISE_CONDITION,
    "dress": wording.PRAISE_CONDITION,
    "leti": wording.GOOD_CONDITION,
    "fast": "Your answer is to be: brief, polite.",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("imitation") / "s.db") as opened:
        fill(opened)
        yield opened


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save(tmp_path_factory.mktemp("tiny") / "model")


@pytest.mark.parametrize("name", HERE)
def test_what_is_learned_loads_and_answers(name, store, tiny):
    save_policy(store, RULES)
    options = {key: value for key, value in HERE[name].items() if key != "kinds"}
    feedback = TrainingSet(store, split="all", kinds=HERE[name].get("kinds"))
    policy = local(tiny, system="Be brief.")
    learned = asyncio.run(
        get_method(name).learn(policy, feedback, Run(seed=1), max_steps=2, batch_size=4, **options)
    )
    assert learned.model != policy.model
    assert learned.system == "\n\n".join(
        ["Be brief.", *([CONDITIONS[name]] if name in CONDITIONS else [])]
    )
    assert (learned.lineage.method, learned.lineage.parent) == (name, policy.id)
    assert 1 <= learned.lineage.notes["steps"] <= 2
    answer = load_policy(learned, store.artifacts).respond("Open 3?")
    assert answer.policy == learned.id


def test_a_policy_that_was_told_is_not_told_twice(store, tiny):
    policy = local(tiny, system=wording.GOOD_CONDITION)
    tasks, _ = build_tasks("hir", store, policy=policy, kinds=["label"])
    prompts = {prompt.split("<|user|>")[0] for prompt, _ in texts(tasks["label"])}
    assert prompts == {
        f"<|system|>{words}<|end|>\n" for words in (wording.GOOD_CONDITION, wording.BAD_CONDITION)
    }


def test_discriminative_fine_tuning_has_other_samples_as_rivals(store):
    tasks, _ = build_tasks("dft", store, kinds=["label"], samples=4)
    assert len(tasks["label"].trees) == PROMPTS
    for tree in tasks["label"].trees:
        _, responses = read(tree)
        # Of the samples one is the example itself, and one was cut off.
        assert [(text, value) for text, value, _ in responses] == [
            (f"{BEST}<|end|>", 1.0),
            ("Maybe.<|end|>", 0.0),
            ("Maybe.<|end|>", 0.0),
        ]


def test_an_example_without_a_rival_is_left_out_and_counted(store):
    policy = RULES.model_copy(update={"system": ALWAYS})
    tasks, left_out = build_tasks("dft2", store, kinds=["label"], policy=policy)
    assert not tasks["label"].trees
    assert left_out["examples without a sample that differs"] == PROMPTS


def test_thoughts_have_a_weight_of_their_own(store):
    tasks, left_out = build_tasks("thought-cloning", store, alpha=0.25)
    (tree, *_) = tasks["demonstration"].trees
    assert set(tree.responses[0].weights) == {0.25, 1.0}
    _, ((text, _, _),) = read(tree)
    assert text == "<think>Nine.</think>At nine, 0.<|end|>"
    tasks, _ = build_tasks("thought-cloning", store, alpha=0)
    _, ((_, _, learned),) = read(tasks["demonstration"].trees[0])
    assert learned == "At nine, 0.<|end|>"
    assert sum(left_out.values()) == PROMPTS + PROMPTS // 2  # good labels and edits


def test_right_solutions_and_right_beginnings_are_learned_once(tmp_path):
    with Store(tmp_path / "s.db") as opened:
        add_steps(opened, "one\ntwo", "right", "right")
        add_steps(opened, "one \n two", "right", "right")
        add_steps(opened, "un\ndeux\ncinq\nsix", "right", "neutral", "wrong", "right")
        add_steps(opened, "one\nfive", "right", "wrong")
        add_steps(opened, "five", "wrong")
        tasks, _ = build_tasks("self-sampled", opened)
        (tree,) = tasks["solutions"].trees
        _, responses = read(tree)
        assert [(text, learned) for text, _, learned in responses] == [
            ("one\ntwo<|end|>", "one\ntwo<|end|>"),
            ("un\ndeux<|end|>", "un\ndeux"),
        ]
        tasks, _ = build_tasks("self-sampled", opened, partial=False)
        assert [len(tree.responses) for tree in tasks["solutions"].trees] == [1]


def test_the_marginal_likelihood_is_that_of_any_solution():
    trees = [
        PromptTree(
            (1,),
            (ResponseTokens((2, 3)), ResponseTokens((4,)), ResponseTokens((5,), weights=(0.0,))),
        ),
        PromptTree((1,), (ResponseTokens((2,)),)),
    ]
    policy = torch.tensor([-1.0, -0.5, -0.7, -3.0, -2.0], dtype=torch.float64)
    result = get_objective("beta-mml").bind(beta=0.5)(Batch.from_trees(trees, policy)).losses
    first = -np.log(np.exp(0.5 * -1.5) + np.exp(0.5 * -0.7) + 1) / 0.5
    np.testing.assert_allclose(result, [first, 2.0])


def test_answers_chain_from_the_best_down():
    def pair(chosen, rejected):
        return Pair(prompt=({"role": "user", "content": "?"},), chosen=chosen, rejected=rejected)

    pairs = [pair(a, b) for a, b in ("ab", "ac", "ad", "bc", "bd", "cd")]
    assert [chain.texts for chain in chains(pairs, 2)] == [("a", "c"), ("b", "d")]
    assert [chain.texts for chain in chains(pairs, 4)] == [("a", "b", "c", "d")]
    assert [chain.texts for chain in chains([pair("a", "b"), pair("a", "c")], 3)] == [("a", "b")]


def test_a_chain_tells_what_comes_next_and_learns_only_the_answers(store):
    tasks, _ = build_tasks(
        "chain-of-hindsight", store, kinds=["ranking"], max_responses=3, drop_rate=0
    )
    trees = tasks["ranking"].trees
    assert len(trees) == 3 * PROMPTS
    assert all(branch.weights is None for tree in trees for branch in tree.responses)
    rows = set()
    for prompt, answer in texts(tasks["ranking"]):
        system, behind = prompt.replace("<|end|>\n", "|").split("?|")
        rows.add((system.removeprefix("<|system|>").split("|")[0], behind, answer))
    good, bad, now = wording.GOOD_CONDITION, wording.BAD_CONDITION, "<|assistant|>"
    up, down = f"|<|user|>{wording.BETTER_REQUEST}|{now}", f"|<|user|>{wording.WORSE_REQUEST}|{now}"
    assert rows == {
        (bad, now, WORST),
        (good, f"{now}{WORST}{up}", WORSE),
        (good, f"{now}{WORST}{up}{WORSE}{up}", BEST),
        (good, now, BEST),
        (bad, f"{now}{BEST}{down}", WORSE),
        (bad, f"{now}{BEST}{down}{WORSE}{down}", WORST),
    }


def test_words_of_earlier_answers_are_forgotten_and_learned_ones_are_not(store):
    tasks, _ = build_tasks(
        "chain-of-hindsight", store, kinds=["ranking"], max_responses=3, drop_rate=0.6
    )
    rows = texts(tasks["ranking"])
    assert {answer for _, answer in rows} == {BEST, WORSE, WORST}
    middle = [prompt for prompt, answer in rows if answer == WORSE]
    assert any(BEST not in prompt and WORST not in prompt for prompt in middle)


def test_the_opposite_instruction_makes_an_answer_unlikely(store):
    tasks, _ = build_tasks("hir", store, kinds=["label"], contrast=0.5)
    rows = {
        (prompt.split("<|end|>")[0].removeprefix("<|system|>"), own[0][0], own[0][1])
        for prompt, own in map(read, tasks["label"].trees)
    }
    assert rows == {
        (wording.GOOD_CONDITION, f"{BEST}<|end|>", 1.0),
        (wording.BAD_CONDITION, f"{BEST}<|end|>", 0.0),
        (wording.BAD_CONDITION, f"{WORST}<|end|>", 1.0),
        (wording.GOOD_CONDITION, f"{WORST}<|end|>", 0.0),
    }
    tasks, left_out = build_tasks("hir", store, kinds=["rating"], aspect="brief")
    assert len(tasks["rating"].trees) == 3 * PROMPTS
    assert left_out["on other aspects"] > 0


def test_answers_are_learned_behind_what_was_said_of_them(store):
    tasks, _ = build_tasks("faft", store, kinds=["label", "critique"])
    rows = {(p.split("<|end|>")[0], answer) for p, answer in texts(tasks["answers"])}
    assert rows == {
        (f"<|system|>{wording.PRAISE_CONDITION}", BEST),
        (f"<|system|>{wording.critique_condition(CRITIQUE)}", WORST),
    }


def test_refinements_are_further_turns_and_praised_answers(store):
    tasks, _ = build_tasks("dress", store, kinds=["critique", "edit"])
    rows = {
        prompt.replace("<|end|>\n", "|").split("?|")[-1]
        for prompt, answer in texts(tasks["refinements"])
        if answer == "No, at ten."
    }
    turn = f"<|assistant|>{WORST}|<|user|>{CRITIQUE}|<|assistant|>"
    assert rows == {turn, "<|assistant|>"}
    assert len(tasks["refinements"].trees) == 2 * PROMPTS // 2
    assert "refinements" not in build_tasks("dress", store, turns=False)[0]


def test_what_a_run_printed_is_learned_after_a_failure_only(store):
    tasks, _ = build_tasks("leti", store, kinds=["label", "outcome"])
    assert {(prompt.split("<|end|>")[0], answer) for prompt, answer in texts(tasks["answers"])} == {
        (f"<|system|>{wording.GOOD_CONDITION}", BEST),
        (f"<|system|>{wording.BAD_CONDITION}", WORST),
    }
    for prompt, trace in texts(tasks["feedback"]):
        assert prompt.endswith(
            f"{WORST}<|end|>\n<|user|>{wording.OUTCOME_REQUEST}<|end|>\n<|assistant|>"
        )
        assert trace == "No time was named."
    assert not build_tasks("leti", store, textual=False)[0]["feedback"].trees


def test_the_refinement_that_takes_up_the_critique_is_learned(store):
    tasks, left_out = build_tasks("ilf", store, kinds=["critique"], samples=4)
    assert {answer for _, answer in texts(tasks["refinements"])} == {"I say when: at nine."}
    assert {answer for _, answer in texts(build_tasks("ilf", store)[0]["edits"])} == {"No, at ten."}
    assert not left_out["critiques without a refinement"]
    # The first sample is the draft itself, which is no refinement.
    tasks, left_out = build_tasks("ilf", store, kinds=["critique"], samples=1, with_edits=False)
    assert not tasks["refinements"].trees
    assert left_out["critiques without a refinement"] == PROMPTS
    tasks, _ = build_tasks("ilf", store, kinds=["critique"], samples=2)
    assert {answer for _, answer in texts(tasks["refinements"])} == {"Sorry."}


def test_a_draft_its_critique_and_the_refinement_are_a_sequence(store):
    tasks, _ = build_tasks("srt", store, kinds=["critique", "edit"], samples=3)
    critique_request = f"<|assistant|>{WORST}|<|user|>{wording.CRITIQUE_REQUEST}|<|assistant|>"
    rewrite_request = (
        f"{critique_request}{CRITIQUE}|<|user|>{wording.REWRITE_REQUEST}|<|assistant|>"
    )

    def rows(name):
        return {
            (prompt.replace("<|end|>\n", "|").split("?|", 1)[1], answer)
            for prompt, answer in texts(tasks[name])
        }

    better = {"No, at ten.", "I say when: at nine."}
    assert rows("critiques") == {(critique_request, CRITIQUE)}
    assert rows("refinements") == {(rewrite_request, text) for text in better}
    assert rows("answers") == {("<|assistant|>", text) for text in better}


def test_evolution_keeps_the_answers_in_which_nothing_is_found_wrong(store):
    policy = RULES.model_copy(update={"system": ALWAYS})
    for one, evolved in ((RULES, []), (policy, [BEST] * 4)):
        tasks, _ = build_tasks(
            "self", store, kinds=["critique"], samples=3, refiner="rules", prompts=4, policy=one
        )
        assert [answer for _, answer in texts(tasks["evolution"])] == evolved
        assert len(tasks["critiques"].trees) == len(tasks["refinements"].trees) == PROMPTS
    assert not build_tasks("self", store, evolve=False)[0]["evolution"].trees


def test_each_prompt_teaches_by_one_kind_of_feedback(store):
    tasks, _ = build_tasks("cdf", store, kinds=["critique", "edit", "ranking"], samples=3)
    prompts = {
        name: {
            prompt.replace("<|end|>\n", "|").removeprefix("<|user|>").split("?|")[0]
            for prompt, _ in texts(task)
        }
        for name, task in tasks.items()
    }
    assert sorted(map(len, prompts.values())) == [3, 3, 4]
    assert len(set.union(*prompts.values())) == PROMPTS
    assert tasks["preference"].objective.objective.name == "dpo"


def test_the_samples_that_the_judge_likes_best_are_learned(store):
    def answers(name, **options):
        task = build_tasks(name, store, judge="longest", **options)[0]["selected"]
        return sorted(answer for _, answer in texts(task))

    assert answers("raft") == [BEST] * PROMPTS
    assert answers("raft", keep=2, prompts=3) == ["Maybe."] * 3 + [BEST] * 3
    assert answers("raft", source="store") == [BEST] * PROMPTS
    assert answers("superhf", samples=1) == ["Maybe."] * PROMPTS
    assert answers("rest-em", samples=3) == [BEST] * PROMPTS  # the top of the scale
    assert answers("rest-em", samples=3, threshold=1, cap=1) == ["Maybe."] * PROMPTS
    assert answers("rejection-sampling", threshold=1) == sorted(["Maybe.", BEST] * PROMPTS)
    learned = build_tasks("raft", store)[0]["selected"]  # by the reward of the store's pairs
    assert {answer for _, answer in texts(learned)} == {BEST}


def test_rejection_sampling_takes_the_stores_examples_too(store):
    tasks, _ = build_tasks("rejection-sampling", store, judge="longest", kinds=["demonstration"])
    assert len(tasks["examples"].trees) == PROMPTS
    tasks, _ = build_tasks("rejection-sampling", store, judge="longest", examples=False)
    assert not tasks["examples"].trees


def test_codes_name_what_an_answer_has_and_lacks(store):
    tasks, _ = build_tasks("fast", store, kinds=["rating"], counterfactuals=0)
    rows = {(prompt.split("<|end|>")[0], answer) for prompt, answer in texts(tasks["codes"])}
    assert rows == {
        ("<|system|>Your answer is to be: not brief, polite.", BEST),
        ("<|system|>Your answer is to be: not brief, polite.", WORSE),
        ("<|system|>Your answer is to be: brief, not polite.", WORST),
    }
    weights = [tree.weight for tree in tasks["codes"].trees]
    assert np.mean(weights) == pytest.approx(1)
    # Every prompt has the same answers, so none says anything about an aspect.
    assert np.std(weights) < 0.05


def test_no_example_weighs_more_than_the_heaviest(tmp_path):
    with Store(tmp_path / "s.db") as opened:
        for number in range(12):
            polite = number % 2 == 0
            interaction = Interaction.of(
                "Please?" if polite == (number < 10) else "What?", f"Yes {number}."
            )
            label = Label(
                interaction=interaction.id,
                annotator=ADA,
                response="0",
                good=polite,
                aspect="polite",
            )
            opened.add(interaction, label)
        for max_weight, spread in ((1.0, 0.0), (5.0, 0.1)):
            tasks, _ = build_tasks("fast", opened, counterfactuals=0, max_weight=max_weight)
            weights = [tree.weight for tree in tasks["codes"].trees]
            assert np.mean(weights) == pytest.approx(1)
            assert np.std(weights) >= spread
            assert max(weights) / min(weights) <= max_weight**2


def test_no_option_of_a_method_is_one_of_the_trainers():
    for method in METHODS.values():
        name, plan = method.name, method.plan
        if plan is None:
            continue
        own = {
            option.name
            for option in inspect.signature(plan).parameters.values()
            if option.kind is option.KEYWORD_ONLY
        }
        own |= set(OBJECTIVES.get(name).options) if name in OBJECTIVES else set()
        assert not own & set(TrainingConfig.model_fields), name


def test_counterfactuals_are_kept_where_the_feedback_would_agree(store):
    tasks, _ = build_tasks("fast", store, kinds=["rating"], counterfactuals=4)
    written = set(texts(tasks["counterfactuals"]))
    aspects = {prompt.split("<|end|>")[0].split(": ")[1] for prompt, _ in written}
    assert {answer for _, answer in written} <= {BEST, "Maybe."}
    # The classifiers know the aspects to go together; no answer has both or neither.
    assert not aspects & {"brief, polite.", "not brief, not polite."}


def test_what_is_too_long_is_left_out_and_counted(store):
    for name in ("chain-of-hindsight", "hir", "ilf", "raft", "self-sampled", "thought-cloning"):
        options = {"judge": "longest"} if name == "raft" else {}
        tasks, left_out = build_tasks(name, store, window=3, **options)
        assert not any(task.trees for task in tasks.values())
        assert left_out["longer than 3 tokens"]


def test_errors_name_the_mend(store, tmp_path, tiny):
    with pytest.raises(BacktalkError, match="teacher=NAME"):
        build_tasks("weak-to-strong", store)
    with pytest.raises(NotFound):
        build_tasks("weak-to-strong", store, teacher="nobody")
    with pytest.raises(UnknownName, match="longest"):
        build_tasks("raft", store, judge="shortest")
    with Store(tmp_path / "s.db") as empty:
        with pytest.raises(BacktalkError, match="no prompts"):
            build_tasks("raft", empty, judge="longest")
        with pytest.raises(BacktalkError, match="Collect labels"):
            build_tasks("fast", empty)
        with pytest.raises(BacktalkError, match="Collect preferences"):
            build_tasks("raft", empty)
        for name in ("sft", "hir", "ilf", "leti", "cdf", "self-sampled", "chain-of-hindsight"):
            learning = get_method(name).learn(
                local(tiny), TrainingSet(empty, split="all"), Run(seed=1)
            )
            with pytest.raises(BacktalkError, match="no feedback that this method"):
                asyncio.run(learning)


def test_every_method_says_what_it_is_and_where_it_is_from():
    for name in HERE:
        method = METHODS.get(name)
        assert method.target == "weights"
        assert method.summary.endswith(".")
        assert method.paper.url.startswith("https://arxiv.org/")
