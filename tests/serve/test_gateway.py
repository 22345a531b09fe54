"""The gateway forwards the upstream's responses and stores them."""

import json
import socket

import httpx2
import openai
import pytest

from tests.serve.conftest import running_gateway
from tests.serve.upstream import ScriptedReply, events_of, reply_of

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


@pytest.fixture
def client(gateway):
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="secret", max_retries=0)


def only_case(gateway):
    with gateway.store as store:
        (case,) = store.cases()
    return case


def test_a_completion_equals_the_upstreams_except_for_its_id(gateway, upstream):
    options = {"temperature": 0.5, "unknown_field": {"deep": [1, None]}}
    answer = gateway.chat("Hello", user="bo", **options)
    assert answer.status_code == 200
    id_ = answer.json()["id"]
    assert answer.headers["x-backtalk-interaction"] == id_
    assert answer.headers["x-request-id"] == "up-1"
    body = upstream.bodies[0]
    assert body["unknown_field"] == options["unknown_field"]
    expected = json.dumps(reply_of(body), separators=(",", ":"))
    assert answer.text == expected.replace('"chatcmpl-up"', f'"{id_}"', 1)
    interaction = only_case(gateway).interaction
    assert (interaction.id, interaction.user, interaction.prompt[0].text) == (id_, "bo", "Hello")
    assert [(r.id, r.text, r.model) for r in interaction.responses] == [
        ("0", "You said: Hello", "small-2026")
    ]
    metadata = interaction.metadata["gateway"]
    assert metadata["request"] == {"model": "small", **options}
    assert metadata["usage"]["total_tokens"] == 7


def test_headers_of_the_gateway_are_not_forwarded(gateway, upstream):
    gateway.http.post(
        "/v1/chat/completions",
        json={"model": "small", "messages": [{"role": "user", "content": "Hi"}]},
        headers={"x-backtalk-user": "bo", "x-backtalk-session": "s", "cookie": "a=b", "x-own": "1"},
    )
    seen = upstream.headers[0]
    assert not [name for name in seen if name.startswith("x-backtalk")]
    assert "cookie" not in seen
    assert seen["x-own"] == "1"
    interaction = only_case(gateway).interaction
    assert (interaction.user, interaction.session) == ("bo", "s")


def test_a_stream_equals_the_upstreams_except_for_its_id(gateway, upstream):
    answer = gateway.chat("Hello there", stream=True, stream_options={"include_usage": True}, n=2)
    id_ = answer.headers["x-backtalk-interaction"]
    assert answer.content == upstream.sent.replace(b'"chatcmpl-up"', f'"{id_}"'.encode())
    interaction = only_case(gateway).interaction
    assert interaction.id == id_
    assert [r.text for r in interaction.responses] == ["You said: Hello there"] * 2
    assert interaction.metadata["gateway"]["usage"]["completion_tokens"] == 4
    assert "cut" not in interaction.metadata["gateway"]


def test_the_openai_client_sees_no_difference(client, gateway):
    messages = [{"role": "user", "content": "Hello"}]
    whole = client.chat.completions.create(model="small", messages=messages, n=2)
    assert [choice.message.content for choice in whole.choices] == ["You said: Hello"] * 2
    with client.chat.completions.stream(
        model="small", messages=messages, stream_options={"include_usage": True}
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "You said: Hello"
    assert final.usage.total_tokens == 7
    with_tool = client.chat.completions.create(model="small", messages=messages, tools=[TOOL])
    assert with_tool.choices[0].message.tool_calls[0].function.arguments == '{"a": 1}'
    text = client.completions.create(model="small", prompt="Once")
    assert text.choices[0].text == "You said: Once"
    assert client.embeddings.create(model="e", input="x", encoding_format="float").data[
        0
    ].embedding == [0.5, 1.0]
    assert [model.id for model in client.models.list()] == ["small"]
    with gateway.store as store:
        interactions = [case.interaction for case in store.cases()]
    assert [interaction.id for interaction in interactions] == [
        whole.id,
        final.id,
        with_tool.id,
        text.id,
    ]
    assert interactions[2].responses[0].messages[0].tool_calls[0]["function"]["name"] == "look_up"
    assert interactions[2].metadata["gateway"]["request"]["tools"] == [TOOL]
    assert interactions[3].prompt[0].text == "Once"


def test_the_asynchronous_openai_client_streams(gateway):
    import asyncio

    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="k") as client:
            stream = await client.chat.completions.create(
                model="small",
                messages=[{"role": "user", "content": "Hi"}],
                tools=[TOOL],
                stream=True,
            )
            return [chunk async for chunk in stream]

    chunks = asyncio.run(ask())
    assert len({chunk.id for chunk in chunks}) == 1
    interaction = only_case(gateway).interaction
    assert interaction.id == chunks[0].id
    call = interaction.responses[0].messages[0].tool_calls[0]
    assert call["function"] == {"name": "look_up", "arguments": '{"a": 1}'}
    assert call["id"] == "chatcmpl-up"


