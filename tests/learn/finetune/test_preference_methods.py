"""Preference methods, from a store to a policy that responds."""

import asyncio
import subprocess
import sys

import numpy as np
import pytest
import torch

from backtalk.decode import Sample
from backtalk.errors import BacktalkError
from backtalk.feedback import (
    Annotator,
    Demonstration,
    Instruction,
    Interaction,
    Label,
    Message,
    Preference,
    Ranking,
    Rating,
    Scale,
    Scope,
    Step,
    Steps,
)
from backtalk.feedback.views import LabelView, Pair, SFTExample, StepLabels
from backtalk.learn import TrainingSet, get_method
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune import get_objective
from backtalk.learn.finetune.config import TrainingConfig
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.methods import c3po, i_orpo, rise, step_dpo, t_reg, tpo
from backtalk.learn.finetune.methods import unpaired as labels
from backtalk.learn.finetune.objective import Batch
from backtalk.learn.finetune.prompt_conditioning import append_system
from backtalk.learn.finetune.registration import build_plan
from backtalk.learn.finetune.segments import mask_common_prefix, segments
from backtalk.learn.finetune.train import prepare
from backtalk.models import Sampling
from backtalk.models.local.chat_template import ChatTemplate
from backtalk.models.spec import LocalSpec
from backtalk.policy import Policy, load_policy
from backtalk.run import Run
from backtalk.store import Store
from tests.models.tiny import CHATML, save, tokenizer

ADA = Annotator.human("ada")
PAIRS = (
    *("dpo", "ipo", "cdpo", "rdpo", "hinge", "exo", "dpo-desiderata", "osp", "slic-hf", "orpo"),
    *("simpo", "cpo", "cpl", "pairwise-cringe"),
)
LABELS = ("kto", "bco", "pmpo", "d2o")
LISTS = ("lipo", "rank-softmax", "pro", "plackett-luce-dpo", "nca", "infonca")
CONSTRUCTED = {
    "rise": {},
    "t-reg": {"good": "Be good.", "bad": "Be bad."},
    "counterfactual-dpo": {"style": "Be brief.", "disregard": "Lie."},
    "step-dpo": {},
    "tpo": {"samples": 2, "alike": 0},
    "c3po": {},
}
OPEN = (Message.user("Is it open?"),)
QUICK = {"max_steps": 2, "batch_size": 4}
TOKENIZER = tokenizer()
CHAT = ChatTemplate(TOKENIZER, name="tiny", eos_token_ids=frozenset({TOKENIZER.eos_token_id}))
# What stands before an answer must not hold a token that ends one.
OPEN_ENDED = CHATML.replace("<|end|>\n", "{% if message.role == 'assistant' %}<|end|>{% endif %}\n")


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    torch.set_num_threads(1)
    folder = save(tmp_path_factory.mktemp("tiny"))
    return Policy(
        model=LocalSpec(model=folder),
        # Random weights seldom end an answer: what is cut off is learned by no method.
        decoder=Sample(sampling=Sampling(max_tokens=24, stop=tuple("aeiou "))),
        name="tiny",
    )


def shop(number):
    """An interaction, and what one person says of it."""
    hour = number + 1
    good = f"Yes.\nWe open at {hour}."
    bad = f"Yes.\nWe close at {hour}." if number % 2 else "Yes."
    interaction = Interaction.of(
        f"Is shop {number} open?\nBe brief.\nName {hour}.", good, bad, "No idea."
    )
    fields = {"interaction": interaction.id, "annotator": ADA}
    second = bad.find("\n") + 1
    return interaction, [
        Preference(**fields, a="0", b="1", verdict="a", strength=0.5),
        Ranking(**fields, tiers=(("0",), ("1", "2"))),
        *(
            Rating(**fields, response=id_, value=value, scale=Scale.UNIT)
            for id_, value in (("0", 1), ("1", 0.4), ("2", 0))
        ),
        Label(**fields, response="0", good=True),
        Label(**fields, response="2", good=False),
        Demonstration(**fields, text=good),
        Steps(
            **fields,
            response="0",
            steps=(
                Step(start=0, end=5, verdict="right"),
                Step(start=5, end=len(good), verdict="right"),
            ),
        ),
        *(
            [
                Steps(
                    **fields,
                    response="1",
                    steps=(
                        Step(start=0, end=second, verdict="right"),
                        Step(start=second, end=len(bad), verdict="wrong"),
                    ),
                )
            ]
            if second
            else []
        ),
        *(
            [Instruction(**fields, text="Say yes.", scope=Scope(where="shops"))]
            if number < 5
            else []
        ),
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("preferences") / "s.db") as opened:
        for number in range(10):
            interaction, feedback = shop(number)
            opened.add(interaction, *feedback)
        yield opened


