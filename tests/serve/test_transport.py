"""Framing of requests and responses: encodings, streams without a type, large events, headers."""

import gzip
import json
import re
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.serve.gateway.sse import EventSplitter, replace_first_id, split_data
from backtalk.serve.gateway.stream_usage import hide_usage
from tests.serve.conftest import running_gateway
from tests.serve.raw_upstream import DONE, chat_reply, event
from tests.serve.test_disconnects import gateway_before
from tests.serve.upstream import ScriptedReply

STREAM = event({"role": "assistant", "content": "Hel"}) + event({"content": "lo."}, "stop") + DONE


def only_interaction(gateway):
    with gateway.store as store:
        (case,) = store.cases()
    return case.interaction


def encode(name, data):
    if name == "raw deflate":
        compressor = zlib.compressobj(wbits=-15)
        return compressor.compress(data) + compressor.flush()
    return gzip.compress(data) if name == "gzip" else zlib.compress(data)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["gzip", "deflate", "raw deflate"])
def test_an_upstream_that_compresses_is_decoded_and_stored(settings, name, stream):
    async def compress(upstream, connection, body):
        plain, kind = chat_reply().encode(), "application/json"
        if json.loads(body).get("stream"):
            plain, kind = STREAM, "text/event-stream"
        data = encode(name, plain)
        encoding = {"content-encoding": name.split()[-1], "content-type": kind}
        await connection.head({**encoding, "content-length": str(len(data))})
        for byte in data:
            await connection.write(bytes([byte]))

    with gateway_before(settings, compress) as (gateway, upstream):
        with gateway.http.stream(
            "POST",
            "/v1/chat/completions",
            json={"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": stream},
        ) as answer:
            content = b"".join(answer.iter_raw())
        assert "content-encoding" not in answer.headers
        id_ = answer.headers["x-backtalk-interaction"].encode()
        expected = STREAM if stream else chat_reply().encode()
        assert content == expected.replace(b'"id": "up"', b'"id": "' + id_ + b'"')
        assert only_interaction(gateway).responses[0].text == "Hello."
        assert upstream.requests[0][1]["accept-encoding"] == "identity"


def test_an_error_that_is_compressed_can_be_read(gateway, upstream):
    body = {"error": {"message": "flagged"}}
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    upstream.next.append(ScriptedReply(400, gzip.compress(json.dumps(body).encode()), headers))
    answer = gateway.chat("Hi")
    assert (answer.status_code, answer.json()) == (400, body)


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/moderations"])
def test_an_unknown_encoding_passes_as_it_came(gateway, upstream, *, path, stream, status):
    headers = {"content-encoding": "aes128gcm", "content-type": "application/json"}
    upstream.always = ScriptedReply(status, b"\x01\x02secret", headers)
    answer = gateway.http.post(path, json={"model": "m", "messages": [], "stream": stream})
    assert (answer.status_code, answer.content) == (status, b"\x01\x02secret")
    assert answer.headers["content-encoding"] == "aes128gcm"
    with gateway.store as store:
        assert store.counts() == {"interaction": 0}


def test_a_compressed_answer_that_is_cut_off_is_an_error(gateway, upstream):
    data = gzip.compress(chat_reply().encode())[:-4]
    upstream.always = ScriptedReply(200, data, {"content-encoding": "gzip"})
    answer = gateway.chat("Hi")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_broke_off")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/moderations"])
@pytest.mark.parametrize("name", ["gzip", "deflate", "raw deflate"])
def test_a_compressed_request_is_read_and_sent_on_without_its_encoding(
    gateway, upstream, name, path
):
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "input": "Hi"}
    answer = gateway.http.post(
        path,
        content=encode(name, json.dumps(body).encode()),
        headers={"content-encoding": name.split()[-1], "content-type": "application/json"},
    )
    assert answer.status_code == 200
    assert upstream.bodies == [body]
    assert "content-encoding" not in upstream.headers[0]


