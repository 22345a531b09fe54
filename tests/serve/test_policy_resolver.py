"""Completions of promoted policies, with all parts of a policy."""

import json

import openai
import pytest

from backtalk.decode import BestOfN, Sample
from backtalk.feedback import Annotator, Preference
from backtalk.learn import TrainingSet, get_method
from backtalk.models import Completion, FunctionModel, RateLimited, Sampling, Usage, register_model
from backtalk.models.spec import EndpointSpec, NamedSpec
from backtalk.policy import Policy, save_policy
from backtalk.promotion import promote
from backtalk.run import Run
from backtalk.serve import Settings
from backtalk.store import Store
from tests.serve.conftest import running_gateway
from tests.serve.upstream import ScriptedReply


@register_model("serve-test")
def model(*, fail: bool = False):
    def say(request):
        if fail:
            raise RateLimited("Too many", "Wait")
        tools = request.options.get("tools")
        content = f"{request.sample_index} {request.messages[0].text} {request.sampling.max_tokens}"
        text = content + (" tools" if tools else "")
        usage = Usage(1, 2, 3)
        return Completion(text=text, log_probability=-1.5, usage=usage, model="serve-test")

    return FunctionModel(say, name="serve-test")


@pytest.fixture
def mail(gateway):
    with Store(gateway.settings.store, project="mail") as store:
        yield store


def save_and_promote(store, policy):
    save_policy(store, policy)
    return promote(store, policy, actor="ada")


def test_a_prompt_policy_is_applied_to_its_endpoint(gateway, upstream, mail):
    sampling = Sampling(temperature=0.25, max_tokens=50, stop=("END",))
    policy = Policy(
        model=EndpointSpec(model="tuned", base_url=upstream.url),
        system="Be brief.",
        decoder=Sample(sampling=sampling),
        name="brief",
    )
    save_and_promote(mail, policy)
    answer = gateway.chat(
        "Hello", model="backtalk:mail", temperature=1.5, max_completion_tokens=20, stop="X", n=2
    )
    body = upstream.bodies[0]
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]
    assert (body["model"], body["temperature"], body["stop"]) == ("tuned", 0.25, ["END", "X"])
    assert body["max_completion_tokens"] == 20
    assert "max_tokens" not in body
    assert answer.headers["x-backtalk-policy"] == policy.id
    id_ = answer.json()["id"]
    assert id_.startswith("mail:")
    gateway.chat("Again", model="backtalk:mail/brief", stream=True)
    assert upstream.bodies[1]["max_tokens"] == 50
    assert gateway.feedback({"interaction": id_, "thumb": "up"}).status_code == 201
    gateway.store.close()
    first, second = mail.cases()
    interaction = first.interaction
    assert (interaction.id, interaction.policy, interaction.propensity) == (id_, policy.id, 1.0)
    assert [m.text for m in interaction.prompt] == ["Hello"]
    assert len(interaction.responses) == 2
    assert len(first.feedback) == 1
    assert (second.interaction.policy, second.interaction.propensity) == (policy.id, None)
    assert second.interaction.responses[0].text == "You said: Again"


def test_a_policy_without_an_address_is_answered_by_the_gateways_upstream(gateway, upstream, mail):
    save_and_promote(mail, Policy(model=EndpointSpec(model="small"), system="S"))
    assert gateway.chat("Hi", model="backtalk:mail").status_code == 200
    assert upstream.bodies[0]["messages"][0] == {"role": "system", "content": "S"}


def test_sampling_that_the_policy_leaves_open_is_the_requests(gateway, upstream, mail):
    save_and_promote(mail, Policy(model=EndpointSpec(model="small", base_url=upstream.url)))
    gateway.chat("Hi", model="backtalk:mail")
    assert set(upstream.bodies[0]) == {"model", "messages"}
    gateway.chat("Hi", model="backtalk:mail", temperature=0.3, max_tokens=9)
    assert (upstream.bodies[1]["temperature"], upstream.bodies[1]["max_tokens"]) == (0.3, 9)


