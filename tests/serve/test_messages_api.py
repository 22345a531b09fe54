"""Anthropic's Messages API: by upstreams that have it, by chat completions, and by policies."""

import json

import pytest

from backtalk.decode import Sample
from backtalk.models import Sampling
from backtalk.models.spec import EndpointSpec
from backtalk.policy import Policy, save_policy
from backtalk.promotion import promote
from backtalk.serve.openapi import make_document
from backtalk.store import Store
from tests.serve.conftest import running_gateway, serving
from tests.serve.upstream import ScriptedReply, make_upstream, reply_of

MESSAGES = [{"role": "user", "content": "Hello"}]
TOOL = {"name": "look_up", "input_schema": {"type": "object"}}
MISSING = ScriptedReply(404, b"404 page not found")


def own_message(**fields):
    """Return a message as an upstream with the Messages API writes it."""
    return {
        "id": "msg_up", "type": "message", "role": "assistant", "model": "small-2026",
        "content": [{"type": "thinking", "thinking": "Shops.", "signature": "s"},
                    {"type": "text", "text": "At nine."},
                    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}],
        "stop_reason": "tool_use", "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 2}, **fields,
    }  # fmt: skip


def own_events():
    """Return the events of a message that an upstream streams."""
    begun = own_message(content=[], stop_reason=None)
    blocks = [
        ({"type": "thinking", "thinking": "", "signature": ""},
         [{"type": "thinking_delta", "thinking": "Shops."},
          {"type": "signature_delta", "signature": "s"}]),
        ({"type": "text", "text": ""},
         [{"type": "text_delta", "text": "At "}, {"type": "text_delta", "text": "nine."}]),
        ({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
         [{"type": "input_json_delta", "partial_json": '{"a"'},
          {"type": "input_json_delta", "partial_json": ": 1}"}]),
    ]  # fmt: skip
    events = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": d} for d in deltas]
        events.append({"type": "content_block_stop", "index": index})
    stop = {"stop_reason": "tool_use", "stop_sequence": None}
    events += [
        {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 4}},
        {"type": "message_stop"},
    ]
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]


def streamed(*events):
    return ScriptedReply(200, b"".join(events), {"content-type": "text/event-stream"})


def completion_with(message, **fields):
    reply = reply_of({"model": "small", "messages": [{"content": ""}]})
    reply["choices"][0] |= {"message": {"role": "assistant", **message}, **fields}
    return ScriptedReply(body=reply)


@pytest.fixture
def chat_gateway(settings):
    """Gateway in front of an upstream that has chat completions only."""
    chat_only = settings.upstreams[0].model_copy(update={"apis": ("chat",)})
    with running_gateway(settings.model_copy(update={"upstreams": (chat_only,)})) as running:
        yield running


def create(gateway, headers=None, **fields):
    body = {"model": "small", "max_tokens": 100, "messages": MESSAGES, **fields}
    return gateway.http.post("/v1/messages", json=body, headers=headers)


def read_events(answer):
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = []
    for block in answer.text.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def assembled(events):
    """Return the message of a stream, by the rules of Anthropic's documentation."""
    assert events[0]["type"] == "message_start"
    message, blocks = events[0]["message"], []
    for event in events[1:]:
        kind = event["type"]
        if kind == "content_block_start":
            assert event["index"] == len(blocks)
            blocks.append({**event["content_block"], "json": ""})
        elif kind == "content_block_delta":
            assert event["index"] == len(blocks) - 1
            delta = event["delta"]
            field = {"input_json_delta": "json"}.get(delta["type"], delta["type"][:-6])
            blocks[-1][field] += delta.get("partial_json", delta.get(field, ""))
        elif kind == "message_delta":
            message |= event["delta"]
            message["usage"] |= event["usage"]
    assert events[-1] == {"type": "message_stop"}
    for block in blocks:
        arguments = block.pop("json")
        if block["type"] == "tool_use":
            block["input"] = json.loads(arguments or "{}")
    return {**message, "content": blocks}