@pytest.mark.parametrize(
    ("content", "encoding", "status", "word"),
    [
        (lambda: gzip.compress(b"A" * 60_000_000), "gzip", 413, "limits.body_bytes"),
        (lambda: gzip.compress(b"{}")[:-2], "gzip", 400, "gzip"),
        (lambda: b"{}", "gzip", 400, "gzip"),
        (lambda: b"{}", "aes128gcm", 415, "aes128gcm"),
    ],
    ids=["too large", "cut", "not compressed", "unknown"],
)
def test_encoded_requests_that_cannot_be_read_are_refused(
    gateway, *, content, encoding, status, word
):
    answer = gateway.http.post(
        "/v1/chat/completions", content=content(), headers={"content-encoding": encoding}
    )
    assert answer.status_code == status
    assert word in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("limits", "path", "size", "status"),
    [
        ({"body_bytes": 200}, "/v1/chat/completions", 300, 413),
        ({"body_bytes": 200}, "/v1/moderations", 300, 413),
        ({"endpoint_bytes": {"/v1/moderations": 200}}, "/v1/moderations", 300, 413),
        ({"endpoint_bytes": {"/v1/moderations": 200}}, "/v1/chat/completions", 300, 200),
        ({"body_bytes": 200, "endpoint_bytes": {"/v1/mod": 900}}, "/v1/moderations", 300, 200),
        ({}, "/v1/chat/completions", 21_000_000, 200),
        ({}, "/v1/feedback", 21_000_000, 413),
    ],
)
def test_sizes_are_limited_by_endpoint(settings, limits, path, size, status):
    fields = settings.limits.model_copy(update=limits)
    with running_gateway(settings.model_copy(update={"limits": fields})) as gateway:
        body = {"model": "m", "messages": [{"role": "user", "content": "x" * size}]}
        assert gateway.http.post(path, json=body).status_code == status


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain; charset=utf-8", "application/octet-stream", "application/json"],
)
@pytest.mark.parametrize("start", [b"", b": ping\n\n", b"\xef\xbb\xbf", b"\n\n", b"event: x\n"])
def test_a_stream_that_is_not_labelled_comes_piece_by_piece(settings, content_type, start):
    async def pause(upstream, connection, body):
        kind = {} if content_type is None else {"content-type": content_type}
        await connection.head({**kind, "transfer-encoding": "chunked"})
        await connection.part(start + event({"content": "Hel"}))
        await upstream.until_released()
        await connection.part(event({"content": "lo."}, "stop") + DONE)
        await connection.write(b"0\r\n\r\n")

    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    with (
        gateway_before(settings, pause) as (gateway, upstream),
        gateway.http.stream("POST", "/v1/chat/completions", json=body) as answer,
    ):
        pieces = answer.iter_raw()
        data = next(pieces)
        while b"Hel" not in data:
            data += next(pieces)
        upstream.release.set()
        data += b"".join(pieces)
        assert answer.headers["content-type"].startswith("text/event-stream")
        id_ = answer.headers["x-backtalk-interaction"]
        expected = start + event({"content": "Hel"}) + event({"content": "lo."}, "stop") + DONE
        assert data == expected.replace(b'"id": "up"', f'"id": "{id_}"'.encode())
        assert only_interaction(gateway).responses[0].text == "Hello."


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
def test_a_whole_answer_to_a_request_for_a_stream_stays_whole(gateway, upstream, content_type):
    upstream.next.append(ScriptedReply(200, chat_reply().encode(), {"content-type": content_type}))
    answer = gateway.chat("Hi", stream=True)
    assert answer.json()["id"] == answer.headers["x-backtalk-interaction"]
    assert only_interaction(gateway).responses[0].text == "Hello."


def test_a_stream_without_a_last_line_break_is_read_to_its_end(gateway, upstream):
    data = event({"content": "Hello."}, "stop").rstrip()
    upstream.next.append(ScriptedReply(200, data, {"content-type": "text/event-stream"}))
    answer = gateway.chat("Hi", stream=True)
    assert f'"id": "{answer.headers["x-backtalk-interaction"]}"' in answer.text
    assert only_interaction(gateway).responses[0].text == "Hello."


