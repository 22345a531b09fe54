"""Completions with the memory of a policy, and what their records say about it."""

import asyncio
import json
import time

import pytest

from backtalk.feedback import (
    Annotator,
    Interaction,
    Label,
    MemoryUse,
    Response,
    Scope,
    as_prompt,
)
from backtalk.memory import Memory, MemoryEntry, MemorySpec
from backtalk.memory import recall as recall_module
from backtalk.models import Completion, FunctionModel, register_model
from backtalk.models.spec import EndpointSpec, NamedSpec
from backtalk.policy import Policy, save_policy
from backtalk.promotion import promote
from backtalk.store import Store
from tests.serve.conftest import running_gateway

BRIEF = MemoryEntry(kind="principle", text="Be brief.")
METRIC = MemoryEntry(kind="preference", text="Use metric units.", scope=Scope(users=("bo",)))


@register_model("memory-echo")
def memory_echo():
    def say(request):
        text = json.dumps([m.text for m in request.messages])
        return Completion(text=text, model="memory-echo")

    return FunctionModel(say, name="memory-echo")


@pytest.fixture
def mail(gateway):
    with Store(gateway.settings.store, project="mail") as store:
        yield store


def serve(store, model, *entries, withhold=0.0):
    revision = Memory(store).add(entries or [BRIEF, METRIC])
    spec = MemorySpec(revision=revision, withhold=withhold)
    policy = Policy(model=model, memory=spec, system="You answer for a shop.")
    save_policy(store, policy)
    promote(store, policy, actor="ada")
    return policy


def responses(gateway, store):
    gateway.store.close()
    return [response for case in store.cases() for response in case.interaction.responses]


def system_of(body):
    return body["messages"][0]["content"]


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("stream", [False, True])
def test_a_forwarded_request_has_the_entries_of_its_user_and_of_everybody(
    gateway, upstream, mail, stream
):
    policy = serve(mail, EndpointSpec(model="tuned", base_url=upstream.url))
    gateway.chat("How far is it?", model="backtalk:mail", user="bo", stream=stream)
    gateway.chat("How far is it?", model="backtalk:mail", user="cy", stream=stream)
    gateway.chat("How far is it?", model="backtalk:mail", stream=stream)
    own, *others = [system_of(body) for body in upstream.bodies]
    assert own == "You answer for a shop.\n\nBe brief.\nUse metric units."
    assert others == ["You answer for a shop.\n\nBe brief."] * 2
    first, second, third = responses(gateway, mail)
    assert [use.entry for use in first.memory] == [BRIEF.id, METRIC.id]
    assert all(use.shown and use.propensity == 1 for use in first.memory)
    assert [use.entry for use in second.memory] == [use.entry for use in third.memory] == [BRIEF.id]
    assert first.prompt_version == policy.prompt_version


def test_a_decoder_reads_the_same_entries(gateway, mail):
    serve(mail, NamedSpec(name="memory-echo"))
    answer = gateway.chat("How far?", model="backtalk:mail", user="bo", n=2).json()
    for choice in answer["choices"]:
        system, _ = json.loads(choice["message"]["content"])
        assert system.endswith("Be brief.\nUse metric units.")
    assert [len(response.memory) for response in responses(gateway, mail)] == [2, 2]


def test_each_prompt_of_a_text_completion_recalls_its_own_entries(gateway, mail):
    boss = MemoryEntry(
        kind="instruction", text="No emojis.", scope=Scope(where="in mails to my boss")
    )
    serve(mail, NamedSpec(name="memory-echo"), BRIEF, boss)
    prompts = ["Write a mail to my boss.", "Sing a song."]
    gateway.http.post("/v1/completions", json={"model": "backtalk:mail", "prompt": prompts})
    used = [[use.entry for use in response.memory] for response in responses(gateway, mail)]
    assert used == [[BRIEF.id, boss.id], [BRIEF.id]]


def test_the_client_is_told_nothing_about_the_entries(gateway, upstream, mail):
    serve(mail, EndpointSpec(model="tuned", base_url=upstream.url))
    answer = gateway.chat("How far is it?", model="backtalk:mail", user="bo")
    everything = answer.text + json.dumps(dict(answer.headers))
    for secret in (METRIC.id, METRIC.text, BRIEF.id):
        assert secret not in everything


def test_entries_are_withheld_at_random_and_the_record_says_so(gateway, upstream, mail):
    serve(mail, EndpointSpec(model="tuned", base_url=upstream.url), BRIEF, withhold=0.5)
    for number in range(40):
        gateway.chat(f"Question {number}", model="backtalk:mail")
    recorded = responses(gateway, mail)
    shown = [response.memory[0].shown for response in recorded]
    assert shown == ["Be brief." in system_of(body) for body in upstream.bodies]
    assert {response.memory[0].propensity for response in recorded} == {0.5}
    assert 8 <= sum(shown) <= 32


def test_a_conversation_and_a_retry_see_the_same_entries(gateway, upstream, mail):
    entries = [MemoryEntry(kind="principle", text=f"Rule {number}.") for number in range(6)]
    serve(mail, EndpointSpec(model="tuned", base_url=upstream.url), *entries, withhold=0.5)

    def seen(text, **headers):
        body = {"model": "backtalk:mail", "messages": [{"role": "user", "content": text}]}
        gateway.http.post("/v1/chat/completions", json=body, headers=headers)
        return system_of(upstream.bodies[-1])

    turns = {seen(text, **{"x-backtalk-session": "s1"}) for text in ("One", "Two", "Three")}
    assert len(turns) == 1
    assert len({seen("Same", **{"idempotency-key": "k"}) for _ in range(3)}) == 1
    assert len({seen("Same") for _ in range(6)}) > 1