def interactions(gateway, project=None):
    with gateway.store as store, store.in_project(project or store.project) as store:
        return {case.interaction.id: case.interaction for case in store.cases()}


def test_a_message_equals_the_upstreams_except_for_its_id(gateway, upstream):
    sent = json.dumps(own_message(strange=1.50)).encode()
    upstream.next.append(ScriptedReply(200, sent, {"request-id": "up-1"}))
    answer = create(gateway, system="Be brief.", metadata={"user_id": "bo"}, top_k=5)
    id_ = answer.json()["id"]
    assert id_.startswith("msg_")
    assert answer.headers["x-backtalk-interaction"] == id_
    assert answer.headers["request-id"] == "up-1"
    assert answer.content == sent.replace(b'"msg_up"', f'"{id_}"'.encode())
    assert upstream.paths == ["/v1/messages"]
    assert upstream.bodies[0]["system"] == "Be brief."
    interaction = interactions(gateway)[id_]
    assert interaction.user == "bo"
    assert [message.text for message in interaction.prompt] == ["Be brief.", "Hello"]
    response = interaction.responses[0]
    assert (response.text, response.reasoning) == ("At nine.", "Shops.")
    function = response.messages[0].tool_calls[0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("f", {"a": 1})
    assert interaction.metadata["gateway"]["usage"]["prompt_tokens"] == 5
    assert gateway.feedback({"interaction": id_, "thumb": "up"}).json()["status"] == "stored"


def test_a_streamed_message_equals_the_upstreams_except_for_its_id(gateway, upstream):
    upstream.next += [streamed(*own_events()), ScriptedReply(body=own_message())]
    answer = create(gateway, stream=True)
    whole = create(gateway)
    id_ = answer.headers["x-backtalk-interaction"]
    assert answer.content == b"".join(own_events()).replace(b'"msg_up"', f'"{id_}"'.encode())
    stored = interactions(gateway)
    interaction, other = stored[id_], stored[whole.json()["id"]]
    assert interaction.responses == other.responses
    assert "cut" not in interaction.metadata["gateway"]


def test_a_message_that_is_cut_is_stored_in_part(gateway, upstream):
    upstream.next.append(streamed(*own_events()[:8]))
    answer = create(gateway, stream=True)
    interaction = interactions(gateway)[answer.headers["x-backtalk-interaction"]]
    assert interaction.responses[0].text == "At "
    assert interaction.metadata["gateway"]["cut"]


def test_blocks_that_chats_do_not_have_are_stored_beside_the_text(gateway, upstream):
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}
    content = [search, {"type": "text", "text": "At nine."}]
    upstream.next.append(ScriptedReply(body=own_message(content=content)))
    id_ = create(gateway).json()["id"]
    interaction = interactions(gateway)[id_]
    assert interaction.responses[0].text == "At nine."
    assert interaction.metadata["gateway"]["messages"]["content"] == content


def test_an_upstream_without_the_api_gets_a_chat_completion_from_then_on(gateway, upstream):
    upstream.next.append(MISSING)
    headers = {"x-api-key": "secret", "anthropic-version": "2023-06-01"}
    first = create(gateway, headers, system=[{"type": "text", "text": "Be brief."}],
                   stop_sequences=["END"], temperature=0.5, top_k=3)  # fmt: skip
    create(gateway)
    assert [path.removeprefix("/v1") for path in upstream.paths] == [
        "/messages", "/chat/completions", "/chat/completions"
    ]  # fmt: skip
    assert upstream.bodies[1] == {
        "model": "small", "max_tokens": 100, "temperature": 0.5, "top_k": 3, "stop": ["END"],
        "messages": [{"role": "system", "content": "Be brief."}, *MESSAGES],
    }  # fmt: skip
    assert upstream.headers[1]["authorization"] == "Bearer secret"
    assert not {"x-api-key", "anthropic-version"} & set(upstream.headers[1])
    assert first.json()["content"] == [
        {"type": "text", "text": "You said: Hello", "citations": None}
    ]
    assert first.json()["stop_reason"] == "end_turn"
    assert first.json()["usage"]["output_tokens"] == 4
    assert interactions(gateway)[first.json()["id"]].responses[0].text == "You said: Hello"