def test_each_prompt_of_a_plain_completion_is_an_interaction(gateway, upstream):
    choices = [{"index": i, "text": f"t{i}", "finish_reason": "stop"} for i in range(4)]
    upstream.next.append(
        ScriptedReply(body={**reply_of({"model": "m", "prompt": "x"}), "choices": choices})
    )
    answer = gateway.http.post(
        "/v1/completions", json={"model": "m", "prompt": ["a", "b"], "n": 2}
    ).json()
    with gateway.store as store:
        interactions = [case.interaction for case in store.cases()]
    assert [(t.id, t.prompt[0].text, [r.text for r in t.responses]) for t in interactions] == [
        (answer["id"], "a", ["t0", "t1"]),
        (f"{answer['id']}-1", "b", ["t2", "t3"]),
    ]


def test_unknown_endpoints_are_forwarded(gateway, upstream):
    answer = gateway.http.post("/v1/vector_stores/search?after=a%2Fb", json={"x": 1})
    assert answer.json() == {"path": "/v1/vector_stores/search", "method": "POST", "body": {"x": 1}}
    assert upstream.paths == ["/v1/vector_stores/search?after=a%2Fb"]
    assert gateway.http.request("DELETE", "/v1/batches/f").json()["method"] == "DELETE"
    assert gateway.http.get("/v1/models/small").json()["path"] == "/v1/models/small"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/%2e%2e/secret",
        "/v1/a/..%2fb",
        "/v1/chat/completions/%2e%2e",
        "/v1/files/%2e%2e",
        "/v1/files/%2e%2e/content",
        "/v1/files/a%5cb",
        "/v1/fine_tuning/jobs/%2e%2e",
        "/v1/fine_tuning/jobs/%2e/events",
    ],
)
def test_a_path_that_leaves_that_of_the_upstream_is_refused(gateway, upstream, path):
    assert gateway.http.get(path).status_code == 400
    assert upstream.paths == []


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"", 400, "JSON"),
        (b"{", 400, "JSON"),
        (b"[]", 400, "object"),
        (b"{}", 400, "model"),
        (b'{"model": 1}', 400, "model"),
        (b"[" * 100_000, 400, "JSON"),
        (b'{"model": "backtalk:nowhere", "messages": []}', 404, "nowhere"),
    ],
)
def test_errors_have_openais_shape(gateway, body, status, word):
    answer = gateway.http.post("/v1/chat/completions", content=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert word in error["message"]
    assert set(error) == {"message", "type", "param", "code"}


def test_an_error_of_the_upstream_is_forwarded(client, upstream, gateway):
    body = {"error": {"message": "bad thing", "type": "t", "param": "messages", "code": "c"}}
    upstream.next.append(ScriptedReply(400, body, {"x-special": "yes"}))
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="small", messages=[])
    assert caught.value.code == "c"
    assert caught.value.response.headers["x-special"] == "yes"
    upstream.next.append(ScriptedReply(418, b"<html>teapot</html>"))
    answer = gateway.chat()
    assert answer.status_code == 418
    assert "teapot" in answer.json()["error"]["message"]
    with gateway.store as store:
        assert store.counts() == {"interaction": 0}


