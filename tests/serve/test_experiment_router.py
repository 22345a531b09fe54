"""Experiments in the gateway: routing of requests, logging and decisions."""

import contextlib
import json
import time
from collections import Counter

import pytest

from backtalk.evaluate.storage import list_evaluations
from backtalk.experiments import (
    DecisionRule,
    Experiment,
    ExperimentReader,
    apply_rules,
    promote_arm,
    read_events,
    start,
    stop,
    summarise,
)
from backtalk.feedback import Annotator, Label
from backtalk.models import Completion, ConnectionFailed, FunctionModel, Usage, register_model
from backtalk.models.spec import EndpointSpec, NamedSpec
from backtalk.policy import Policy, save_policy
from backtalk.promotion import active_policy, promote, promotion_history, rollback
from backtalk.stats import exact_interval
from backtalk.store import Store
from tests.serve.conftest import running_gateway
from tests.serve.upstream import ScriptedReply


@register_model("traffic-test")
def model():
    def say(request):
        return Completion(text=request.messages[0].text, usage=Usage(1, 1, 1), model="traffic-test")

    return FunctionModel(say, name="traffic-test")


@register_model("traffic-broken")
def broken():
    def say(request):
        raise ConnectionFailed("The server is down", "Wait")

    return FunctionModel(say, name="traffic-broken")


def policy(system):
    return Policy(model=NamedSpec(name="traffic-test"), system=system)


CONTROL, GOOD, BAD = policy("control"), policy("good"), policy("bad")
ADA = Annotator.human("ada")


@pytest.fixture
def mail(settings):
    with Store(settings.store, project="mail") as store:
        for policy_ in (CONTROL, GOOD, BAD):
            save_policy(store, policy_)
        promote(store, CONTROL, actor="ada")
        yield store


def start_experiment(store, *candidates, name="trial", **fields):
    ids = tuple(candidate.id for candidate in candidates)
    start(store, Experiment(name=name, control=CONTROL.id, candidates=ids, **fields), actor="ada")


def request_answer(gateway, **fields):
    return gateway.chat("Hi", model="backtalk:mail", **fields)


def texts(answer):
    return [choice["message"]["content"] for choice in answer.json()["choices"]]


def count_answers(gateway, count, **fields):
    """Request answers, and return the number of answers of each policy by its text."""
    return Counter(texts(request_answer(gateway, **fields))[0] for _ in range(count))


