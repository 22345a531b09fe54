"""Fuzzing: requests generated from the OpenAPI document, and hostile requests."""

import asyncio

import pytest
import schemathesis
from benchmarks.serving import servers
from benchmarks.serving.fuzzer import ApiFuzzer
from benchmarks.serving.hostile import fire, stored_without_key
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from schemathesis import GenerationMode
from schemathesis.checks import negative_data_rejection, positive_data_acceptance

from backtalk.serve import Settings
from backtalk.serve.openapi import make_document
from backtalk.store import Store
from tests.serve.conftest import running_gateway

quick = how(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))


def admin_key(location):
    with Store(location) as store:
        return store.api_keys.add("admin", "admin", project=None, actor="ada")[1]


@pytest.fixture
def locked(tmp_path):
    """Gateway that requires keys, in front of an upstream that accepts anything, and a key."""
    store = str(tmp_path / "feedback.db")
    key = admin_key(store)
    with servers.running(servers.upstream(tmp_path)) as upstream:
        url = f"http://127.0.0.1:{upstream.port}/v1"
        with running_gateway(Settings(store=store, upstreams=({"base_url": url},))) as running:
            running.http.headers["authorization"] = f"Bearer {key}"
            yield running, key


NOT_OURS = [negative_data_rejection, positive_data_acceptance]
"""Checks that do not apply: the upstream validates completion requests, and no schema can express
that feedback fits its interaction."""


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_generated_requests_are_answered_as_documented(locked, mode):
    running, key = locked
    api = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    headers = {"Authorization": f"Bearer {key}"}
    for path, described in make_document()["paths"].items():
        for verb, how_ in described.items():
            if mode is GenerationMode.NEGATIVE and not {"requestBody", "parameters"} & {*how_}:
                continue

            @quick
            @given(api[path][verb].as_strategy(generation_mode=mode))
            def answered_as_described(case):
                case.call_and_validate(headers=headers, excluded_checks=NOT_OURS, timeout=5)

            answered_as_described()


def test_the_openapi_document_has_every_path(locked):
    running, _ = locked
    routes = {route.path for route in running.app.routes if getattr(route, "include_in_schema", 0)}
    described = {path.replace("{name}", "{name:path}") for path in make_document()["paths"]}
    assert described == routes


def test_hostile_requests_are_rejected_and_store_nothing_without_a_key(locked):
    running, key = locked
    interaction = running.chat().json()["id"]
    port = int(running.url.rpartition(":")[2])
    report = asyncio.run(fire(port, ApiFuzzer(key, 7, interaction=interaction).draw(600)))
    assert report.bad == []
    assert report.statuses.total() == 600
    assert running.http.get("/health").json() == {"status": "ok"}
    assert stored_without_key(running.settings.store) == []


def test_a_completion_with_an_empty_user_is_stored(locked):
    running, _ = locked
    running.http.headers["x-backtalk-user"] = ""
    interaction = running.chat().json()["id"]
    with running.store as store:
        assert store.interaction(interaction).user is None