@pytest.mark.parametrize("id_first", [True, False])
def test_a_large_event_is_forwarded_and_stored_whole(settings, id_first):
    picture = {"type": "image_url", "image_url": {"url": "data:;base64," + "A" * 1_000_000}}
    large = event({"content": "drawn", "images": [picture]})
    if not id_first:
        large = large.replace(b'"id": "up", ', b"").replace(b"}\n\n", b', "id": "up"}\n\n')

    async def draw(upstream, connection, body):
        await connection.head({"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        for start in range(0, len(large), 4096):
            await connection.part(large[start : start + 4096])
        await connection.part(event({"content": "."}, "stop") + DONE)
        await connection.write(b"0\r\n\r\n")

    with gateway_before(settings, draw) as (gateway, _):
        answer = gateway.chat("Draw", stream=True)
        id_ = answer.headers["x-backtalk-interaction"]
        expected = large + event({"content": "."}, "stop") + DONE
        assert answer.content == expected.replace(b'"id": "up"', f'"id": "{id_}"'.encode())
        assert only_interaction(gateway).responses[0].text == "drawn."


def test_headers_of_a_connection_are_not_forwarded(gateway, upstream):
    headers = {
        "expect": "100-continue",
        "connection": "keep-alive, X-Hop",
        "x-hop": "1",
        "proxy-connection": "keep-alive",
        "te": "trailers",
        "referer": "http://localhost/",
        "x-kept": "1",
    }
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    upstream.next.append(
        ScriptedReply(200, chat_reply().encode(), {"access-control-allow-origin": "*", "x-up": "1"})
    )
    answer = gateway.http.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.headers["x-up"] == "1"
    assert "access-control-allow-origin" not in answer.headers
    (seen,) = upstream.headers
    assert {"expect", "x-hop", "proxy-connection", "te", "referer"}.isdisjoint(seen)
    assert seen["x-kept"] == "1"


def test_a_key_of_the_upstream_replaces_every_key_of_the_caller(settings, upstream, monkeypatch):
    monkeypatch.setenv("TEST_UPSTREAM_KEY", "of-upstream")
    (only,) = settings.upstreams
    keyed = only.model_copy(update={"api_key_env": "TEST_UPSTREAM_KEY"})
    with running_gateway(settings.model_copy(update={"upstreams": (keyed,)})) as gateway:
        keys = {"authorization": "Bearer mine", "api-key": "mine", "x-api-key": "mine"}
        gateway.http.post("/v1/moderations", json={}, headers=keys)
        gateway.http.post(
            "/v1/moderations", json={}, headers={**keys, "anthropic-version": "2023-06-01"}
        )
    plain, anthropic = upstream.headers
    assert plain["authorization"] == anthropic["authorization"] == "Bearer of-upstream"
    assert {"api-key", "x-api-key"}.isdisjoint(plain)
    assert anthropic["x-api-key"] == "of-upstream"


LINES = st.sampled_from([b"data: 1", b"data:2", b": ping", b"event: x", b"id: 7"])


@given(
    st.lists(st.lists(LINES, min_size=1, max_size=3), max_size=6),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_events_are_split_alike_however_the_bytes_arrive(events, line_break, sizes):
    blocks = [line_break.join(lines) + 2 * line_break for lines in events]
    stream, splitter, got = b"".join(blocks) + b"data: rest", EventSplitter(), []
    position, turn = 0, 0
    while position < len(stream):
        size = sizes[turn % len(sizes)]
        got += splitter.feed(stream[position : position + size])
        position, turn = position + size, turn + 1
    assert b"".join(got) + splitter.remainder == stream
    assert [part.strip(b"\r\n") for part in got] == [block.strip(b"\r\n") for block in blocks]


class CountingBuffer(bytearray):
    """Buffer that counts the bytes that are searched."""

    searched = 0

    def find(self, sub, start=0, *end):
        index = super().find(sub, start, *end)
        stop = min([len(self), *end]) if index < 0 else index + len(sub)
        self.searched += max(0, stop - start)
        return index


@pytest.mark.parametrize("blanks", [[b"\n\n"], [b"\r\n\r\n"], [b"\r\r"], [b"\n\n", b"\r\r"]])
def test_each_byte_is_searched_a_few_times_whatever_the_line_break(blanks):
    events = [b"data: 1" + blanks[i % len(blanks)] for i in range(2_000)]
    splitter = EventSplitter()
    splitter._buffer = buffer = CountingBuffer()
    assert list(splitter.feed(b"".join(events))) == events
    assert buffer.searched <= 4 * sum(map(len, events))


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b":"]), max_size=30))
def test_an_event_ends_with_the_first_blank_line(parts):
    stream = b"".join(parts)
    ends = [blank.end() for blank in re.finditer(rb"\n\n|\n\r\n?|\r\r\n?", stream)]
    events = [stream[start:end] for start, end in pairwise([0, *ends])]
    splitter = EventSplitter()
    assert list(splitter.feed(stream)) == events
    assert splitter.remainder == stream[sum(map(len, events)) :]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (b"data: 1\n\n", (b"data: ", b"1", b"\n\n")),
        (b"data:1\r\n\r\n", (b"data:", b"1", b"\r\n\r\n")),
        (b"\ndata: 1\n\n", (b"\ndata: ", b"1", b"\n\n")),
        (b"id: 5\ndata: 1\nretry: 3\n\n", (b"id: 5\ndata: ", b"1", b"\nretry: 3\n\n")),
        (b'event: e\ndata: {"a":\ndata: 1}\n\n', (b"event: e\ndata: ", b'{"a": 1}', b"\n\n")),
        (b": ping\n\n", (b": ping\n\n", b"", b"")),
        (b"data: 1", (b"data: ", b"1", b"")),
    ],
)
def test_the_data_of_an_event_is_apart_from_its_other_lines(text, parts):
    assert split_data(text) == parts


