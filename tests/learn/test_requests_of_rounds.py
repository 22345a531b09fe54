"""The settings of a request stay with its prompt in rounds, in the store and in evaluations."""

import asyncio
import json

import numpy as np
import pytest

from backtalk import Policy
from backtalk.api import evaluate
from backtalk.decode import Sample
from backtalk.feedback import Annotator, Interaction, Message, Preference
from backtalk.feedback.case import prompt_key
from backtalk.feedback.requests import request_of, requested_prompt, with_request
from backtalk.feedback.split import split_for
from backtalk.learn import get_method
from backtalk.learn.held_out_preferences import held_out_preferences
from backtalk.learn.online.feedback_sources import HumanFeedback, RewardJudge
from backtalk.learn.online.loop import OnlineConfig, OnlineLearner, needs_scores
from backtalk.models import Completion, FunctionModel, LocalModel, LocalSpec, Request, Sampling
from backtalk.models.run_sync import run_sync
from backtalk.rewards.protocol import Scores
from backtalk.run import Run
from backtalk.store import Store
from tests.learn.finetune.test_requests import TEMPLATE, tool
from tests.models import tiny

SETTINGS = {
    "tools": [tool("time")],
    "response_format": {"type": "json_object"},
    "reasoning_effort": "low",
    "chat_template_kwargs": {"loud": True},
}
ADA = Annotator.human("ada")


class Longer:
    """Finds the longer answer better."""

    name, bounds = "longer", None

    async def score(self, answers):
        return Scores(np.array([float(len(text)) for _, text in answers]))


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "llama"
    network = tiny.network("llama")
    network.config.max_position_embeddings = 512
    network.save_pretrained(folder)
    tiny.tokenizer(template=TEMPLATE).save_pretrained(folder)
    sampling = Sampling(max_tokens=8, temperature=0.9)
    return Policy(model=LocalSpec(model=str(folder)), decoder=Sample(sampling=sampling))


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "feedback.db") as opened:
        for i in range(24):
            interaction = Interaction.of(f"Is shop {i} open?", "Yes, we open.", "No.")
            metadata = {"gateway": {"request": {"temperature": 0.5, **SETTINGS}}}
            interaction = interaction.model_copy(update={"metadata": metadata})
            by = {"interaction": interaction.id, "annotator": ADA}
            opened.add(interaction, Preference(**by, a="0", b="1", verdict="a"))
        yield opened


@pytest.fixture
def prompts_read(monkeypatch):
    """Prompts, as text, of all answers that local models sampled."""
    read, sample = [], LocalModel._sequence

    def recorded(self, request):
        sequence = sample(self, request)
        read.append(self.chat.decode(sequence.prompt))
        return sequence

    monkeypatch.setattr(LocalModel, "_sequence", recorded)
    return read


def is_whole(text):
    return all(part in text for part in ("time(does time)", "effort low", "as json_object", "LOUD"))


@pytest.mark.parametrize("method", ["dpo", "raft"])
def test_what_rounds_sample_is_stored_with_the_settings(method, policy, store, prompts_read):
    before = {case.interaction.id for case in store.cases()}
    chosen, reward = get_method(method), Longer()
    options = {"max_steps": 1, "batch_size": 2}
    options |= {"source": "store"} if method == "raft" else {}
    config = OnlineConfig(rounds=1, prompts_per_round=4, num_samples=3)
    source = RewardJudge(reward, rates=needs_scores(chosen))
    learner = OnlineLearner(
        chosen, store, Run(seed=0), feedback_source=source, config=config, options=options
    )
    asyncio.run(learner.learn(policy))
    assert prompts_read
    assert all(map(is_whole, prompts_read))
    added = [case.interaction for case in store.cases() if case.interaction.id not in before]
    assert len(added) == 4
    for interaction in added:
        assert request_of(requested_prompt(interaction)) == SETTINGS
        sampling = interaction.responses[0].metadata["sampling"]
        assert sampling == {"max_tokens": 8, "temperature": 0.9}


def test_a_round_that_people_judge_later_is_trained_on_with_the_settings(
    policy, store, tmp_path, monkeypatch
):
    trained = []
    chosen = get_method("dpo")
    learn = type(chosen).learn

    async def recorded(self, policy, feedback, run, **options):
        trained.extend(map(request_of, feedback.plain_texts().prompts()))
        return await learn(self, policy, feedback, run, **options)

    monkeypatch.setattr(type(chosen), "learn", recorded)
    before = {case.interaction.id for case in store.cases()}
    config = OnlineConfig(rounds=1, prompts_per_round=2, num_samples=2)
    for _ in range(2):
        with Run(tmp_path / "run", seed=0) as run:
            learner = OnlineLearner(
                chosen,
                store,
                run,
                feedback_source=HumanFeedback(store),
                config=config,
                options={"max_steps": 1, "batch_size": 2},
            )
            result = asyncio.run(learner.learn(policy))
        for case in store.cases():
            if case.interaction.id not in before and not case.feedback:
                by = {"interaction": case.interaction.id, "annotator": ADA}
                store.add(Preference(**by, a="0", b="1", verdict="a"))
    assert len(result.policies) == 1
    assert trained == [SETTINGS, SETTINGS]


def test_evaluations_render_the_settings(policy, store, prompts_read):
    other = policy.derive(system="Be brief.", lineage=policy.lineage)
    evaluate(other, policy, store, judge=Longer(), split="all", limit=2)
    assert len(prompts_read) >= 4
    assert all(map(is_whole, prompts_read))


def test_held_out_preferences_are_scored_with_the_settings(policy, store, monkeypatch):
    texts, score = [], LocalModel._score

    def recorded(self, pairs):
        texts.extend(self.chat.decode(self.chat.prompt_tokens(prompt)) for prompt, _ in pairs)
        return score(self, pairs)

    monkeypatch.setattr(LocalModel, "_score", recorded)
    result = run_sync(held_out_preferences(policy, store, run=Run(seed=0)))
    assert texts
    assert all(map(is_whole, texts))
    held_out = [
        case for case in store.cases() if split_for(prompt_key(case.interaction.prompt)) != "train"
    ]
    assert result.pairs == len(held_out)


def test_pairs_that_a_policy_learned_from_are_not_held_out(policy, store):
    from backtalk.errors import BacktalkError
    from backtalk.learn import TrainingSet
    from backtalk.policy import save_policy

    options = {"max_steps": 1, "batch_size": 2}
    feedback = TrainingSet(store, split="all")
    learned = run_sync(get_method("dpo").learn(policy, feedback, Run(seed=0), **options))
    save_policy(store, policy)
    save_policy(store, learned)
    with pytest.raises(BacktalkError, match="learned from"):
        run_sync(held_out_preferences(learned, store, run=Run(seed=0)))


def test_every_request_has_the_settings_of_its_prompt():
    prompt = with_request((Message.user("Hi"),), SETTINGS)
    assert Request(messages=prompt).options == SETTINGS
    own = Request(messages=prompt, options={"reasoning_effort": "high", "top_logprobs": 2})
    assert own.options == {**SETTINGS, "reasoning_effort": "high", "top_logprobs": 2}
    assert Request(messages=prompt).key != Request(messages=(Message.user("Hi"),)).key
    again = Request.model_validate(json.loads(Request(messages=prompt).to_json()))
    assert again.options == SETTINGS
    seen = []

    def answer(request):
        seen.append(request.options)
        return Completion(text="Yes.")

    run_sync(Sample().decode(FunctionModel(answer, name="f"), [prompt], rewards={}))
    assert seen == [SETTINGS]