@pytest.mark.parametrize("thinking", [None, {"type": "enabled", "budget_tokens": 2048}])
@pytest.mark.parametrize("stream", [False, True])
def test_thinking_is_shown_if_it_is_asked_for_and_always_stored(
    chat_gateway, upstream, stream, thinking
):
    upstream.next.append(
        completion_with({"content": "42", "reasoning_content": "Six times seven."})
    )
    fields = {} if thinking is None else {"thinking": thinking}
    answer = create(chat_gateway, stream=stream, **fields)
    message = assembled(read_events(answer)) if stream else answer.json()
    types = [block["type"] for block in message["content"]]
    assert types == (["text"] if thinking is None else ["thinking", "text"])
    assert message["content"][-1]["text"] == "42"
    assert upstream.bodies[0].get("reasoning_effort") == (None if thinking is None else "low")
    response = interactions(chat_gateway)[answer.headers["x-backtalk-interaction"]].responses[0]
    assert (response.text, response.reasoning) == ("42", "Six times seven.")


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_loop_is_translated_both_ways(chat_gateway, upstream, stream):
    answer = create(chat_gateway, stream=stream, tools=[TOOL], tool_choice={"type": "any"})
    first = assembled(read_events(answer)) if stream else answer.json()
    assert upstream.bodies[0]["tools"][0]["function"]["parameters"] == {"type": "object"}
    assert upstream.bodies[0]["tool_choice"] == "required"
    (block,) = first["content"]
    assert (block["type"], block["name"], block["input"]) == ("tool_use", "look_up", {"a": 1})
    assert first["stop_reason"] == "tool_use"
    result = {"type": "tool_result", "tool_use_id": block["id"], "content": "Nothing.",
              "is_error": True}  # fmt: skip
    thought = {"type": "thinking", "thinking": "Look it up.", "signature": ""}
    turns = [
        *MESSAGES,
        {"role": "assistant", "content": [thought, block]},
        {"role": "user", "content": [result]},
    ]
    create(chat_gateway, messages=turns, stream=stream)
    user, call, tool = upstream.bodies[1]["messages"]
    assert user == MESSAGES[0]
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == {"a": 1}
    assert call["reasoning_content"] == "Look it up."
    assert tool == {"role": "tool", "tool_call_id": block["id"], "content": "Error: Nothing."}


def test_streamed_text_arrives_in_pieces(chat_gateway):
    events = read_events(create(chat_gateway, stream=True))
    deltas = [e["delta"]["text"] for e in events if e["type"] == "content_block_delta"]
    assert deltas == ["You", " said:", " Hello"]
    message = assembled(events)
    assert message["content"][0]["text"] == "You said: Hello"
    assert message["usage"]["input_tokens"] == 3


@pytest.mark.parametrize(
    ("finish_reason", "extra", "expected"),
    [
        ("stop", {}, ("end_turn", None)),
        ("length", {}, ("max_tokens", None)),
        ("content_filter", {}, ("refusal", None)),
        ("stop", {"stop_reason": "END"}, ("stop_sequence", "END")),
        ("stop", {"stop_reason": 128001}, ("end_turn", None)),
    ],
)
def test_the_reason_of_the_end_is_translated(
    chat_gateway, upstream, finish_reason, extra, expected
):
    reply = completion_with({"content": "At"}, finish_reason=finish_reason, **extra)
    upstream.next += [reply, reply]
    whole = create(chat_gateway, stop_sequences=["END"]).json()
    streamed_ = assembled(read_events(create(chat_gateway, stop_sequences=["END"], stream=True)))
    assert (whole["stop_reason"], whole["stop_sequence"]) == expected
    assert (streamed_["stop_reason"], streamed_["stop_sequence"]) == expected


