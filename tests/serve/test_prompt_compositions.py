"""Completions of policies that select their prompt for each request."""

import asyncio
import json

import numpy as np
import pytest

from backtalk.embedders import HashedTfidf
from backtalk.models import Completion, FunctionModel, register_model
from backtalk.models.spec import EndpointSpec, NamedSpec
from backtalk.policy import (
    Composition,
    Policy,
    PromptCompositions,
    PromptSelector,
    save_policy,
)
from backtalk.promotion import promote
from backtalk.store import Store

TEXTS = ("Write a mail to my boss.", "Sort the list: nut, ant.")
SYSTEMS = ("You write mails.", "You sort lists.")


@register_model("composition-echo")
def composition_echo():
    return FunctionModel(
        lambda request: Completion(text=request.messages[0].text, model="composition-echo"),
        name="composition-echo",
    )


@pytest.fixture
def mail(gateway):
    with Store(gateway.settings.store, project="mail") as store:
        yield store


def serve(store, model, *, explore=0.0, selector=None):
    embedder = HashedTfidf.fit(TEXTS, dimension=64)
    weights = asyncio.run(embedder.embed(TEXTS)).astype(float).T.copy()
    files = PromptSelector(embedder, weights, np.zeros(2)).to_files()
    compositions = PromptCompositions(
        selector=selector or store.artifacts.put(files),
        choices=tuple(Composition(name=text, system=text) for text in SYSTEMS),
        explore=explore,
    )
    policy = Policy(model=model, system="You help.", compositions=compositions)
    save_policy(store, policy)
    promote(store, policy, actor="ada")
    return policy


def responses(gateway, store):
    gateway.store.close()
    return [response for case in store.cases() for response in case.interaction.responses]


def test_a_forwarded_request_has_the_selected_prompt_and_its_record_the_propensity(
    gateway, upstream, mail
):
    policy = serve(mail, EndpointSpec(model="tuned", base_url=upstream.url))
    for text in TEXTS:
        assert gateway.chat(text, model="backtalk:mail").status_code == 200
    assert [body["messages"][0]["content"] for body in upstream.bodies] == list(SYSTEMS)
    shown = responses(gateway, mail)
    assert [one.prompt_version for one in shown] == [p.prompt_version for p in policy.composed]
    assert {one.prompt_propensity for one in shown} == {1.0}
    (first, _) = mail.cases()
    assert first.interaction.policy == policy.id


def test_a_local_model_reads_the_selected_prompt(gateway, mail):
    policy = serve(mail, NamedSpec(name="composition-echo"))
    answer = gateway.chat(TEXTS[1], model="backtalk:mail").json()
    assert answer["choices"][0]["message"]["content"] == SYSTEMS[1]
    (response,) = responses(gateway, mail)
    assert response.prompt_version == policy.composed[1].prompt_version


def test_each_prompt_of_a_text_completion_has_its_own_composition(gateway, mail):
    serve(mail, NamedSpec(name="composition-echo"))
    body = {"model": "backtalk:mail", "prompt": list(TEXTS)}
    answer = gateway.http.post("/v1/completions", json=body).json()
    assert [choice["text"] for choice in answer["choices"]] == list(SYSTEMS)


def test_exploration_is_the_same_within_a_session_and_recorded_with_its_propensity(gateway, mail):
    serve(mail, NamedSpec(name="composition-echo"), explore=0.5)
    for number in range(12):
        for _ in range(2):
            body = {"model": "backtalk:mail", "messages": [{"role": "user", "content": TEXTS[0]}]}
            session = {"x-backtalk-session": f"s{number}"}
            gateway.http.post("/v1/chat/completions", json=body, headers=session)
    shown = responses(gateway, mail)
    assert [one.text for one in shown[::2]] == [one.text for one in shown[1::2]]
    assert {one.prompt_propensity for one in shown} == {0.5}
    assert {one.text for one in shown} == set(SYSTEMS)


def test_a_selector_that_is_missing_leaves_the_policys_own_prompt(gateway, mail):
    policy = serve(mail, NamedSpec(name="composition-echo"), selector="0" * 64)
    answer = gateway.chat(TEXTS[0], model="backtalk:mail").json()
    (response,) = responses(gateway, mail)
    assert (response.prompt_version, response.prompt_propensity) == (policy.prompt_version, None)
    assert json.dumps(answer).count("You help.") == 1
