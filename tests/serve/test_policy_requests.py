"""Requests to which a policy is applied: system messages, parameters and lone surrogates."""

import json

import pytest

from backtalk.decode import BestOfN, Sample
from backtalk.feedback import Message
from backtalk.models import Completion, FunctionModel, register_model
from backtalk.models.spec import EndpointSpec, NamedSpec
from backtalk.policy import Policy, PromptTemplate, save_policy
from backtalk.policy.prompt_template import Example
from backtalk.promotion import promote
from backtalk.store import Store
from tests.serve.conftest import running_gateway
from tests.serve.test_policy_resolver import learned_reward
from tests.serve.upstream import ScriptedReply, reply_of

ANSWER = ScriptedReply(body=reply_of({"model": "tuned", "messages": [{"content": "Hi"}]}))
USER = {"role": "user", "content": "Open?"}
PART = {"type": "text", "text": "A shop.", "cache_control": {"type": "ephemeral"}}


@register_model("roles-echo")
def roles_echo():
    def say(request):
        text = json.dumps([[m.role, m.text] for m in request.messages])
        return Completion(text=text, model="roles-echo")

    return FunctionModel(say, name="roles-echo")


def serve(gateway, **fields):
    with Store(gateway.settings.store, project="mail") as store:
        policy = Policy(**fields)
        save_policy(store, policy)
        promote(store, policy, actor="ada")


def ask(gateway, messages, **fields):
    body = {"model": "backtalk:mail", "messages": messages, **fields}
    raw_body = json.dumps(body).encode()
    return gateway.http.post(
        "/v1/chat/completions", content=raw_body, headers={"content-type": "application/json"}
    )


def sent(upstream):
    return upstream.bodies[-1]["messages"]


@pytest.mark.parametrize(
    ("callers", "merged"),
    [
        (
            [{"role": "system", "content": "A shop."}],
            {"role": "system", "content": "Be brief.\n\nA shop."},
        ),
        (
            [{"role": "developer", "content": "A shop."}],
            {"role": "system", "content": "Be brief.\n\nA shop."},
        ),
        (
            [{"role": "system", "content": "A."}, {"role": "developer", "content": "B."}],
            {"role": "system", "content": "Be brief.\n\nA.\n\nB."},
        ),
        (
            [{"role": "system", "content": [PART], "name": "shop"}],
            {
                "role": "system",
                "content": [
                    {"type": "text", "text": "Be brief."},
                    {"type": "text", "text": "\n\n"},
                    PART,
                ],
                "name": "shop",
            },
        ),
        ([{"role": "system", "content": ""}], {"role": "system", "content": "Be brief."}),
        ([{"role": "system", "content": None}], {"role": "system", "content": "Be brief."}),
        ([], {"role": "system", "content": "Be brief."}),
    ],
)
def test_the_policys_system_prompt_and_the_callers_are_one_first_message(
    gateway, upstream, callers, merged
):
    model = EndpointSpec(model="tuned", base_url=upstream.url)
    serve(gateway, model=model, system="Be brief.")
    later = [USER, {"role": "system", "content": "From now on: French."}, USER]
    assert ask(gateway, [*callers, *later]).status_code == 200
    assert sent(upstream) == [merged, *later]


def test_a_policy_without_a_system_prompt_leaves_the_callers_as_they_are(gateway, upstream):
    serve(gateway, model=EndpointSpec(model="tuned", base_url=upstream.url))
    messages = [{"role": "developer", "content": "A."}, {"role": "system", "content": "B."}, USER]
    ask(gateway, messages)
    assert sent(upstream) == messages


def test_demonstrations_follow_the_callers_system_message(gateway, upstream):
    example = Example(prompt=(Message.user("Monday?"),), answer="Yes.")
    template = PromptTemplate(demonstrations=(example,))
    model = EndpointSpec(model="tuned", base_url=upstream.url)
    serve(gateway, model=model, prompt=template)
    system = {"role": "system", "content": "A shop."}
    ask(gateway, [system, USER])
    demonstration = [
        {"role": "user", "content": "Monday?"},
        {"role": "assistant", "content": "Yes."},
    ]
    assert sent(upstream) == [system, *demonstration, USER]


def test_a_model_on_this_machine_reads_one_system_message_too(gateway):
    serve(gateway, model=NamedSpec(name="roles-echo"), system="Be brief.")
    answer = ask(gateway, [{"role": "developer", "content": "A shop."}, USER]).json()
    roles = json.loads(answer["choices"][0]["message"]["content"])
    assert roles == [["system", "Be brief.\n\nA shop."], ["user", "Open?"]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("samples", [1, 2])
def test_a_policy_adds_no_parameter_that_its_recipe_does_not_set(
    gateway, upstream, stream, samples
):
    model = EndpointSpec(model="tuned", base_url=upstream.url)
    with Store(gateway.settings.store, project="mail") as store:
        decoder = Sample() if samples == 1 else BestOfN(n=samples, reward=learned_reward(store))
    serve(gateway, model=model, decoder=decoder)
    answer = ask(gateway, [USER], stream=stream)
    assert answer.status_code == 200
    allowed = {"model", "messages", "stream", "stream_options", "seed", "n"}
    assert set(upstream.bodies[0]) <= allowed


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "cut \ud83d"}],
        [{"role": "system", "content": "\udc00"}, USER],
        [{"role": "user", "content": [{"type": "text", "text": "cut \ud83d"}]}],
    ],
)
def test_lone_surrogates_reach_the_upstream_as_they_came(gateway, upstream, messages, stream):
    model = EndpointSpec(model="tuned", base_url=upstream.url)
    serve(gateway, model=model, system="Be brief.")
    if not stream:
        upstream.next.append(ANSWER)
    assert ask(gateway, messages, stream=stream, user="bo\ud83d").status_code == 200
    assert sent(upstream)[-1] == messages[-1]
    if messages[0]["role"] == "system":
        assert sent(upstream)[0]["content"] == "Be brief.\n\n\udc00"


def test_lone_surrogates_pass_an_upstream_with_another_model_name(settings, upstream):
    (only,) = settings.upstreams
    other = settings.model_copy(update={"upstreams": (only.model_copy(update={"model": "other"}),)})
    with running_gateway(other) as gateway:
        messages = [{"role": "user", "content": "cut \ud83d"}]
        upstream.next.append(ANSWER)
        assert ask(gateway, messages, model="m").status_code == 200
        assert (upstream.bodies[0]["model"], sent(upstream)) == ("other", messages)
        with gateway.store as store:
            (case,) = store.cases()
        assert case.interaction.prompt[0].text == "cut \ufffd"


def test_models_on_this_machine_read_lone_surrogates_as_replacement_characters(gateway):
    serve(gateway, model=NamedSpec(name="roles-echo"))
    answer = ask(gateway, [{"role": "user", "content": "cut \ud83d"}], user="bo\ud83d")
    assert answer.status_code == 200
    assert "\ufffd" in json.loads(answer.json()["choices"][0]["message"]["content"])[0][1]