def wait_until(condition, seconds=30):
    """Wait until a condition is true; return its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "timed out"
        time.sleep(0.05)
    return value


def request_and_judge(gateway, count, good):
    """Request answers, and give a thumb to each by the rate of its text."""
    rows = []
    for index in range(count):
        answer = request_answer(gateway)
        text = texts(answer)[0]
        thumb = "up" if index % 10 < 10 * good[text] else "down"
        rows.append({"interaction": answer.json()["id"], "thumb": thumb, "user": "bo"})
    assert gateway.feedback(*rows).status_code in {200, 201, 202, 207}


def test_a_fixed_allocation_has_its_shares_and_logs_them(settings, mail):
    start_experiment(mail, GOOD, shares=(0.7, 0.3))
    with running_gateway(settings) as gateway:
        result = count_answers(gateway, 200)
        with gateway.store as store:
            interactions = [case.interaction for case in store.in_project("mail").cases()]
    assert set(result) == {"control", "good"}
    assert not exact_interval(result["good"], 200, level=0.9999).excludes(0.3)
    for interaction in interactions:
        note = interaction.metadata["gateway"]["experiment"]
        assert note == {"name": "trial", "probabilities": {CONTROL.id: 0.7, GOOD.id: 0.3}}
        assert interaction.propensity == note["probabilities"][interaction.policy]
        assert interaction.responses[0].text == (
            "good" if interaction.policy == GOOD.id else "control"
        )
    with Store(settings.store, project="mail") as reopened:
        summary = summarise(ExperimentReader(reopened, "trial").refresh())
    assert summary.impressions == 200
    assert {arm.impressions for arm in summary.arms} == set(result.values())


def test_a_user_keeps_an_arm_in_every_process_and_after_a_restart(settings, mail):
    start_experiment(mail, GOOD, BAD, unit="user")
    users = [f"user {i}" for i in range(25)]
    with running_gateway(settings) as gateway_a, running_gateway(settings) as gateway_b:
        first = {user: texts(request_answer(gateway_a, user=user))[0] for user in users}
        assert {user: texts(request_answer(gateway_b, user=user))[0] for user in users} == first
    with running_gateway(settings) as restarted:
        assert {user: texts(request_answer(restarted, user=user))[0] for user in users} == first
        stop(mail, "trial", arm=BAD.id, actor="ada")
        wait_until(lambda: "bad" not in count_answers(restarted, 30))
        after = {user: texts(request_answer(restarted, user=user))[0] for user in users}
    assert set(first.values()) == {"control", "good", "bad"}
    for user in users:
        assert after[user] == first[user] or first[user] == "bad"


def test_thompson_moves_the_traffic_to_the_better_arm(settings, mail):
    start_experiment(
        mail,
        GOOD,
        allocation="thompson",
        floor=0.1,
        rule=DecisionRule(promote=False, min_judgements=1000),
    )
    with running_gateway(settings) as gateway:
        request_and_judge(gateway, 60, {"control": 0.2, "good": 0.9})
        router = gateway.app.state.services.experiments
        wait_until(lambda: router._running["mail"].allocation.probabilities[GOOD.id] > 0.85)
        result = count_answers(gateway, 40)
    assert result["good"] > result["control"]


def test_a_harmful_arm_is_stopped_and_gets_no_traffic(settings, mail):
    start_experiment(mail, BAD, rule=DecisionRule(min_judgements=20))
    with running_gateway(settings) as gateway:
        request_and_judge(gateway, 80, {"control": 0.9, "bad": 0.1})
        wait_until(lambda: len(read_events(mail)) == 3)
        wait_until(lambda: set(count_answers(gateway, 10)) == {"control"})
    _, stopped, ended = read_events(mail)
    assert (stopped.what.kind, stopped.what.arm, stopped.actor) == ("stopped", BAD.id, "backtalk")
    assert stopped.what.difference.high < 0
    assert (ended.what.kind, ended.what.reason) == ("ended", "no candidate is left")
    assert active_policy(mail).id == CONTROL.id


def test_a_winner_is_promoted_through_the_gate_and_rolled_back_by_hand(settings, mail):
    start_experiment(mail, GOOD, rule=DecisionRule(min_judgements=20))
    with running_gateway(settings) as gateway:
        request_and_judge(gateway, 80, {"control": 0.1, "good": 0.9})
        wait_until(lambda: active_policy(mail).id == GOOD.id)
        wait_until(lambda: set(count_answers(gateway, 10)) == {"good"})
        rollback(mail, actor="ada")
        wait_until(lambda: set(count_answers(gateway, 10)) == {"control"})
    assert [event.what.kind for event in read_events(mail)] == ["started", "promoted"]
    (evaluation,) = list_evaluations(mail, candidate=GOOD.id)
    assert (evaluation.split, evaluation.judge) == ("live", "traffic:thumb")
    assert evaluation.win_rate.low > 0.5
    assert [entry.promotion.evaluation for entry in promotion_history(mail)] == [
        None,
        evaluation.id,
        None,
    ]


def test_a_rollback_ends_the_running_experiment(settings, mail):
    save_policy(mail, BAD)
    with running_gateway(settings) as gateway:
        start_experiment(mail, GOOD)
        wait_until(lambda: "good" in count_answers(gateway, 10))
        rollback(mail, actor="ada")
        wait_until(lambda: request_answer(gateway).status_code == 404)
        wait_until(lambda: read_events(mail)[-1].what.kind == "ended")
    assert read_events(mail)[-1].what.reason == "the project has another active policy now"


def test_two_answers_side_by_side_are_decided_by_a_preference(settings, mail):
    start_experiment(
        mail, GOOD, allocation="dueling", outcome="preference", rule=DecisionRule(min_judgements=20)
    )
    orders = Counter()
    with running_gateway(settings) as gateway:
        rows = []
        for _ in range(60):
            answer = request_answer(gateway, n=2)
            pair = texts(answer)
            orders[tuple(pair)] += 1
            assert "x-backtalk-policy" not in answer.headers
            rows.append(
                {
                    "kind": "preference",
                    "interaction": answer.json()["id"],
                    "annotator": ADA.to_dict(),
                    "a": "0",
                    "b": "1",
                    "verdict": "a" if pair[0] == "good" else "b",
                }
            )
        assert set(count_answers(gateway, 10)) == {"control"}
        assert gateway.feedback(*rows).status_code == 200
        wait_until(lambda: active_policy(mail).id == GOOD.id)
        with gateway.store as store:
            interactions = [case.interaction for case in store.in_project("mail").cases()]
    assert set(orders) == {("control", "good"), ("good", "control")}
    pairs = [interaction for interaction in interactions if len(interaction.responses) == 2]
    for interaction in pairs:
        assert interaction.policy is None
        writers = {response.text: response.policy for response in interaction.responses}
        assert writers == {"good": GOOD.id, "control": CONTROL.id}
    alone = [interaction for interaction in interactions if len(interaction.responses) == 1]
    assert {interaction.policy for interaction in alone} == {CONTROL.id}
    assert not any("experiment" in interaction.metadata["gateway"] for interaction in alone)
    assert summarise(ExperimentReader(mail, "trial").refresh()).judged == 60


def test_a_duel_can_be_streamed(settings, mail):
    start_experiment(mail, GOOD, allocation="dueling", outcome="preference")
    with running_gateway(settings) as gateway:
        stream = request_answer(gateway, n=3, stream=True).text
    events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    content = {}
    for event in events:
        for choice in event["choices"]:
            text = choice["delta"].get("content") or ""
            content[choice["index"]] = content.get(choice["index"], "") + text
    assert set(content) == {0, 1, 2}
    assert set(content.values()) == {"control", "good"}


def test_an_arm_with_an_endpoint_gets_requests_with_its_policy_applied(settings, mail, upstream):
    remote = Policy(model=EndpointSpec(model="writer"), system="Be brief.")
    save_policy(mail, remote)
    start_experiment(mail, remote, shares=(0.01, 0.99))
    with running_gateway(settings) as gateway:
        wait_until(lambda: count_answers(gateway, 5)["You said: Hi"] > 0)
    assert upstream.bodies[0]["messages"][0] == {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    "model", [NamedSpec(name="traffic-broken"), EndpointSpec(model="gone")], ids=["raises", "404"]
)
def test_the_control_answers_if_an_arm_fails(settings, mail, upstream, model):
    upstream.always = ScriptedReply(status=404)
    save_policy(mail, broken := Policy(model=model))
    start_experiment(mail, broken, shares=(0.1, 0.9))
    with running_gateway(settings) as gateway:
        assert count_answers(gateway, 10) == {"control": 10}
        with gateway.store as store:
            interactions = [case.interaction for case in store.in_project("mail").cases()]
    assert {interaction.policy for interaction in interactions} == {CONTROL.id}
    counted = [
        interaction
        for interaction in interactions
        if "experiment" in interaction.metadata["gateway"]
    ]
    assert len(counted) < 10
    assert {interaction.propensity for interaction in interactions} <= {None, 0.1}


def test_two_processes_on_one_store_decide_once(settings, mail):
    start_experiment(mail, GOOD, BAD, rule=DecisionRule(min_judgements=20))
    with running_gateway(settings) as gateway_a, running_gateway(settings) as gateway_b:
        for gateway in (gateway_a, gateway_b):
            request_and_judge(gateway, 100, {"control": 0.5, "good": 1.0, "bad": 0.0})
        wait_until(lambda: read_events(mail)[-1].what.kind == "promoted")
        for gateway in (gateway_a, gateway_b):
            wait_until(lambda gateway=gateway: set(count_answers(gateway, 5)) == {"good"})
    kinds = Counter(event.what.kind for event in read_events(mail))
    assert kinds["started"] == kinds["promoted"] == 1
    assert len(promotion_history(mail)) == 2


def test_routing_continues_while_the_store_is_unavailable_even_after_a_restart(
    settings, mail, tmp_path
):
    start_experiment(mail, GOOD, shares=(0.5, 0.5))
    with running_gateway(settings.model_copy(update={"shutdown_timeout": 0.2})) as gateway:
        assert set(count_answers(gateway, 20)) == {"control", "good"}
        (tmp_path / "feedback.db").rename(tmp_path / "gone")
        assert set(count_answers(gateway, 20)) == {"control", "good"}
    with running_gateway(settings.model_copy(update={"shutdown_timeout": 0.2})) as restarted:
        assert set(count_answers(restarted, 20)) == {"control", "good"}
        (tmp_path / "gone").rename(tmp_path / "feedback.db")
        wait_until(lambda: summarise(ExperimentReader(mail, "trial").refresh()).impressions == 60)


def test_requests_without_an_experiment_or_project_are_unaffected(settings, mail):
    with running_gateway(settings) as gateway:
        answer = request_answer(gateway)
        assert answer.headers["x-backtalk-policy"] == CONTROL.id
        assert gateway.chat("Hi", model="backtalk:nowhere").status_code == 404
        assert "nowhere" not in gateway.app.state.services.experiments._running
        start_experiment(mail, GOOD)
        wait_until(lambda: "good" in count_answers(gateway, 10))
        stop(mail, "trial", actor="ada")
        wait_until(lambda: set(count_answers(gateway, 10)) == {"control"})


def test_a_promotion_interrupted_by_a_crash_is_completed(settings, mail):
    """Promotion takes two steps; any process can carry out the second one."""
    start_experiment(mail, GOOD, rule=DecisionRule(min_judgements=10, promote=False))
    with running_gateway(settings) as gateway:
        request_and_judge(gateway, 60, {"control": 0.0, "good": 1.0})
        with gateway.store:
            pass
    with contextlib.suppress(RuntimeError), pytest.MonkeyPatch.context() as patch:
        patch.setattr("backtalk.experiments.lifecycle.append_event", _die)
        promote_arm(mail, "trial", actor="ada")
    assert [event.what.kind for event in read_events(mail)] == ["started"]
    apply_rules(mail, ExperimentReader(mail, "trial"))
    promoted = read_events(mail)[-1].what
    assert promoted.arm == GOOD.id
    assert promoted.evaluation == promotion_history(mail)[-1].promotion.evaluation
    assert len(promotion_history(mail)) == 2


def _die(*_, **__):
    raise RuntimeError("killed")


def test_deleted_feedback_is_no_longer_counted(settings, mail):
    start_experiment(mail, GOOD)
    with running_gateway(settings) as gateway:
        request_and_judge(gateway, 10, {"control": 1.0, "good": 1.0})
        with gateway.store:
            pass
    reader = ExperimentReader(mail, "trial")
    assert reader.refresh().judged == 10
    for item in list(mail.feedback())[:4]:
        assert isinstance(item, Label)
        mail.delete(item.id)
    assert reader.refresh(check=True).judged == 6
