"""Callers who leave: nothing is requested, retried or stored for nobody."""

import json
import socket
import time
from contextlib import contextmanager

import pytest

from backtalk.models.spec import EndpointSpec
from backtalk.policy import Policy, save_policy
from backtalk.promotion import promote
from backtalk.store import Store
from tests.serve.conftest import running_gateway
from tests.serve.raw_upstream import DONE, chat_reply, event, raw_upstream

MESSAGES = [{"role": "user", "content": "Hi"}]
SECONDS = 30


async def hang(upstream, connection, body):
    await upstream.until_disconnected(connection)


@contextmanager
def gateway_before(settings, handler, **retry):
    with raw_upstream(handler) as upstream:
        (only,) = settings.upstreams
        changed = settings.model_copy(
            update={
                "upstreams": (only.model_copy(update={"base_url": upstream.url}),),
                "retry": settings.retry.model_copy(update={"read_timeout": 60.0, **retry}),
            }
        )
        with running_gateway(changed) as gateway:
            yield gateway, upstream


def open_request(gateway, path, method="POST", **body):
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)))
    content = json.dumps(body).encode() if body else b""
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


def wait_for_status(gateway, status):
    until = time.monotonic() + SECONDS
    while f'status="{status}"' not in gateway.http.get("/metrics").text:
        assert time.monotonic() < until
        time.sleep(0.01)


def promote_endpoint(gateway):
    with Store(gateway.settings.store, project="mail") as store:
        policy = Policy(model=EndpointSpec(model="tuned"))
        save_policy(store, policy)
        promote(store, policy, actor="ada")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "m", "messages": MESSAGES}),
        ("/v1/chat/completions", {"model": "m", "messages": MESSAGES, "stream": True}),
        ("/v1/chat/completions", {"model": "backtalk:mail", "messages": MESSAGES}),
        ("/v1/completions", {"model": "m", "prompt": "Hi"}),
        ("/v1/embeddings", {"model": "m", "input": "Hi"}),
        ("/v1/moderations", {"model": "m", "input": "Hi"}),
    ],
)
def test_the_upstream_is_let_go_when_the_caller_leaves_before_the_answer(settings, path, body):
    with gateway_before(settings, hang) as (gateway, upstream):
        promote_endpoint(gateway)
        connection = open_request(gateway, path, **body)
        assert upstream.received.wait(SECONDS)
        connection.close()
        assert upstream.disconnected.wait(SECONDS)
        wait_for_status(gateway, 499)
        assert len(upstream.requests) == 1
        with gateway.store as store:
            assert store.counts() == {"interaction": 0}


@pytest.mark.parametrize("path", ["/v1/files", "/v1/chat/completions/ID"])
def test_the_upstream_is_let_go_when_the_caller_of_an_object_leaves(settings, path):
    async def answer(upstream, connection, body):
        if body:
            await connection.whole(chat_reply().encode())
        else:
            upstream.release.set()
            await upstream.until_disconnected(connection)

    with gateway_before(settings, answer) as (gateway, upstream):
        id_ = gateway.chat("Hi").json()["id"]
        connection = open_request(gateway, path.replace("ID", id_), method="GET")
        assert upstream.release.wait(SECONDS)
        connection.close()
        assert upstream.disconnected.wait(SECONDS)
        wait_for_status(gateway, 499)


@pytest.mark.parametrize("failure", ["closed", "503"])
def test_nothing_is_retried_for_a_caller_who_left(settings, failure):
    async def fail(upstream, connection, body):
        if failure == "closed":
            connection.writer.close()
        else:
            await connection.whole(b"{}", 503)

    with gateway_before(settings, fail, backoff=20.0, max_backoff=20.0) as (gateway, upstream):
        connection = open_request(gateway, "/v1/chat/completions", model="m", messages=MESSAGES)
        assert upstream.received.wait(SECONDS)
        connection.close()
        wait_for_status(gateway, 499)
        assert len(upstream.requests) == 1


@pytest.mark.parametrize(("finish_reason", "cut"), [(None, "by the caller"), ("stop", None)])
def test_the_upstream_is_let_go_when_the_caller_leaves_a_stream_that_pauses(
    settings, finish_reason, cut
):
    async def begin(upstream, connection, body):
        await connection.head({"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        await connection.part(event({"content": "Hel"}, finish_reason))
        await upstream.until_disconnected(connection)

    with gateway_before(settings, begin) as (gateway, upstream):
        connection = open_request(
            gateway, "/v1/chat/completions", model="m", messages=MESSAGES, stream=True
        )
        data = b""
        while b"Hel" not in data:
            data += connection.recv(65536)
        connection.close()
        assert upstream.disconnected.wait(SECONDS)
        until = time.monotonic() + SECONDS
        cases = []
        while not cases and time.monotonic() < until:
            with gateway.store as store:
                cases = list(store.cases())
        (case,) = cases
        assert case.interaction.responses[0].text == "Hel"
        assert case.interaction.metadata["gateway"].get("cut") == cut


def test_an_answer_that_takes_longer_than_the_watch_begins_is_complete(settings):
    async def slow(upstream, connection, body):
        await upstream.until_released()
        if json.loads(body).get("stream"):
            await connection.head({"content-type": "text/event-stream", "connection": "close"})
            await connection.write(event({"content": "Hello."}, "stop") + DONE)
            connection.writer.close()
        else:
            await connection.whole(chat_reply().encode(), content_type="application/json")

    with gateway_before(settings, slow) as (gateway, upstream):
        connection = open_request(gateway, "/v1/chat/completions", model="m", messages=MESSAGES)
        assert upstream.received.wait(SECONDS)
        time.sleep(0.1)
        upstream.release.set()
        assert b"200 OK" in connection.recv(65536)
        assert gateway.chat("Hi", stream=True).text.endswith("[DONE]\n\n")
        connection.close()
        with gateway.store as store:
            texts = [case.interaction.responses[0].text for case in store.cases()]
        assert texts == ["Hello.", "Hello."]