def learn(name, policy, feedback, **options):
    run = Run(seed=1)
    return asyncio.run(get_method(name).learn(policy, feedback, run, **QUICK, **options))


def build_tasks(name, policy, feedback, encoder=None, **options):
    """Return the training tasks of a method."""
    method = get_method(name)
    context = MethodContext(policy, feedback, Run(seed=1))
    build, _ = asyncio.run(build_plan(name, context, method.read_options(options)))
    return build(encoder or Encoder(CHAT, max_length=96, prepare=policy.messages))


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in (*PAIRS, *LABELS, *LISTS)), *CONSTRUCTED.items()],
)
def test_a_method_makes_a_policy_that_loads_and_answers(name, options, policy, store):
    learned = learn(name, policy, TrainingSet(store, split="all"), **options)
    assert learned.lineage.method == name
    assert learned.lineage.parent == policy.id
    assert learned.id != policy.id
    response = load_policy(learned, store.artifacts).respond("Is it open?", seed=1)
    assert response.policy == learned.id


@pytest.mark.parametrize("name", [*PAIRS, *LABELS, *LISTS, *CONSTRUCTED, "i-orpo"])
def test_a_store_that_holds_nothing_for_it_is_an_error(name, policy, tmp_path):
    options = {key: value for key, value in CONSTRUCTED.get(name, {}).items() if key != "disregard"}
    with Store(tmp_path / "s.db") as empty, pytest.raises(BacktalkError, match="no feedback"):
        learn(name, policy, TrainingSet(empty, split="all"), **options)


def test_torch_is_not_loaded_to_list_the_methods():
    listed = "import sys, backtalk.learn; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", listed], check=True)


def test_the_kinds_of_feedback_are_parts_of_their_own(policy, store):
    feedback = TrainingSet(store, split="all")
    assert {task.name for task in build_tasks("dpo", policy, feedback)} >= {
        "preference", "ranking", "rating", "label",
    }  # fmt: skip
    lists = {task.name: task.trees for task in build_tasks("lipo", policy, feedback)}
    assert set(lists) == {"ranking", "rating", "label"}
    assert [b.score for b in lists["rating"][0].responses] == [1, 0.4, 0], "scores, not ranks"
    assert [b.score for b in lists["ranking"][0].responses] == [1, 0, 0]
    only = build_tasks("dpo", policy, TrainingSet(store, split="all", kinds=["ranking"]))
    assert [task.name for task in only] == ["ranking"]


@pytest.mark.parametrize(("polarity", "expected"), [("good", {1}), ("bad", {0}), ("both", {0, 1})])
def test_pmpo_takes_labels_of_one_sort(policy, store, polarity, expected):
    tasks = build_tasks("pmpo", policy, TrainingSet(store, split="all"), polarity=polarity)
    assert {b.label for task in tasks for tree in task.trees for b in tree.responses} == expected


def test_d2o_sets_what_was_rejected_against_answers_of_the_policy(policy, store):
    feedback = TrainingSet(store, split="all", kinds=["label"])
    (task,) = build_tasks("d2o", policy, feedback, samples=3)
    assert len(task.trees) == 10
    for tree in task.trees:
        assert [b.is_sample for b in tree.responses] == [False, True, True, True]
        assert CHAT.decode(tree.responses[0].tokens) == "No idea."


def test_the_negatives_of_a_prompt_share_its_answers():
    prompt = (Message.user("Is it open?"),)
    bad = [LabelView(prompt=prompt, completion=text, good=False) for text in ("a", "b", "a")]
    encoder = Encoder(CHAT)
    (key,) = {labels.prompt_key(prompt)}
    (tree,) = labels.negative_trees(encoder, bad, {key: ["b", "c", "c"]})
    assert [(CHAT.decode(b.tokens), b.is_sample) for b in tree.responses] == [
        ("a", False), ("b", False), ("c", True), ("c", True),
    ]  # fmt: skip
    assert tree.weight == 2
    assert labels.negative_trees(encoder, bad, {key: ["a", "b"]}) == []
    assert encoder.left_out == {"prompts with no answer but the bad one": 1}