@pytest.mark.parametrize("stream", [False, True])
def test_the_limit_that_a_model_takes_is_found_out_once(gateway, upstream, mail, stream):
    model = f"reasoning-{stream}"
    sampling = Sampling(max_tokens=50)
    spec = EndpointSpec(model=model, base_url=upstream.url)
    save_and_promote(mail, Policy(model=spec, decoder=Sample(sampling=sampling)))
    message = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens'."
    upstream.next.append(ScriptedReply(400, {"error": {"message": message}}))
    for _ in range(2):
        assert gateway.chat("Hi", model="backtalk:mail", stream=stream).status_code == 200
    limits = [
        (body.get("max_tokens"), body.get("max_completion_tokens")) for body in upstream.bodies
    ]
    assert limits == [(50, None), (None, 50), (None, 50)]


def test_other_errors_of_the_upstream_are_forwarded(gateway, upstream, mail):
    sampling = Sampling(temperature=0.2, max_tokens=50)
    spec = EndpointSpec(model="strict", base_url=upstream.url)
    save_and_promote(mail, Policy(model=spec, decoder=Sample(sampling=sampling)))
    message = "Unsupported value: 'temperature' does not support 0.2 with this model."
    upstream.next.append(ScriptedReply(400, {"error": {"message": message}}))
    answer = gateway.chat("Hi", model="backtalk:mail")
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)
    assert len(upstream.bodies) == 1


def test_without_an_upstream_and_an_address_nothing_is_sent(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-no-consent")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    settings = Settings(store=str(tmp_path / "s.db"), keys="never")
    with running_gateway(settings) as gateway:
        with gateway.store as store:
            save_and_promote(store, Policy(model=EndpointSpec(model="small"), name="plain"))
        answer = gateway.chat("Hi", model="backtalk:default")
    assert answer.status_code == 502
    assert "has no address" in answer.text
    assert "--upstream" in answer.text


def test_best_of_n_stores_the_hidden_candidates(gateway, mail):

    reward = learned_reward(mail)
    policy = Policy(
        model=NamedSpec(name="serve-test"),
        decoder=BestOfN(n=4, reward=reward),
        system="word " * 5,
    )
    save_and_promote(mail, policy)
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="x", max_retries=0)
    messages = [{"role": "user", "content": "Which?"}]
    answer = client.chat.completions.create(
        model="backtalk:mail", messages=messages, n=2, max_tokens=7, tools=[{"type": "function"}]
    )
    with client.chat.completions.stream(
        model="backtalk:mail", messages=messages, stream_options={"include_usage": True}
    ) as stream:
        final = stream.get_final_completion()
    assert final.usage.total_tokens == 4 * 5
    gateway.store.close()
    interactions = [c.interaction for c in mail.cases() if c.interaction.policy == policy.id]
    assert [interaction.id for interaction in interactions] == [answer.id, final.id]
    interaction = interactions[0]
    assert interaction.shown == ("0", "1")
    assert len(interaction.responses) == 8
    for choice in answer.choices:
        shown = interaction.response(str(choice.index))
        assert shown.text == choice.message.content
        assert shown.text.endswith("7 tools")
        assert shown.log_probability == -1.5
        assert shown.model == "serve-test"
        scores = [r.metadata["score"] for r in interaction.responses]
        assert shown.metadata["score"] == max(scores)
    assert interactions[1].responses[0].text == final.choices[0].message.content
    assert len(interactions[1].responses) == 4


def learned_reward(store):
    from backtalk.feedback import Interaction

    for i in range(30):
        interaction = Interaction.of(f"Which {i}?", f"{i % 7} a", f"{i % 7} a b c d")
        ada = Annotator.human("ada")
        store.add(
            interaction,
            Preference(interaction=interaction.id, annotator=ada, a="0", b="1", verdict="b"),
        )
    import asyncio

    parent = Policy(model=NamedSpec(name="serve-test"))
    method = get_method("best-of-n")
    learned = asyncio.run(method.learn(parent, TrainingSet(store, split="all"), Run()))
    return learned.decoder.reward


def test_errors_of_a_policy_have_openais_shape(gateway, mail):
    save_policy(mail, Policy(model=NamedSpec(name="serve-test", options={"fail": True}), name="f"))
    answer = gateway.chat("Hi", model="backtalk:mail/f")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    for name in ("backtalk:mail", "backtalk:mail/none", "backtalk:none"):
        answer = gateway.chat("Hi", model=name)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    bad = gateway.chat("Hi", model="backtalk:mail/f", n=0)
    assert (bad.status_code, bad.json()["error"]["param"]) == (400, "n")
    with Store(gateway.settings.store) as store:
        assert store.projects() == ["default", "mail"]