def test_an_id_is_replaced_without_parsing_only_if_it_comes_first():
    assert replace_first_id(b'{ "id" : "a\\"b", "x": 1', "new") == b'{ "id" : "new", "x": 1'
    assert replace_first_id('{"id":"ü","x":"ü"}'.encode(), "n") == '{"id":"n","x":"ü"}'.encode()
    assert replace_first_id(b'{"x": {"id": "a"}}', "new") is None


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ('{"choices":[],"usage":{"total_tokens":7}}', None),
        ('{"choices":[{}],"usage":null}', '{"choices":[{}]}'),
        ('{"choices":[{}], "usage" : null , "x":1}', '{"choices":[{}] , "x":1}'),
        ('{"usage":null,"choices":[{}]}', '{"choices":[{}]}'),
        ('{"choices":[{}],"usage":{"total_tokens":7}}',) * 2,
        ('{"choices":[{}]}',) * 2,
        ('{"choices":[],"usage":{},"error":{}}',) * 2,
        ('{"choices":[{"delta":{"content":",\\"usage\\":null"}}],"usage":null}',
         '{"choices":[{"delta":{"content":",\\"usage\\":null"}}]}'),
    ],
)  # fmt: skip
def test_usage_is_hidden_and_nothing_else(text, visible):
    assert hide_usage(json.loads(text), text) == visible


USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stream_options": None},
        {"stream_options": {"include_usage": False}},
        {"stream_options": {"include_obfuscation": False}},
    ],
)
def test_the_usage_of_a_stream_is_stored_and_hidden_from_a_caller_who_did_not_request_it(
    gateway, upstream, path, options
):
    body = {"model": "m", "stream": True, "prompt": "Hi", **options}
    if "chat" in path:
        body["messages"] = [{"role": "user", "content": "Hi"}]
    answer = gateway.http.post(path, json=body)
    assert "usage" not in answer.text
    assert answer.text.endswith("[DONE]\n\n")
    (sent,) = upstream.bodies
    assert sent["stream_options"]["include_usage"] is True
    kept = options.get("stream_options") or {}
    assert {**sent["stream_options"], **kept} == {**kept, "include_usage": kept.get(
        "include_usage", True)}  # fmt: skip
    assert only_interaction(gateway).metadata["gateway"]["usage"] == USAGE


def test_the_option_for_usage_is_the_only_change_of_the_bytes(settings):
    async def stream(upstream, connection, body):
        await connection.whole(STREAM, content_type="text/event-stream")

    raw_body = b'{ "model":"m", "temperature":1.50, "stream":true, "messages":[], "n":1e0 }\n'
    with gateway_before(settings, stream) as (gateway, upstream):
        gateway.http.post("/v1/chat/completions", content=raw_body)
        changed = raw_body.strip()[:-1] + b',"stream_options":{"include_usage":true}}'
        assert upstream.requests[0][2] == changed


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "Unknown parameter: 'stream_options'", "param": "stream_options"}},
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": ""}]},
    ],
)  # fmt: skip
def test_an_upstream_that_rejects_the_option_gets_the_request_without_it(
    gateway, upstream, error, request
):
    model = f"old-{request.node.name}"
    upstream.next.append(ScriptedReply(422, body=error))
    for requests in (2, 3):
        assert gateway.chat("Hi", model=model, stream=True).status_code == 200
        assert len(upstream.bodies) == requests
        assert "stream_options" not in upstream.bodies[-1]


def test_another_error_is_not_answered_by_a_second_request(gateway, upstream):
    upstream.next.append(ScriptedReply(400))
    assert gateway.chat("Hi", stream=True).status_code == 400
    assert len(upstream.bodies) == 1
