"""Completions with the prompt template of a policy, and what their records say about it."""

import json

import pytest

from backtalk.feedback import as_prompt
from backtalk.models import Completion, FunctionModel, register_model
from backtalk.models.spec import EndpointSpec, NamedSpec
from backtalk.policy import Policy, PromptTemplate, save_policy
from backtalk.policy.prompt_template import Example
from backtalk.promotion import promote
from backtalk.store import Store

TOOL = {
    "type": "function",
    "function": {"name": "look_up", "description": "Old.", "parameters": {}},
}
TEMPLATE = PromptTemplate(
    rules=("Be brief.", "Name the hour."),
    demonstrations=(Example(prompt=as_prompt("Open on Monday?"), answer="From nine."),),
    tools={"look_up": "Looks up the hours of a day."},
)
OWN_MESSAGES = [
    {"role": "system", "content": "You answer for a shop.\n\nBe brief.\nName the hour."},
    {"role": "user", "content": "Open on Monday?"},
    {"role": "assistant", "content": "From nine."},
]


@register_model("prompt-echo")
def prompt_echo():
    def say(request):
        tools = request.options.get("tools") or []
        text = json.dumps([[m.text for m in request.messages], tools])
        return Completion(text=text, model="prompt-echo")

    return FunctionModel(say, name="prompt-echo")


@pytest.fixture
def mail(gateway):
    with Store(gateway.settings.store, project="mail") as store:
        yield store


def serve(store, model, **fields):
    policy = Policy(model=model, system="You answer for a shop.", prompt=TEMPLATE, **fields)
    save_policy(store, policy)
    promote(store, policy, actor="ada")
    return policy


def responses(gateway, store):
    gateway.store.close()
    return [response for case in store.cases() for response in case.interaction.responses]


@pytest.mark.parametrize("stream", [False, True])
def test_a_forwarded_request_has_the_rules_demonstrations_and_descriptions(
    gateway, upstream, mail, stream
):
    policy = serve(mail, EndpointSpec(model="tuned", base_url=upstream.url))
    own_system = {"role": "system", "content": "Own."}
    question = {"role": "user", "content": "Open on Sunday?"}
    answer = gateway.chat(
        model="backtalk:mail", messages=[own_system, question], tools=[TOOL], stream=stream
    )
    assert answer.status_code == 200
    (body,) = upstream.bodies
    system, *turns = OWN_MESSAGES
    merged = {"role": "system", "content": system["content"] + "\n\nOwn."}
    assert body["messages"] == [merged, *turns, question]
    function = body["tools"][0]["function"]
    assert function == {**TOOL["function"], "description": "Looks up the hours of a day."}
    (response,) = responses(gateway, mail)
    assert response.prompt_version == policy.prompt_version
    assert response.memory == ()
    (case,) = mail.cases()
    assert [message.text for message in case.interaction.prompt] == ["Own.", "Open on Sunday?"]
    assert case.interaction.metadata["gateway"]["request"]["tools"] == [TOOL]


def test_a_decoder_reads_the_same_prompt(gateway, mail):
    policy = serve(mail, NamedSpec(name="prompt-echo"))
    answer = gateway.chat("Open on Sunday?", model="backtalk:mail", tools=[TOOL]).json()
    texts, tools = json.loads(answer["choices"][0]["message"]["content"])
    assert texts == [*(message["content"] for message in OWN_MESSAGES), "Open on Sunday?"]
    assert tools[0]["function"]["description"] == "Looks up the hours of a day."
    (response,) = responses(gateway, mail)
    assert response.prompt_version == policy.prompt_version


def test_each_prompt_of_a_text_completion_names_the_prompt_version(gateway, mail):
    policy = serve(mail, NamedSpec(name="prompt-echo"))
    body = {"model": "backtalk:mail", "prompt": ["a", "b"], "n": 2}
    assert gateway.http.post("/v1/completions", json=body).status_code == 200
    versions = [response.prompt_version for response in responses(gateway, mail)]
    assert versions == [policy.prompt_version] * 4


def test_tools_that_are_no_objects_are_left_as_they_are(gateway, upstream, mail):
    serve(mail, EndpointSpec(model="tuned", base_url=upstream.url))
    upstream_tools = [TOOL, {"type": "other"}]
    gateway.chat(model="backtalk:mail", tools=upstream_tools)
    assert upstream.bodies[0]["tools"][1] == {"type": "other"}


def test_answers_of_the_upstream_name_no_prompt(gateway):
    gateway.chat("Hello")
    with gateway.store as store:
        (case,) = store.cases()
    assert case.interaction.responses[0].prompt_version is None