def test_plain_completions_by_a_policy(gateway, mail):
    save_policy(mail, Policy(model=NamedSpec(name="serve-test"), name="p"))
    body = {"model": "backtalk:mail/p", "prompt": ["a", "b"], "max_tokens": 3}
    answer = gateway.http.post("/v1/completions", json=body).json()
    assert [choice["text"] for choice in answer["choices"]] == ["0 a 3", "0 b 3"]
    events = gateway.http.post("/v1/completions", json={**body, "prompt": "a", "stream": True}).text
    first = json.loads(events.split("\n\n")[0].removeprefix("data: "))
    assert first["choices"][0]["text"] == "0 a 3"
    assert events.endswith("data: [DONE]\n\n")


def test_models_lists_policies_too(gateway, mail, upstream):
    save_and_promote(mail, Policy(model=NamedSpec(name="serve-test"), name="p"))
    listed = gateway.http.get("/v1/models").json()["data"]
    assert [item["id"] for item in listed] == ["backtalk:mail", "backtalk:mail/p", "small"]
    assert gateway.http.get("/v1/models/backtalk:mail/p").json()["owned_by"] == "backtalk"
    assert gateway.http.get("/v1/models/backtalk:mail/q").status_code == 404
    upstream.always = ScriptedReply(status=500)
    assert len(gateway.http.get("/v1/models").json()["data"]) == 2


def test_promoted_policies_answer_while_the_store_is_unavailable_even_after_a_restart(
    gateway, settings, mail, tmp_path
):
    save_and_promote(mail, Policy(model=NamedSpec(name="serve-test"), system="S"))
    mail.close()
    assert gateway.chat("Hi", model="backtalk:mail").status_code == 200
    (tmp_path / "feedback.db").rename(tmp_path / "gone")
    with running_gateway(settings.model_copy(update={"shutdown_timeout": 0.2})) as restarted:
        answer = restarted.chat("Hi", model="backtalk:mail").json()
        assert answer["choices"][0]["message"]["content"].startswith("0 S")
        assert restarted.chat("Hi", model="backtalk:mail/x").status_code == 503
    (tmp_path / "gone").rename(tmp_path / "feedback.db")


def test_a_promotion_takes_effect(gateway, mail):
    import time

    for system in ("one", "two"):
        policy = Policy(model=NamedSpec(name="serve-test"), system=system)
        if system == "one":
            save_and_promote(mail, policy)
        else:
            from backtalk.promotion import Promotion

            save_policy(mail, policy)
            entry = Promotion(action="promote", policy=policy.id)
            mail.events.append("promotion", entry.to_json(), actor="ada", after=1)
        for _ in range(100):
            answer = gateway.chat("Hi", model="backtalk:mail").json()
            text = answer["choices"][0]["message"]["content"]
            if f" {system} " in text:
                break
            time.sleep(0.1)
        assert f" {system} " in text


def test_a_hanging_store_blocks_no_request(settings, monkeypatch):
    impatient = settings.model_copy(update={"acknowledge_after": 0.2})
    with running_gateway(impatient) as gateway, Store(settings.store, project="mail") as mail:
        check_hanging_store(gateway, mail, monkeypatch)


def check_hanging_store(gateway, mail, monkeypatch):
    import threading
    import time

    save_and_promote(mail, Policy(model=NamedSpec(name="serve-test"), system="S"))
    assert gateway.chat("Hi", model="backtalk:mail").status_code == 200
    services = gateway.app.state.services
    assert services.writer.drain(60)
    release = threading.Event()
    monkeypatch.setattr(services.connection, "_check_file", lambda: release.wait(60))
    time.sleep(1.2)
    started = time.monotonic()
    for _ in range(3):
        id_ = gateway.chat("Hi", model="backtalk:mail").json()["id"]
    assert time.monotonic() - started < 30
    answer = gateway.feedback({"interaction": id_, "thumb": "up"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    release.set()
    assert services.writer.drain(60)
    assert len(list(mail.feedback())) == 1
