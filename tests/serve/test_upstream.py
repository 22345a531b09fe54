"""Failing upstreams: retries, fallback and circuit breaking."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.serve.auth import TokenBuckets
from backtalk.serve.backends.circuit_breaker import CircuitBreaker
from backtalk.serve.backends.upstream import parse_retry_after
from tests.serve.conftest import running_gateway, serving
from tests.serve.upstream import ScriptedReply, make_upstream

NOWHERE = "http://127.0.0.1:9/v1"


def with_upstreams(settings, *urls, **retry):
    return settings.model_copy(
        update={
            "upstreams": tuple(
                settings.upstreams[0].model_copy(update={"base_url": url, **more})
                for url, more in urls
            ),
            "retry": settings.retry.model_copy(update=retry),
        }
    )


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_transient_failure_is_retried(gateway, upstream, status):
    upstream.next += [ScriptedReply(status), ScriptedReply(status)]
    answer = gateway.chat("Hi")
    assert answer.status_code == 200
    assert len(upstream.bodies) == 3
    with gateway.store as store:
        assert store.counts() == {"interaction": 1}


def test_a_permanent_failure_is_forwarded(gateway, upstream):
    upstream.always = ScriptedReply(500)
    answer = gateway.chat("Hi")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "scripted")
    assert len(upstream.bodies) == 3
    upstream.always = ScriptedReply(400)
    assert gateway.chat("Hi").status_code == 400
    assert len(upstream.bodies) == 4


def test_retry_after_is_honoured(gateway, upstream):
    upstream.next.append(ScriptedReply(429, headers={"retry-after": "0.3"}))
    started = time.monotonic()
    assert gateway.chat("Hi").status_code == 200
    assert time.monotonic() - started > 0.3
    upstream.next.append(ScriptedReply(429, headers={"retry-after": "60"}))
    answer = gateway.chat("Hi")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") is None
    assert parse_retry_after("nan") is None
    assert parse_retry_after("-1") is None


def test_requests_that_may_have_been_processed_are_not_retried(gateway, upstream):
    upstream.next.append(ScriptedReply(500))
    assert gateway.http.post("/v1/batches", json={}).status_code == 500
    upstream.next.append(ScriptedReply(503))
    assert gateway.http.post("/v1/batches", json={}).status_code == 200
    upstream.next.append(ScriptedReply(500))
    assert gateway.http.get("/v1/batches").status_code == 200


def test_a_started_stream_is_not_retried(gateway, upstream):
    upstream.next.append(ScriptedReply(break_after=1))
    assert "broke off" in gateway.chat("Hi", stream=True).text
    assert len(upstream.bodies) == 1


def test_a_slow_upstream_times_out(settings, upstream):
    upstream.always = ScriptedReply(wait=2)
    with running_gateway(
        with_upstreams(settings, (upstream.url, {}), read_timeout=0.1, max_attempts=1)
    ) as gateway:
        answer = gateway.chat("Hi")
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")


def test_the_next_upstream_is_the_fallback(settings, upstream):
    app, second = make_upstream()
    with serving(app) as url:
        fallback = (f"{url}/v1", {"model": "other"})
        with running_gateway(with_upstreams(settings, (NOWHERE, {}), fallback)) as gateway:
            answer = gateway.chat("Hi").json()
            assert second.bodies[0]["model"] == "other"
            with gateway.store as store:
                (case,) = store.cases()
            assert case.interaction.metadata["gateway"]["upstream"] == f"{url}/v1"
            assert case.interaction.id == answer["id"]
        upstream.always = ScriptedReply(429)
        with running_gateway(with_upstreams(settings, (upstream.url, {}), fallback)) as gateway:
            assert gateway.chat("Hi").status_code == 200


def test_a_circuit_breaker_prefers_the_fallback_until_the_upstream_recovers(settings, upstream):
    app, second = make_upstream()
    with serving(app) as url:
        both = with_upstreams(
            settings, (upstream.url, {}), (f"{url}/v1", {}), failure_threshold=2, open_seconds=1.0
        )
        with running_gateway(both) as gateway:
            upstream.always = ScriptedReply(503)
            assert [gateway.chat("Hi").status_code for _ in range(5)] == [200] * 5
            assert len(upstream.bodies) == 2 * settings.retry.max_attempts
            assert len(second.bodies) == 5
            upstream.always = None
            time.sleep(1.1)
            assert gateway.chat("Hi").status_code == 200
            assert gateway.chat("Hi").status_code == 200
            assert len(second.bodies) == 5


def test_the_only_upstream_is_tried_although_its_breaker_is_open(settings, upstream):
    with running_gateway(
        with_upstreams(settings, (upstream.url, {}), failure_threshold=1)
    ) as gateway:
        upstream.always = ScriptedReply(503)
        assert gateway.chat("Hi").json()["error"]["code"] == "scripted"
        assert gateway.http.get("/ready").status_code == 503
        sent = len(upstream.bodies)
        assert gateway.chat("Hi").json()["error"]["code"] == "scripted"
        assert len(upstream.bodies) == sent + 1, "it is not retried"
        upstream.always = None
        assert gateway.chat("Hi").status_code == 200
        assert gateway.http.get("/ready").status_code == 200


def test_upstreams_that_all_fail_are_tried_once_each(settings, upstream):
    with running_gateway(
        with_upstreams(settings, (NOWHERE, {}), (upstream.url, {}), failure_threshold=1)
    ) as gateway:
        upstream.always = ScriptedReply(502)
        gateway.chat("Hi")
        sent = len(upstream.bodies)
        assert gateway.chat("Hi").status_code == 502
        upstream.always = None
        assert gateway.chat("Hi").status_code == 200
        assert len(upstream.bodies) == sent + 2


@pytest.mark.parametrize("status", [400, 401, 404, 408, 422, 429, 500, 501])
def test_answers_of_an_upstream_do_not_open_its_circuit_breaker(settings, upstream, status):
    one_try = with_upstreams(settings, (upstream.url, {}), failure_threshold=1, max_attempts=1)
    with running_gateway(one_try) as gateway:
        upstream.always = ScriptedReply(status)
        assert gateway.chat("Hi").status_code == status
        (only,) = gateway.app.state.services.upstreams.configured
        assert not only.breaker.is_open


@pytest.mark.parametrize("reply", [ScriptedReply(status) for status in (502, 503, 504)])
def test_a_failure_with_all_its_retries_counts_once(settings, upstream, reply):
    with running_gateway(
        with_upstreams(settings, (upstream.url, {}), failure_threshold=2)
    ) as gateway:
        upstream.always = reply
        (only,) = gateway.app.state.services.upstreams.configured
        gateway.chat("Hi")
        assert len(upstream.bodies) == 3
        assert not only.breaker.is_open
        gateway.chat("Hi")
        assert only.breaker.is_open


def test_a_breaker_that_opens_in_the_middle_of_a_request_leaves_the_caller_its_answer(
    settings, upstream
):
    slow = with_upstreams(settings, (upstream.url, {}), backoff=0.4, failure_threshold=1)
    with running_gateway(slow) as gateway:
        (only,) = gateway.app.state.services.upstreams.configured
        error = {"error": {"message": "mine"}}
        upstream.next += [ScriptedReply(500, body=error), ScriptedReply(500, body=error)]
        with ThreadPoolExecutor(1) as executor:
            answer = executor.submit(gateway.chat, "Hi")
            while not upstream.bodies:
                time.sleep(0.01)
            only.breaker.record_failure()
            assert (answer.result().status_code, answer.result().json()) == (500, error)
        assert len(upstream.bodies) == 1


@pytest.mark.parametrize(
    ("status", "headers", "attempts"),
    [
        (429, {"x-should-retry": "false"}, 1),
        (500, {"x-should-retry": "false"}, 1),
        (400, {"x-should-retry": "true"}, 3),
        (409, {"x-should-retry": "true", "retry-after-ms": "1"}, 3),
        (429, {"retry-after-ms": "1", "retry-after": "60"}, 3),
        (429, {"retry-after-ms": "60000", "retry-after": "0"}, 1),
        (429, {"retry-after-ms": "soon", "retry-after": "60"}, 1),
        (503, {"retry-after-ms": "-1"}, 3),
        (529, {}, 3),
        (501, {}, 1),
    ],
)
def test_an_upstream_says_whether_and_when_to_retry(gateway, upstream, status, headers, attempts):
    upstream.always = ScriptedReply(status, headers=headers)
    answer = gateway.chat("Hi")
    assert answer.status_code == status
    assert len(upstream.bodies) == attempts
    assert {name: answer.headers[name] for name in headers} == headers


def test_an_unreachable_upstream_is_named(settings):
    with running_gateway(with_upstreams(settings, (NOWHERE, {}))) as gateway:
        answer = gateway.chat("Hi")
    assert answer.status_code == 502
    assert NOWHERE in answer.json()["error"]["message"]


def test_the_key_of_an_upstream_replaces_the_callers(settings, upstream, monkeypatch):
    monkeypatch.setenv("TEST_UPSTREAM_KEY", "of-upstream")
    keyed = with_upstreams(settings, (upstream.url, {"api_key_env": "TEST_UPSTREAM_KEY"}))
    body = {"model": "m", "messages": []}
    for current, expected in ((keyed, "Bearer of-upstream"), (settings, "Bearer of-caller")):
        with running_gateway(current) as gateway:
            gateway.http.post(
                "/v1/chat/completions", json=body, headers={"authorization": "Bearer of-caller"}
            )
        assert upstream.headers[-1]["authorization"] == expected


@given(st.lists(st.sampled_from(["fail", "succeed", "give up", "wait"]), max_size=40))
def test_a_circuit_breaker_opens_after_consecutive_failures_and_allows_one_probe(actions):
    now = [0.0]
    breaker = CircuitBreaker(failure_threshold=3, open_seconds=1.0, clock=lambda: now[0])
    failures = 0
    for action in actions:
        if action == "wait":
            now[0] += 0.6
            continue
        if not breaker.allow_request():
            assert failures >= 3
            continue
        if breaker.is_open:
            assert not breaker.allow_request()
        if action == "fail":
            failures += 1
            breaker.record_failure()
        elif action == "succeed":
            failures = 0
            breaker.record_success()
        else:
            breaker.record_cancellation()
        assert breaker.is_open == (failures >= 3)


@given(st.lists(st.floats(0, 3), min_size=1, max_size=50), st.floats(0.2, 5), st.integers(1, 5))
def test_a_token_bucket_allows_no_more_than_its_rate_and_burst(pauses, rate, burst):
    now = [0.0]
    buckets = TokenBuckets(rate=rate, burst=burst, clock=lambda: now[0])
    times = []
    for pause in pauses:
        now[0] += pause
        if buckets.take("k") == 0:
            times.append(now[0])
    for i, start in enumerate(times):
        for j in range(i, len(times)):
            assert j - i + 1 <= burst + rate * (times[j] - start) + 1e-6
