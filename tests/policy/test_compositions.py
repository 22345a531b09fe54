"""Policies with several prompts, of which a small model selects one for each request."""

import asyncio
from collections import Counter

import numpy as np
import pytest

from backtalk.embedders import HashedTfidf
from backtalk.errors import NotFound
from backtalk.feedback import as_prompt
from backtalk.models import Completion, FunctionModel, register_model
from backtalk.models.registry import MODELS
from backtalk.models.spec import NamedSpec
from backtalk.policy import (
    Composition,
    Policy,
    PromptCompositions,
    PromptSelector,
    PromptTemplate,
    diff,
    load_policy,
)
from backtalk.store import Store

MAIL, LIST = as_prompt("Write a mail to my boss."), as_prompt("Sort the list: nut, ant.")


def echo():
    return FunctionModel(
        lambda request: Completion(text=request.messages[0].text, model="echo-system"),
        name="echo-system",
    )


@pytest.fixture(scope="module", autouse=True)
def _echo():
    if "echo-system" not in MODELS:
        register_model("echo-system")(echo)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.db") as store:
        yield store


def make_selector():
    """Return a selector of the first composition for mails, and of the second for lists."""
    texts = [MAIL[0].text, LIST[0].text]
    embedder = HashedTfidf.fit(texts, dimension=64)
    vectors = asyncio.run(embedder.embed(texts)).astype(float)
    return PromptSelector(embedder, vectors.T.copy(), np.zeros(2))


def make_policy(store, **fields):
    compositions = PromptCompositions(
        selector=store.artifacts.put(make_selector().to_files()),
        choices=(
            Composition(name="mails", system="You write mails."),
            Composition(name="lists", prompt=PromptTemplate(rules=("Use commas.",))),
        ),
        **fields,
    )
    model = NamedSpec(name="echo-system")
    return Policy(model=model, system="You help.", compositions=compositions)


def test_each_request_gets_the_prompt_with_the_highest_predicted_score(store):
    policy = make_policy(store)
    loaded = load_policy(policy, store.artifacts)
    outputs = asyncio.run(loaded.decode([MAIL, LIST]))
    assert [output.answer.text for output in outputs] == ["You write mails.", "Use commas."]
    versions = [one.prompt_version for one in policy.composed]
    assert [output.prompt_version for output in outputs] == versions
    response = loaded.respond("Sort the list: pea, bat.")
    assert (response.text, response.prompt_version) == ("Use commas.", versions[1])
    assert (response.policy, response.prompt_propensity) == (policy.id, 1.0)


def test_the_last_request_of_a_conversation_decides(store):
    loaded = load_policy(make_policy(store), store.artifacts)
    (messages,), _ = asyncio.run(loaded.messages([(*MAIL, *LIST)]))
    assert messages[0].text == "Use commas."


def test_a_selector_is_the_same_after_it_was_stored():
    selector = make_selector()
    again = PromptSelector.from_files(selector.to_files())
    predictions = [asyncio.run(one.predict([MAIL, LIST])) for one in (selector, again)]
    assert np.array_equal(*predictions)


def test_exploration_shows_the_others_as_often_as_their_propensity_says():
    prompts = [MAIL] * 4_000
    selections = asyncio.run(make_selector().select(prompts, explore=0.2, seeds=range(4_000)))
    counts = Counter((one.index, one.propensity) for one in selections)
    assert set(counts) == {(0, 0.8), (1, 0.2)}
    assert counts[1, 0.2] / 4_000 == pytest.approx(0.2, abs=0.03)


def test_a_policy_with_compositions_is_read_back_from_yaml(store):
    policy = make_policy(store, explore=0.1)
    assert Policy.from_yaml(policy.to_yaml()) == policy
    assert {one.id for one in policy.composed}.isdisjoint({policy.id})


def test_compositions_change_the_recipe_and_the_difference_names_them(store):
    policy = make_policy(store)
    plain = policy.derive(compositions=None, lineage=policy.lineage)
    assert plain.id != policy.id
    (sentence,) = diff(plain, policy)
    assert sentence == ('Each request has one of 2 compositions of the prompt: "mails" and "lists"')
    assert diff(policy, plain) == ["All requests have the same prompt"]


def test_a_policy_without_its_artifacts_is_refused_with_the_mend(store):
    with pytest.raises(NotFound, match=r"store\.artifacts"):
        load_policy(make_policy(store))


def test_an_artifact_that_is_no_selector_is_refused():
    with pytest.raises(NotFound, match="not a selector"):
        PromptSelector.from_files({"reward.json": b"{}"})