def learned_text(branch):
    """The text of the tokens that have weight."""
    weights = branch.weights or (1,) * len(branch.tokens)
    shown = [token for token, weight in zip(branch.tokens, weights, strict=True) if weight]
    return CHAT.decode(shown), TOKENIZER.eos_token_id in shown


@pytest.mark.parametrize(
    ("chosen", "rejected", "learned"),
    [
        ("Yes.\nAt 9.\nBye.", "Yes.\nAt 8.\nBye.", [("9.\n", False), ("8.\n", False)]),
        ("Yes. At 9.", "Yes. No.", [("At 9.", True), ("No.", True)]),
        ("Yes.\nAt 9.", "Yes.", [("\nAt 9.", True), ("", True)]),
        ("Ja.\n☃ 漢", "Ja.\n☃ 字", [("漢", True), ("字", True)]),
    ],
)
def test_only_the_first_step_that_differs_is_learned(chosen, rejected, learned):
    encoder = Encoder(CHAT)
    pair = Pair(prompt=OPEN, chosen=chosen, rejected=rejected, weight=0.5)
    (tree,) = step_dpo.step_trees(encoder, [pair])
    assert [end for _, end in map(learned_text, tree.responses)] == [end for _, end in learned]
    for branch, (text, _) in zip(tree.responses, learned, strict=True):
        # A character of several bytes may share its first ones with the other response's.
        assert learned_text(branch)[0].endswith(text) or "\ufffd" in learned_text(branch)[0]
    assert tree.weight == 0.5


def test_pairs_without_a_shared_step_or_a_difference_are_left_out():
    encoder = Encoder(CHAT)
    pairs = [
        Pair(prompt=OPEN, chosen="a\nb", rejected="c\nb"),
        Pair(prompt=OPEN, chosen="a\nb", rejected="a\n b"),
        Pair(prompt=OPEN, chosen="a", rejected="b", tie=True, probability=0.5),
    ]
    assert step_dpo.step_trees(encoder, pairs) == []
    assert encoder.left_out == {"pairs that share no first step": 1, "ties": 2}