@pytest.mark.parametrize(
    ("finish_reason", "expected"),
    [("length", "max_tokens"), ("content_filter", "refusal"), ("stop", "tool_use")],
)
def test_a_tool_call_that_is_cut_is_no_use_of_a_tool(
    chat_gateway, upstream, finish_reason, expected
):
    arguments = '{"a": 1}' if finish_reason == "stop" else '{"a": 1, "b": "x'
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    reply = completion_with({"tool_calls": [call]}, finish_reason=finish_reason)
    upstream.next += [reply, reply]
    whole = create(chat_gateway).json()
    events = read_events(create(chat_gateway, stream=True))
    assert whole["content"][0]["input"] == {"a": 1}
    pieces = [e["delta"]["partial_json"] for e in events if e["type"] == "content_block_delta"]
    assert "".join(pieces) == arguments
    assert whole["stop_reason"] == events[-2]["delta"]["stop_reason"] == expected


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}


def test_pictures_and_documents_are_translated(chat_gateway, upstream):
    document = {
        "type": "document",
        "title": "Hours",
        "source": {"type": "text", "media_type": "text/plain", "data": "Nine."},
    }
    pdf = {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "QUJD"},
    }
    text = {"type": "text", "text": "See", "cache_control": {"type": "ephemeral"}}
    create(chat_gateway, messages=[{"role": "user", "content": [text, IMAGE, document, pdf]}])
    assert upstream.bodies[0]["messages"][0]["content"] == [
        {"type": "text", "text": "See"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        {"type": "text", "text": "Hours"},
        {"type": "text", "text": "Nine."},
        {
            "type": "file",
            "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,QUJD"},
        },
    ]


def test_structured_output_is_translated(chat_gateway, upstream):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    create(chat_gateway, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert upstream.bodies[0]["response_format"]["json_schema"]["schema"] == schema


FILE = {"type": "image", "source": {"type": "file"}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": [IMAGE]}


def turn(block, role="user"):
    return {"messages": [{"role": role, "content": [block]}]}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"container": "c"}, "container"),
        ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        (turn(FILE), "messages[0].content[0].source.type"),
        (turn(RESULT), "messages[0].content[0].content[0].type"),
        (turn({"type": "server_tool_use"}, "assistant"), "messages[0].content[0].type"),
        ({"messages": [{"role": "alien", "content": "x"}]}, "messages[0].role"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"output_config": {"format": {"type": "grammar"}}}, "output_config.format.type"),
        ({"output_config": {"effort": "low"}, "output_format": {"type": "grammar"}},
         "output_format.type"),
    ],
)  # fmt: skip
def test_what_chat_completions_cannot_express_is_refused_by_name(
    chat_gateway, upstream, fields, path
):
    answer = create(chat_gateway, **fields)
    assert answer.status_code == 400
    body = answer.json()
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert path in body["error"]["message"]
    assert upstream.bodies == []


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (401, "authentication_error"),
                         (404, "not_found_error"), (405, "api_error"), (501, "api_error"),
                         (429, "rate_limit_error"), (418, "api_error")]
)  # fmt: skip
def test_errors_have_anthropics_shape(chat_gateway, upstream, status, kind):
    upstream.always = ScriptedReply(status)
    answer = create(chat_gateway)
    assert answer.status_code == status
    assert answer.json() == {"type": "error", "error": {"type": kind, "message": "no"}}


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}"])
def test_errors_about_the_body_have_anthropics_shape(gateway, body):
    answer = gateway.http.post("/v1/messages", content=body)
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_broken_stream_ends_with_an_error_event(chat_gateway, upstream):
    upstream.next.append(ScriptedReply(break_after=2))
    events = read_events(create(chat_gateway, stream=True))
    assert events[-1]["type"] == "error"
    assert "broke off" in events[-1]["error"]["message"]


def test_a_stream_without_an_end_ends_with_an_error_event(chat_gateway, upstream):
    upstream.next.append(streamed(b'data: {"choices": [{"delta": {"content": "At"}}]}\n\n'))
    events = read_events(create(chat_gateway, stream=True))
    assert events[-1]["type"] == "error"
    assert "broke off" in events[-1]["error"]["message"]