def test_a_broken_stream_ends_with_an_error_and_is_stored_in_part(client, gateway, upstream):
    upstream.next.append(ScriptedReply(break_after=3))
    stream = client.chat.completions.create(
        model="small", messages=[{"role": "user", "content": "one two three"}], stream=True
    )
    with pytest.raises(openai.APIError, match="broke off"):
        list(stream)
    interaction = only_case(gateway).interaction
    assert interaction.responses[0].text == "You said: one"
    assert interaction.metadata["gateway"]["cut"] == "by the upstream"


def test_a_stream_that_breaks_after_the_end_of_its_answer_is_stored_as_whole(gateway, upstream):
    upstream.next.append(ScriptedReply(break_after=4))
    answer = gateway.chat("one", stream=True)
    assert "broke off" in answer.text
    interaction = only_case(gateway).interaction
    assert interaction.responses[0].text == "You said: one"
    assert "cut" not in interaction.metadata["gateway"]


def test_a_stream_closed_by_the_caller_is_stored_in_part(client, gateway, upstream):
    upstream.next.append(ScriptedReply(wait=0.1))
    stream = client.chat.completions.create(
        model="small", messages=[{"role": "user", "content": "a b c d e f g h"}], stream=True
    )
    next(iter(stream))
    stream.close()
    for _ in range(100):
        with gateway.store as store:
            results = list(store.cases())
        if results:
            break
    interaction = results[0].interaction
    assert interaction.metadata["gateway"]["cut"] == "by the caller"
    assert interaction.responses[0].text.startswith("You")


def test_malformed_completions_are_forwarded(gateway, upstream):
    for body in (b"not json", b"[]", b'{"choices": 3}', b'{"id": 5, "choices": []}'):
        upstream.next.append(ScriptedReply(200, body))
        answer = gateway.chat()
        assert answer.status_code == 200
    odd = {"choices": [{"message": {"content": "x\ud800\0"}}, {"message": None}, {"index": 0}]}
    upstream.next.append(ScriptedReply(200, json.dumps(odd).encode()))
    answer = gateway.chat()
    assert answer.json() == {**odd, "id": answer.headers["x-backtalk-interaction"]}
    interaction = only_case(gateway).interaction
    assert interaction.responses[0].text == "x\ufffd\0"
    assert len(interaction.responses) == 3


def test_an_invalid_chat_prompt_is_stored_as_json(gateway):
    body = {"model": "small", "messages": [{"role": "alien", "content": "Hi"}]}
    assert gateway.http.post("/v1/chat/completions", json=body).status_code == 200
    assert json.loads(only_case(gateway).interaction.prompt[0].text) == body["messages"]


def test_a_body_that_is_too_large_is_refused(settings):
    small = settings.model_copy(
        update={"limits": settings.limits.model_copy(update={"body_bytes": 100})}
    )
    with running_gateway(small) as gateway:
        assert gateway.chat("x" * 200).status_code == 413

        def pieces():
            for _ in range(10):
                yield b"x" * 50

        answer = gateway.http.post("/v1/chat/completions", content=pieces())
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "body_too_large"


def test_a_body_that_is_declared_too_large_is_refused_before_it_is_received(settings):
    small = settings.model_copy(
        update={"limits": settings.limits.model_copy(update={"body_bytes": 100})}
    )
    with running_gateway(small) as gateway:
        url = httpx2.URL(gateway.url)
        for path in (b"chat/completions", b"feedback", b"moderations", b"responses"):
            for size in (b"101", b"000101", b"9" * 18):
                with socket.create_connection((url.host, url.port), timeout=10) as connection:
                    connection.sendall(
                        b"POST /v1/" + path + b" HTTP/1.1\r\nhost: localhost\r\n"
                        b"content-type: application/json\r\ncontent-length: " + size + b"\r\n\r\n"
                    )
                    assert connection.recv(100).startswith(b"HTTP/1.1 413 "), (path, size)


def test_the_events_of_the_test_server_are_those_of_the_protocol():
    from openai.types.chat import ChatCompletionChunk

    for event in events_of({"model": "m", "messages": [{"content": "a b"}], "tools": [TOOL]}):
        ChatCompletionChunk.model_validate(event)