def test_what_step_dpo_masks_would_cancel_anyway():
    """The loss is the same as where all tokens up to the step are learned."""
    pair = Pair(prompt=OPEN, chosen="Yes.\nAt 9.\nBye.", rejected="Yes.\nAt 8.\nBye.")
    (tree,) = step_dpo.step_trees(Encoder(CHAT), [pair])
    whole = Encoder(CHAT).tree(
        OPEN,
        [ResponseText(f"Yes.\nAt {hour}.\n", is_complete=False) for hour in (9, 8)],
        pairs=tree.pairs,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    known = {}  # a token's log-probability depends on what stands before it alone

    def log_probabilities(made):
        places = [b.tokens[: i + 1] for b in made.responses for i in range(len(b.tokens))]
        return torch.tensor([known.setdefault(index, rng.normal()) for index in places])

    goal = get_objective("step-dpo").bind()
    losses = [
        goal(Batch.from_trees([made], log_probabilities(made), 0 * log_probabilities(made))).losses
        for made in (tree, whole)
    ]
    torch.testing.assert_close(*losses)


def steps(text, *verdicts):
    result, start = [], 0
    for task, verdict in zip(segments(text), verdicts, strict=True):
        result.append(Step(start=start, end=start + len(task), verdict=verdict))
        start += len(task)
    return StepLabels(prompt=OPEN, completion=text, steps=tuple(result))


def test_a_wrong_step_is_set_against_the_right_ones_in_its_place():
    encoder = Encoder(CHAT)
    checked = [
        steps("a\nb\nx", "right", "right", "right"),
        steps("a\nB\ny", "right", "right", "right"),
        steps("a\nc\nd", "right", "wrong", "neutral"),
        steps("z\nc\nd", "right", "wrong", "neutral"),
    ]
    (tree,) = step_dpo.checked_step_trees(encoder, checked)
    assert [learned_text(b)[0].strip() for b in tree.responses] == ["b", "B", "c"]
    assert [(p.chosen, p.rejected, p.weight) for p in tree.pairs] == [(0, 2, 0.5), (1, 2, 0.5)]
    assert encoder.left_out == {"wrong steps without a right one in their place": 1}
    assert mask_common_prefix(tree) == tree


@pytest.mark.parametrize(
    ("right", "wrong", "learned"),
    [
        ("2 + 3 = 5.", "2 + 3 = 6.", ("5", "6")),
        ("At 9.", "At 9 or 10.", (".", "or 10")),
        ("At 9 or 10.", "At 9.", ("or 10", ".")),
    ],
)
def test_only_the_tokens_that_an_error_changed_are_learned(right, wrong, learned):
    made = [rise.InjectedError(SFTExample(prompt=OPEN, completion=right, weight=0.5), wrong)]
    (tree,) = rise.injected_trees(Encoder(CHAT), made)
    (one, ends), (other, also) = map(learned_text, tree.responses)
    assert (one.strip(), other.strip()) == learned
    assert not ends
    assert not also
    assert tree.weight == 0.5


@pytest.mark.parametrize("text", ["7 + 5 = 12", "At 09:00.", "We open on Monday.", "a - b"])
def test_an_injected_error_changes_one_word(text):
    rng = np.random.default_rng(0)
    words = rise.following_words(["We open on Monday.", "We open on Friday."])
    results = {rise.inject_error(text, words, rng) for _ in range(60)}
    assert text not in results
    assert None not in results
    for other in results:
        assert sum(a != b for a, b in zip(text.split(), other.split(), strict=True)) == 1
        assert rise.changed_fraction(text, other) == 1 / len(text.split())


def test_nothing_is_injected_where_there_is_nothing_to_change():
    rng = np.random.default_rng(0)
    assert [rise.inject_error(text, {}, rng) for text in ("", "Yes.", "漢字")] == [None] * 3


def test_rise_counts_what_it_cannot_spoil_and_learns_whole_pairs_too(policy, store):
    encoder = Encoder(CHAT, max_length=96)
    tasks = {
        p.name: p for p in build_tasks("rise", policy, TrainingSet(store, split="all"), encoder)
    }
    assert {"demonstration, spoilt", "label, spoilt", "preference"} <= tasks.keys()
    right = tasks["demonstration, right"]
    assert (right.objective.objective.name, right.weight) == ("sft", 0.1)
    assert all(b.weights is None for t in right.trees for b in t.responses)
    assert all(b.weights is None for t in tasks["preference"].trees for b in t.responses)
    assert encoder.left_out["errors that could not be put in"] == 0
    only = TrainingSet(store, split="all", kinds=["demonstration"])
    assert learn("rise", policy, only).lineage.notes["demonstration, spoilt prompts"] == 10


def test_the_model_can_put_the_errors_in(policy, store):
    feedback = TrainingSet(store, split="all", kinds=["demonstration"])
    encoder = Encoder(CHAT)
    options = {"injector": "model", "ask": "Err.", "max_changed": 1.0}
    task, right = build_tasks("rise", policy, feedback, encoder, **options)
    assert len(task.trees) == len(right.trees)
    assert len(task.trees) + encoder.left_out["errors that could not be put in"] == 10
    assert task.trees


def test_token_rewards_are_those_of_the_contrasting_system_prompts(policy, store):
    context = MethodContext(policy, TrainingSet(store, split="all"), Run())
    key = OPEN, "Yes."
    result = asyncio.run(t_reg.token_rewards(context, [key], "Be good.", "Be bad."))
    model = context.model()
    good, bad = (
        asyncio.run(model.score([((Message.system(words), *OPEN), "Yes.")]))[0]
        for words in ("Be good.", "Be bad.")
    )
    np.testing.assert_allclose(result[key], 1 / (1 + np.exp(bad - good)) - 0.5)
    same = asyncio.run(t_reg.token_rewards(context, [key], "Be good.", "Be good."))
    assert set(same[key]) == {0.0}


def test_a_text_that_is_too_long_for_the_token_rewards_is_counted(policy, store):
    context = MethodContext(policy, TrainingSet(store, split="all"), Run())
    long = "We are sorry. " * 20
    texts = [(OPEN, "Yes."), (OPEN, long)]
    result = asyncio.run(t_reg.token_rewards(context, texts, "Be good.", "Be bad."))
    assert set(result) == {texts[0]}
    encoder = Encoder(CHAT)
    pairs = [
        Pair(prompt=OPEN, chosen="Yes.", rejected=long),
        Pair(prompt=OPEN, chosen="Yes.", rejected="Yes.", tie=True, probability=0.5),
    ]
    assert t_reg.trees_with_token_rewards(encoder, pairs, result) == []
    assert encoder.left_out == {"too long for the token rewards": 1, "ties": 1}


def test_t_reg_gives_each_branch_its_rewards(policy, store):
    feedback = TrainingSet(store, split="all", kinds=["preference"])
    (task,) = build_tasks("t-reg", policy, feedback)
    for tree in task.trees:
        for branch in tree.responses:
            assert len(branch.token_rewards) == len(branch.tokens)
            assert 0 < max(map(abs, branch.token_rewards)) < 0.5


def test_counterfactual_pairs_are_of_the_plain_prompt(policy, store):
    feedback = TrainingSet(store, split="all")
    (task,) = build_tasks("counterfactual-dpo", policy, feedback, style="Be brief.")
    plain = {tuple(CHAT.prompt_tokens(prompt)) for prompt in feedback.prompts()}
    assert {tree.prompt for tree in task.trees} <= plain
    context = MethodContext(policy, feedback, Run(seed=1))
    prompts = feedback.prompts()
    styled = asyncio.run(context.sample(prompts, 1, policy=append_system(policy, "Be brief.")))
    (tree,) = [tree for tree in task.trees if tree.prompt == tuple(CHAT.prompt_tokens(prompts[0]))]
    assert CHAT.decode(tree.responses[tree.pairs[0].chosen].tokens) == styled[0][0]


def test_an_instruction_to_disregard_stands_in_the_prompt(policy, store):
    feedback = TrainingSet(store, split="all")
    (task,) = build_tasks("counterfactual-dpo", policy, feedback, disregard="Lie.")
    assert task.name == "disregard"
    assert all("Lie." in CHAT.decode(tree.prompt) for tree in task.trees)
    with pytest.raises(BacktalkError, match="needs a style or an instruction"):
        build_tasks("counterfactual-dpo", policy, feedback)


def test_an_appended_instruction_follows_the_system_prompt(policy):
    assert append_system(policy, "Be brief.").system == "Be brief."
    assert (
        append_system(append_system(policy, "Be good."), "Be brief.").system
        == "Be good.\n\nBe brief."
    )
    assert append_system(policy, "Be brief.").model == policy.model


def test_a_response_stands_under_two_instructions(policy, store):
    feedback = TrainingSet(store, split="all", kinds=["demonstration"])
    (task,) = build_tasks("i-orpo", policy, feedback)
    assert len(task.trees) == 10
    for tree in task.trees:
        right, wrong = tree.responses
        assert learned_text(right) == learned_text(wrong)
        assert learned_text(right)[0].startswith("Yes.")
        texts = [
            CHAT.decode(
                (*tree.prompt, *(t for t, w in zip(b.tokens, b.weights, strict=True) if not w))
            )
            for b in tree.responses
        ]
        assert texts[0] != texts[1]
        assert [len(text.splitlines()) for text in texts] == [3, 3]
        assert texts[0].splitlines()[0] == texts[1].splitlines()[0], "the task stays"
        differing = [a for a, b in zip(*map(str.splitlines, texts), strict=True) if a != b]
        assert len(differing) == 1


def test_i_orpo_trains_where_no_turn_but_an_answer_is_ended(policy, store):
    spec = policy.model.model_copy(update={"chat_template": OPEN_ENDED})
    feedback = TrainingSet(store, split="all", kinds=["demonstration"])
    learned = learn("i-orpo", policy.model_copy(update={"model": spec}), feedback)
    assert learned.lineage.notes["demonstration prompts"] == 10


def test_only_a_prompt_with_parts_is_corrupted():
    rng = np.random.default_rng(0)
    one = (Message.system("Hm."), Message.user("Do it.\nBriefly."))
    other = (Message.user("Do that.\nAt length."),)
    tasks = i_orpo.instruction_parts([one, other])
    assert tasks == [["Briefly.", "At length."]]
    results = i_orpo.corrupt_prompt(one, tasks, rng)
    assert [m.text for m in results] == ["Hm.", "Do it.\nAt length."]
    assert i_orpo.corrupt_prompt((Message.user("Do it."),), tasks, rng) is None
    assert i_orpo.corrupt_prompt(one, [["Briefly."]], rng) is None


def test_c3po_learns_inside_and_stays_as_it_is_outside(policy, store):
    feedback = TrainingSet(store, split="all")
    inside, outside = build_tasks("c3po", policy, feedback, lambda_out=0.5)
    prompts = [tuple(CHAT.prompt_tokens(prompt)) for prompt in feedback.prompts()]
    assert {tree.prompt for tree in inside.trees} <= set(prompts[:5])
    assert [tree.prompt for tree in outside.trees] == prompts[5:]
    total = [task.weight * len(task.trees) for task in (inside, outside)]
    assert total[1] / total[0] == pytest.approx(0.5), "however many prompts each has"
    assert (inside.objective.objective.name, outside.objective.objective.name) == ("dpo", "sft")
    context = MethodContext(policy, feedback, Run(seed=1))
    plain = asyncio.run(context.sample(feedback.prompts()[5:], 1))
    assert [CHAT.decode(tree.responses[0].tokens) for tree in outside.trees] == [
        text for (text,) in plain
    ]


def test_the_scope_of_an_instruction_says_where_it_holds(tmp_path):
    interactions = [Interaction.of(text, "Yes.") for text in ("a", "b", "c", "d")]
    fields = {"annotator": ADA}
    scope = Scope(where="letters", inside=("b", "new"), outside=("c",))
    with Store(tmp_path / "s.db") as opened:
        for interaction in interactions:
            opened.add(
                interaction, Label(**fields, interaction=interaction.id, response="0", good=True)
            )
        opened.add(
            Instruction(**fields, interaction=interactions[0].id, text="Shout.", scope=scope)
        )
        opened.add(Instruction(**fields, text="Sing.", scope=Scope(users=("bo",))))
        feedback = TrainingSet(opened, split="all")
        (rule,), personal = c3po.standing_rules(feedback)
        result = c3po.prompt_scopes([rule], feedback.prompts())
        opened.add(Instruction(**fields, text="Hum."))
        (_, always), _ = c3po.standing_rules(feedback)
    assert [prompt[0].text for prompt in rule.inside.values()] == ["b", "new", "a"]
    assert [prompt[0].text for prompt in result.near] == ["c"]
    assert [prompt[0].text for prompt in result.outside] == ["d"]
    assert personal == 1
    assert [prompt[0].text for prompt in always.inside.values()] == ["a", "b", "c", "d"]


class Longest:
    """A reward: the longer the better."""

    name, bounds = "longest", None

    async def score(self, answers):
        from backtalk.rewards.protocol import Scores

        return Scores(np.array([float(len(text)) for _, text in answers]))


def test_each_topic_has_its_best_and_its_worst():
    texts = ["We open at 9.\nThe room is big.", "The room is very big.\nWe open at 10.", "Hm."]
    (pair,) = asyncio.run(tpo.overwritten_pairs([OPEN], [texts], Longest(), min_similarity=0.3))
    assert pair.chosen == "We open at 10.\nThe room is very big."
    assert pair.rejected == "We open at 9.\nThe room is big."
    (alone,) = asyncio.run(
        tpo.overwritten_pairs([OPEN], [["Hm.", ""]], Longest(), min_similarity=0.3)
    )
    assert alone.chosen == alone.rejected == "Hm."
    assert (
        asyncio.run(tpo.overwritten_pairs([OPEN], [["", ""]], Longest(), min_similarity=0.3)) == []
    )


def test_the_reference_of_constructed_pairs_gives_the_known_first_loss(policy, store):
    """Masks and token rewards reach the objective: at the start its loss is the formula's."""
    feedback = TrainingSet(store, split="all")
    for name in ("step-dpo", "t-reg"):
        options = get_method(name).read_options(CONSTRUCTED[name])
        build, _ = asyncio.run(
            build_plan(name, MethodContext(policy, feedback, Run(seed=1)), options)
        )
        ready = prepare(policy, feedback, Run(seed=1), build, TrainingConfig(max_steps=1))
        first = [check for check in ready.preflight.checks if check.name.startswith("first loss")]
        assert first
        assert all(check.passed and "expected 0.6931" in check.measured for check in first)
        ready.reference.close()