def test_tokens_are_counted_by_an_upstream_that_can(gateway, upstream):
    upstream.next.append(ScriptedReply(body={"input_tokens": 11}))
    body = {"model": "small", "messages": MESSAGES}
    answer = gateway.http.post("/v1/messages/count_tokens", json=body)
    assert answer.json() == {"input_tokens": 11}
    assert upstream.paths == ["/v1/messages/count_tokens"]


def test_the_openapi_document_requires_a_limit_of_messages_only():
    document = make_document()
    required = {}
    for name in ("", "/count_tokens"):
        body = document["paths"][f"/v1/messages{name}"]["post"]["requestBody"]
        reference = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        required[name] = set(document["components"]["schemas"][reference]["required"])
    assert required[""] - required["/count_tokens"] == {"max_tokens"}


@pytest.mark.parametrize("apis", [("chat",), None])
@pytest.mark.parametrize("status", [404, 503])
def test_tokens_are_counted_by_the_upstream_that_can(settings, upstream, apis, status):
    app, first = make_upstream()
    with serving(app) as url:
        pair = [
            settings.upstreams[0].model_copy(update={"base_url": address, "apis": own})
            for address, own in ((f"{url}/v1", apis), (upstream.url, ("messages",)))
        ]
        first.always = ScriptedReply(status, {"error": {"message": "File Not Found"}})
        upstream.next.append(ScriptedReply(body={"input_tokens": 11}))
        with running_gateway(settings.model_copy(update={"upstreams": tuple(pair)})) as gateway:
            body = {"model": "small", "messages": MESSAGES}
            answer = gateway.http.post("/v1/messages/count_tokens", json=body)
    assert answer.json() == {"input_tokens": 11}
    assert not first.paths if apis else set(first.paths) == {"/v1/messages/count_tokens"}


def test_an_error_with_the_status_200_is_no_count(gateway, upstream):
    error = "Unexpected endpoint or method. (POST /v1/messages/count_tokens)"
    upstream.next.append(ScriptedReply(body={"error": error}))
    body = {"model": "small", "messages": MESSAGES}
    answer = gateway.http.post("/v1/messages/count_tokens", json=body)
    assert answer.json() == {"input_tokens": 3}
    assert upstream.paths[-1] == "/v1/chat/completions"


def test_tokens_are_counted_by_a_completion_of_one_token_elsewhere(chat_gateway, upstream):
    body = {"model": "small", "messages": MESSAGES, "tools": [TOOL], "stream": True}
    answer = chat_gateway.http.post("/v1/messages/count_tokens", json=body)
    assert answer.json() == {"input_tokens": 3}
    assert upstream.bodies[0]["max_tokens"] == 1
    assert "stream" not in upstream.bodies[0]
    assert interactions(chat_gateway) == {}


@pytest.mark.parametrize("stream", [False, True])
def test_a_policy_answers(gateway, upstream, stream):
    with Store(gateway.settings.store, project="mail") as mail:
        policy = Policy(
            model=EndpointSpec(model="tuned", base_url=upstream.url),
            system="You answer for a shop.",
            decoder=Sample(sampling=Sampling(temperature=0.25, max_tokens=50)),
            name="shop",
        )
        save_policy(mail, policy)
        promote(mail, policy, actor="ada")
    answer = create(gateway, model="backtalk:mail", system="Be brief.", stream=stream)
    message = assembled(read_events(answer)) if stream else answer.json()
    body = upstream.bodies[0]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("tuned", 50, 0.25)
    assert body["messages"][0]["content"].startswith("You answer for a shop.")
    assert message["content"][0]["text"] == "You said: Hello"
    interaction = interactions(gateway, "mail")[message["id"]]
    assert interaction.policy == policy.id == answer.headers["x-backtalk-policy"]
    assert gateway.feedback({"interaction": message["id"], "thumb": "up"}).status_code == 201


def test_an_unknown_policy_is_an_error_of_anthropics_shape(gateway):
    answer = create(gateway, model="backtalk:nowhere")
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"