def test_a_conversation_of_requests_that_name_their_parents_sees_the_same_entries(
    gateway, upstream, mail
):
    entries = [MemoryEntry(kind="principle", text=f"Rule {number}.") for number in range(6)]
    serve(mail, EndpointSpec(model="tuned", base_url=upstream.url), *entries, withhold=0.5)
    own = gateway.app.state.services.conversations

    def turn(text, parent):
        body = {"model": "backtalk:mail", "messages": [{"role": "user", "content": text}]}
        headers = {"x-backtalk-parent": parent} if parent else {}
        answer = gateway.http.post("/v1/chat/completions", json=body, headers=headers)
        return answer.json()["id"], system_of(upstream.bodies[-1])

    conversations = []
    for number in range(4):
        turns = [turn(f"Question {number}", None)]
        for text in ("And then?", "Why?"):
            turns.append(turn(text, turns[-1][0]))
        conversations.append(turns)
    assert gateway.app.state.services.writer.drain(10)
    own._units.clear()  # as in another process
    for turns in conversations:
        turns.append(turn("Is that all?", turns[-1][0]))
    seen = [{system for _, system in turns} for turns in conversations]
    assert [len(systems) for systems in seen] == [1, 1, 1, 1]
    assert len(set.union(*seen)) > 1


def test_edits_forgetting_and_undo_take_effect_within_a_second(gateway, upstream, mail):
    serve(mail, EndpointSpec(model="tuned", base_url=upstream.url), BRIEF)
    memory = Memory(mail)

    def system():
        gateway.chat("Hello", model="backtalk:mail")
        return system_of(upstream.bodies[-1])

    assert "Be brief." in system()
    (edit,) = memory.edit(BRIEF.id, text="Be very brief.", actor="ada")
    wait_until(lambda: "Be very brief." in system())
    memory.undo(edit.number, actor="ada")
    wait_until(lambda: "\n\nBe brief." in system())
    memory.forget(BRIEF.id, actor="ada")
    wait_until(lambda: system() == "You answer for a shop.")


async def _fail(*args, **kwargs):
    raise RuntimeError("broken")


async def _hang(*args, **kwargs):
    await asyncio.sleep(60)


PROBLEMS = {
    "failed": (_fail, "failed: RuntimeError"),
    "timed out": (_hang, "not read within 0.2 seconds"),
}


@pytest.mark.parametrize("outcome", PROBLEMS)
def test_a_memory_that_fails_or_is_slow_fails_no_answer(settings, upstream, monkeypatch, outcome):
    recall, note = PROBLEMS[outcome]
    monkeypatch.setattr("backtalk.serve.backends.policy_memories._PREPARE_SECONDS", 0.1)
    monkeypatch.setattr(recall_module.LoadedMemory, "recall", recall)
    with running_gateway(settings.model_copy(update={"memory_timeout": 0.2})) as gateway:
        with Store(settings.store, project="mail") as store:
            serve(store, EndpointSpec(model="tuned", base_url=upstream.url))
            for _ in range(5):
                assert gateway.chat("Hello", model="backtalk:mail").status_code == 200
            gateway.store.close()
            cases = [case.interaction for case in store.cases()]
        metrics = gateway.http.get("/metrics").text
    notes = [case.metadata["gateway"]["memory"] for case in cases]
    assert notes == [note] * 3 + ["skipped, as it kept failing"] * 2
    assert all(case.responses[0].memory == () for case in cases)
    assert f'backtalk_recalls_total{{outcome="{outcome}"}} 3.0' in metrics
    assert 'backtalk_recalls_total{outcome="skipped"} 2.0' in metrics


def test_the_entries_read_last_are_used_while_the_store_is_unavailable(
    gateway, upstream, mail, tmp_path
):
    serve(mail, EndpointSpec(model="tuned", base_url=upstream.url), BRIEF)
    gateway.chat("Hello", model="backtalk:mail")
    gateway.store.close()
    file = tmp_path / "feedback.db"
    file.rename(tmp_path / "away.db")
    time.sleep(1.1)
    gateway.chat("Hello", model="backtalk:mail")
    (tmp_path / "away.db").rename(file)
    assert ["Be brief." in system_of(body) for body in upstream.bodies] == [True, True]


def test_harmful_entries_retire_while_the_gateway_serves(gateway, mail):
    serve(mail, NamedSpec(name="memory-echo"), BRIEF)
    for number in range(120):
        shown = number % 2 == 0
        use = MemoryUse(entry=BRIEF.id, shown=shown, propensity=0.5)
        response = Response(id="0", text="x", memory=(use,))
        interaction = Interaction(
            id=f"i{number}", prompt=as_prompt("Hello"), responses=(response,), user=f"u{number}"
        )
        thumb = Label(
            interaction=interaction.id,
            annotator=Annotator.human(f"u{number}"),
            response="0",
            good=not shown,
        )
        mail.add(interaction, thumb)
    gateway.app.state.services.retirement.check()
    assert Memory(mail).get(BRIEF.id).state == "retired"
