"""Self-play methods, offline and online, up to a policy that responds."""

import asyncio

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from backtalk.decode import Sample
from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback import Annotator, Interaction, Message, Preference, as_prompt
from backtalk.feedback.conversions import views
from backtalk.feedback.views import Pair
from backtalk.learn import TrainingSet, get_method
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.methods import self_play
from backtalk.learn.finetune.registration import build_plan
from backtalk.learn.online.feedback_sources import InMemoryTrainingSet, RewardJudge
from backtalk.learn.online.loop import OnlineConfig, OnlineLearner
from backtalk.learn.online.oracle_feedback import PairwiseOracle, make_feedback_source
from backtalk.learn.online.samplers import SAMPLERS, get_sampler, mix_policies
from backtalk.models import EndpointSpec, LocalSpec, MixtureSpec, Sampling
from backtalk.models.local.chat_template import ChatTemplate
from backtalk.policy import Policy, list_policies, load_policy, save_policy
from backtalk.rewards import RewardOracle
from backtalk.rewards.protocol import Scores
from backtalk.run import Run
from backtalk.store import Store
from tests.models import tiny

ADA = Annotator.human("ada")
NAMES = ("sppo", "dno", "inpo", "nash-md", "nash-mp", "spac", "xpo")
OPEN = (Message.user("Is it open?"),)
TOKENIZER = tiny.tokenizer()
CHAT = ChatTemplate(TOKENIZER, name="tiny", eos_token_ids=frozenset({TOKENIZER.eos_token_id}))
PROMPTS = [as_prompt(f"Is shop {i} open today?") for i in range(8)]
QUICK = {"max_steps": 2, "batch_size": 4, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tiny.save(tmp_path_factory.mktemp("models") / "llama")
    return Policy(
        model=LocalSpec(model=folder),
        decoder=Sample(sampling=Sampling(max_tokens=8, stop=tuple("aeiou "))),
        name="plain",
    )


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A policy whose weights are a little off."""
    folder = tiny.save(tmp_path_factory.mktemp("models") / "other")
    changed = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.add_(0.2 * parameter.std() * torch.randn_like(parameter))
    changed.save_pretrained(folder)
    return Policy(model=LocalSpec(model=folder), name="other")


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.db") as made:
        for i in range(6):
            interaction = Interaction.of(
                f"Is shop {i} open?", "Yes, at nine.", "No.", "We are open."
            )
            fields = {"interaction": interaction.id, "annotator": ADA}
            made.add(
                interaction,
                Preference(**fields, a="0", b="1", verdict="a"),
                Preference(**fields, a="0", b="2", verdict="a", probability=0.75),
                Preference(**fields, a="1", b="2", verdict="tie"),
            )
        yield made


class Longer:
    """Finds the longer answer better."""

    name, bounds = "longer", None

    async def score(self, answers):
        return Scores(np.array([float(len(text)) for _, text in answers]))


class Cycle:
    """Finds each length better than the one below it, in a ring of three."""

    name = "cycle"

    async def prefer(self, compared):
        steps = [(len(one) - len(other)) % 3 for _, one, other in compared]
        return np.array([(0.5, 0.9, 0.1)[step] for step in steps])


def learn(name, policy, feedback, **options):
    with Run(seed=1) as run:
        return asyncio.run(get_method(name).learn(policy, feedback, run, **QUICK, **options))


def build_tasks(name, policy, feedback, **options):
    """Return the training tasks of a method."""
    context = MethodContext(policy, feedback, Run(seed=1))
    build, _ = asyncio.run(build_plan(name, context, get_method(name).read_options(options)))
    return build(Encoder(CHAT, max_length=96, prepare=policy.messages))


def online(name, policy, store, *, source=None, rounds=1, samples=3, **fields):
    method = get_method(name)
    with Run(seed=1) as run:
        made = OnlineLearner(
            method, store, run,
            feedback_source=source or make_feedback_source(
                Longer(), method.online.pair_selection
            ),
            config=OnlineConfig(
                rounds=rounds, prompts_per_round=4, num_samples=samples, **fields
            ), options=QUICK,
        )  # fmt: skip
        return asyncio.run(made.learn(policy, PROMPTS, []))


@pytest.mark.parametrize("name", NAMES)
def test_a_method_makes_a_policy_that_loads_and_answers(name, policy, other, store):
    options = {"base": save_policy(store, other)} if "base" in get_method(name).options else {}
    learned = learn(name, policy, TrainingSet(store, split="all"), **options)
    assert learned.lineage.method == name
    assert learned.lineage.parent == policy.id
    assert learned.id != policy.id
    assert load_policy(learned, store.artifacts).respond("Is it open?").policy == learned.id


@pytest.mark.parametrize("name", NAMES)
def test_a_store_that_holds_nothing_for_it_is_an_error(name, policy, tmp_path):
    with Store(tmp_path / "s.db") as empty, pytest.raises(BacktalkError, match="no feedback"):
        learn(name, policy, TrainingSet(empty, split="all"))


@pytest.mark.parametrize(
    ("name", "moves"), [("inpo", [0, 1, 2]), ("nash-mp", [0, 0, 2]), ("xpo", [0, 0, 0])]
)
def test_the_reference_of_a_round_is_the_policy_that_the_method_says(name, moves, policy, tmp_path):
    with Store(tmp_path / "s.db") as store:
        result = online(name, policy, store, rounds=3)
    past = [policy, *result.policies]
    assert [one.lineage.options["reference"] for one in result.policies] == [
        past[index].id for index in moves
    ]
    assert [one.lineage.parent for one in result.policies] == [one.id for one in past[:3]]
    if "base" in get_method(name).options:
        assert {one.lineage.options["base"] for one in result.policies} == {policy.id}


@pytest.mark.parametrize("name", ["sppo", "dno", "nash-md", "spac"])
def test_preferences_that_run_in_a_circle_are_learned_from_in_rounds(name, policy, tmp_path):
    with Store(tmp_path / "s.db") as store:
        result = online(name, policy, store, source=PairwiseOracle(Cycle()), rounds=2)
        assert len(result.policies) == 2
        preferences = [preference for case in store.cases() for preference in case.feedback]
        assert len(preferences) == 2 * 4 * 3, "each answer of a prompt with each other one"
        assert {preference.probability for preference in preferences} <= {0.1, 0.5, 0.9}


def test_answers_are_drawn_by_whom_the_sampling_says(policy, tmp_path):
    with Store(tmp_path / "s.db") as store:
        learned, _ = online("nash-md", policy, store, rounds=2).policies
        known = {one.id: one for one in list_policies(store)}
        second = [c.interaction for c in store.cases() if c.interaction.policy == learned.id]
        drawers = {known[one.policy].id for interaction in second for one in interaction.responses}
    (drawer,) = (known[id_] for id_ in drawers)
    assert isinstance(drawer.model, MixtureSpec)
    assert drawer.model.models == (learned.model, policy.model)
    assert drawer.model.weights == (0.875, 0.125)


def test_a_teacher_answers_too(policy, other, tmp_path):
    with Store(tmp_path / "s.db") as store:
        teacher = save_policy(store, other)
        online("dno", policy, store, teacher=teacher)
        for case in store.cases():
            assert [one.policy for one in case.interaction.responses] == [*[policy.id] * 3, teacher]
            assert len(case.feedback) == 6


def test_every_sampling_names_policies_that_draw(policy, other):
    rng = np.random.default_rng(0)
    for name in SAMPLERS:
        rule = get_sampler(name)
        for _ in range(20):
            assert len(rule([policy, other], 3, 0.2, rng)) == 3, name
            assert rule([policy], 3, 0.2, rng) == [policy] * 3, name
    assert get_sampler("first")([policy, other], 4, 0.2, rng) == [other, policy] * 2
    with pytest.raises(UnknownName, match="mixture"):
        get_sampler("mixtures")


def test_pilaf_draws_half_of_the_pairs_from_both_sides_of_the_policy(policy, other):
    rng = np.random.default_rng(0)
    drawn = [get_sampler("pilaf")([policy, other], 2, 0.2, rng) for _ in range(400)]
    plain = sum(actor == [other, other] for actor in drawn)
    assert 160 < plain < 240
    sides = {one.model.weights for actor in drawn if actor[0] != other for one in actor}
    assert sides == {(1.2, -0.2), (0.8, 0.2)}


def test_past_policies_draw_by_an_exponential_moving_average(policy, other):
    past = [policy.named(f"p{i}").derive(lineage=policy.lineage, system=f"{i}") for i in range(4)]
    rng = np.random.default_rng(0)
    drawn = get_sampler("average")(past, 20_000, 0.5, rng)
    shares = [sum(one is policy_ for one in drawn) / len(drawn) for policy_ in past]
    np.testing.assert_allclose(shares, [0.125, 0.125, 0.25, 0.5], atol=0.015)


def test_policies_that_cannot_be_mixed_are_refused(policy, other):
    with pytest.raises(BacktalkError, match="same system prompt"):
        mix_policies(policy, other.derive(lineage=other.lineage, system="Be brief."), 0.1)
    endpoint = Policy(model=EndpointSpec(model="far"))
    with pytest.raises(BacktalkError, match="local models"):
        mix_policies(policy, endpoint, 0.1)


def by_hand(policy, prompt, text):
    """The log-probability of an answer, by transformers."""
    begin, rest = CHAT.conversation_tokens(policy.messages(prompt), text)
    with torch.inference_mode():
        model = AutoModelForCausalLM.from_pretrained(policy.model.model).eval()
        logits = model(torch.tensor([[*begin, *rest]])).logits[0, len(begin) - 1 : -1]
    return float(logits.log_softmax(-1)[range(len(rest)), rest].sum())


def test_the_base_says_of_each_pair_how_much_more_probable_it_finds_the_chosen(
    policy, other, store
):
    base = save_policy(store, other)
    (task,) = build_tasks("inpo", policy, TrainingSet(store, split="all"), base=base)
    for tree, number in zip(task.trees, range(6), strict=True):
        prompt = as_prompt(f"Is shop {number} open?")
        texts = [CHAT.decode(branch.tokens) for branch in tree.responses]
        known = {text: by_hand(other, prompt, text) for text in texts}
        for pair in tree.pairs:
            margin = known[texts[pair.chosen]] - known[texts[pair.rejected]]
            assert pair.features["base_margin"] == pytest.approx(margin, abs=1e-3)
        rows_ = sorted(
            (texts[pair.chosen], texts[pair.rejected], pair.weight) for pair in tree.pairs
        )
        yes, no, open_ = "Yes, at nine.", "No.", "We are open."
        assert rows_ == sorted(
            [(yes, no, 1), (yes, open_, 0.75), (open_, yes, 0.25), (no, open_, 0.5),
             (open_, no, 0.5)]
        )  # fmt: skip


def test_a_base_that_is_the_reference_is_not_asked(policy, store):
    feedback = TrainingSet(store, split="all")
    own = save_policy(store, policy)
    for options in ({}, {"base": own}):
        (task,) = build_tasks("inpo", policy, feedback, **options)
        assert all("base_margin" not in pair.features for tree in task.trees for pair in tree.pairs)


def test_a_base_without_probabilities_is_refused_with_the_mend(policy, store):
    far = save_policy(store, Policy(model=EndpointSpec(model="far", base_url="http://localhost")))
    with pytest.raises(BacktalkError, match="base=NAME"):
        build_tasks("inpo", policy, TrainingSet(store, split="all"), base=far)


def test_an_answer_that_the_base_cannot_read_leaves_its_pairs_without_a_margin(other, store):
    long = Pair(prompt=OPEN, chosen="nine " * 200, rejected="No.")
    short = Pair(prompt=OPEN, chosen="Yes.", rejected="No.")
    context = MethodContext(other, TrainingSet(store), Run())
    facts = asyncio.run(self_play.base_margins(other, [long, short], context))
    assert facts(long) == {}
    known = by_hand(other, OPEN, "Yes.") - by_hand(other, OPEN, "No.")
    assert facts(short)["base_margin"] == pytest.approx(known, abs=1e-3)


def test_win_rates_are_those_against_the_other_answers(store):
    (case, *_) = store.cases()
    pairs = views(case, Pair)
    rates = {text: rate for (_, text), rate in self_play.win_rates(pairs).items()}
    assert rates == pytest.approx(
        {"Yes, at nine.": (1 + 0.75) / 2, "No.": (0 + 0.5) / 2, "We are open.": (0.25 + 0.5) / 2}
    )
    alone = self_play.win_rates([Pair(prompt=OPEN, chosen="Yes.", rejected="No.")])
    assert sorted(alone.values()) == [0, 1]


def test_sppo_draws_each_response_to_its_win_rate(policy, store):
    (task,) = build_tasks("sppo", policy, TrainingSet(store, split="all"))
    for tree in task.trees:
        values = {CHAT.decode(branch.tokens): branch.win_rate for branch in tree.responses}
        assert values == pytest.approx({"Yes, at nine.": 0.875, "No.": 0.25, "We are open.": 0.375})


@pytest.mark.parametrize(
    ("gap", "labels", "compared"),
    [
        (0.5, "hard", {("Yes, at nine.", "No."), ("Yes, at nine.", "We are open.")}),
        (0.6, "hard", {("Yes, at nine.", "No.")}),
        (
            0.0,
            "soft",
            {("Yes, at nine.", "No."), ("Yes, at nine.", "We are open."), ("We are open.", "No.")},
        ),
    ],
)
def test_dno_compares_answers_whose_win_rates_are_apart(gap, labels, compared, policy, store):
    feedback = TrainingSet(store, split="all")
    (task,) = build_tasks("dno", policy, feedback, gap=gap, labels=labels)
    rates = {"Yes, at nine.": 0.875, "No.": 0.25, "We are open.": 0.375}
    for tree in task.trees:
        texts = [CHAT.decode(branch.tokens) for branch in tree.responses]
        results = {(texts[pair.chosen], texts[pair.rejected]): pair for pair in tree.pairs}
        assert set(results) == compared
        for (one, other), pair in results.items():
            probability = 1 / (1 + np.exp(rates[other] - rates[one])) if labels == "soft" else 1
            assert pair.features["probability"] == pytest.approx(probability)


def test_equal_win_rates_say_nothing_unless_softly():
    ring = [("a", "b"), ("b", "c"), ("c", "a")]
    pairs = [Pair(prompt=OPEN, chosen=one, rejected=other) for one, other in ring]
    assert self_play.pairs_by_win_rate(pairs, gap=0, soft=False) == []
    soft = self_play.pairs_by_win_rate(pairs, gap=0, soft=True)
    assert len(soft) == 3
    assert {pair.probability for pair in soft} == {0.5}


def test_marked_answers_stand_among_the_compared_or_beside_them():
    encoder = Encoder(CHAT, max_length=40)
    pairs = [Pair(prompt=OPEN, chosen="Yes.", rejected="No.", weight=0.5)]
    (key,) = {self_play.prompt_key(OPEN)}
    answers = {key: ["No.", "No.", "At nine.", "nine " * 50]}
    (tree,) = self_play.marked_trees(encoder, pairs, answers)
    assert [(CHAT.decode(b.tokens), b.is_sample) for b in tree.responses] == [
        ("Yes.", False), ("No.", True), ("No.", True), ("At nine.", True),
    ]  # fmt: skip
    assert [(p.chosen, p.rejected, p.weight) for p in tree.pairs] == [(0, 1, 0.5)]
    assert self_play.marked_trees(encoder, pairs, {key: ["nine " * 50]}) == []
    assert encoder.left_out["prompts without an answer to mark"] == 1


def test_spac_draws_answers_of_its_own(policy, store):
    (task,) = build_tasks("spac", policy, TrainingSet(store, split="all"), samples=2)
    for tree in task.trees:
        assert 1 <= sum(branch.is_sample for branch in tree.responses) <= 2


def test_xpo_leads_away_from_the_references_answers_and_compares_them_with_others(
    policy, other, tmp_path
):
    with Store(tmp_path / "s.db") as store:
        reference = save_policy(store, policy)
        interaction = Interaction.of(OPEN, "Yes.", "No.", "At nine.", "We are.")
        by = zip(interaction.responses, [other, policy, other, policy], strict=True)
        interaction = interaction.model_copy(
            update={"responses": tuple(r.model_copy(update={"policy": p.id}) for r, p in by)}
        )
        (case,) = asyncio.run(make_feedback_source(Longer(), "mutual").give([interaction], seed=0))
        store.add_cases([case])
        feedback = InMemoryTrainingSet(store, [case])
        (task,) = build_tasks("xpo", other, feedback, reference=reference)
    (tree,) = task.trees
    texts = [CHAT.decode(branch.tokens) for branch in tree.responses]
    marked = {text for text, b in zip(texts, tree.responses, strict=True) if b.is_sample}
    assert marked == {"No.", "We are."}
    for pair in tree.pairs:
        assert len({texts[pair.chosen], texts[pair.rejected]} & marked) == 1
    assert len(tree.pairs) == 4


def test_a_reward_compares_by_its_scores():
    pairs = [(OPEN, "aaa", "a"), (OPEN, "a", "aaa"), (OPEN, "bb", "aa")]
    certain = asyncio.run(RewardOracle(Longer()).prefer(pairs))
    assert certain.tolist() == [1, 0, 0.5]
    probabilities = asyncio.run(RewardOracle(Longer(), temperature=2.0).prefer(pairs))
    np.testing.assert_allclose(probabilities, [1 / (1 + np.exp(-1)), 1 / (1 + np.e), 0.5])
    assert len(asyncio.run(RewardOracle(Longer()).prefer([]))) == 0


def test_verdicts_may_be_drawn_with_the_oracles_odds():
    interactions = [Interaction.of(OPEN, "a", "bb", "b") for _ in range(300)]
    cases = asyncio.run(PairwiseOracle(Cycle(), sample_verdicts=True).give(interactions, seed=0))
    preferences = [
        preference
        for case in cases
        for preference in case.feedback
        if preference.a == "0" and preference.b == "1"
    ]
    assert 0.05 < np.mean([preference.verdict == "a" for preference in preferences]) < 0.16
    assert {preference.probability for preference in preferences} == {None}


def test_who_gives_feedback_goes_by_the_rule():
    assert isinstance(make_feedback_source(Longer(), "best-worst"), RewardJudge)
    assert isinstance(make_feedback_source(Longer(), "mutual"), PairwiseOracle)
    assert isinstance(make_feedback_source(Longer(), "mutual", rates=True), RewardJudge)
