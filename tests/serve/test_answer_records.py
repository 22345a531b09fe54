"""Interactions hold what an upstream said: text, reasoning, tool calls, ids, and cuts."""

from __future__ import annotations

import json

import pytest

from backtalk.models.spec import EndpointSpec
from backtalk.policy import Policy, save_policy
from backtalk.promotion import promote
from backtalk.serve.backends.policy_requests import sample_seed
from backtalk.store import Store
from backtalk.store.search import SearchQuery, search
from tests.serve.upstream import ScriptedReply, reply_of

EVENT_STREAM = {"content-type": "text/event-stream"}


def stream_of(*events, done=True):
    lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    return ScriptedReply(200, b"".join([*lines, *([b"data: [DONE]\n\n"] if done else [])]),
                         EVENT_STREAM)  # fmt: skip


def chunk(delta, finish=None, index=0, **top):
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "up", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **top}


def whole(*messages, **top):
    choices = [
        {"index": i, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
        for i, message in enumerate(messages)
    ]
    body = {"id": "up", "object": "chat.completion", "model": "m", "choices": choices, **top}
    return ScriptedReply(200, json.dumps(body).encode(), {"content-type": "application/json"})


@pytest.fixture
def ask(gateway, upstream):
    """Return the answer to a request and its interaction."""

    def ask(reply, **fields):
        upstream.next.append(reply)
        answer = gateway.chat(**fields)
        with gateway.store as store:
            interaction = store.case(answer.headers["x-backtalk-interaction"]).interaction
        return answer, interaction

    return ask


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_is_stored_apart_from_the_text(ask, name) -> None:
    _, streamed = ask(
        stream_of(chunk({name: "Six "}), chunk({name: "times"}), chunk({"content": "42"}, "stop")),
        stream=True,
    )
    _, complete = ask(whole({"content": "42", name: "Six times"}))
    for interaction in (streamed, complete):
        (response,) = interaction.responses
        assert (response.text, response.reasoning) == ("42", "Six times")
        assert response.messages == ()


def test_each_choice_has_its_own_reasoning(ask) -> None:
    _, interaction = ask(
        stream_of(
            chunk({"reasoning": "A"}), chunk({"reasoning": "B"}, index=1),
            chunk({"content": "a"}, "stop"), chunk({"content": "b"}, "stop", index=1),
        ),
        stream=True, n=2,
    )  # fmt: skip
    assert [(r.text, r.reasoning) for r in interaction.responses] == [("a", "A"), ("b", "B")]


def test_reasoning_stays_with_a_tool_call_and_with_an_answer_without_text(ask) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "w", "arguments": "{}"}}
    _, interaction = ask(
        whole(
            {"content": None, "reasoning_content": "Look.", "tool_calls": [call]},
            {"content": None, "reasoning": "Too long"},
        )
    )
    first, second = interaction.responses
    assert (first.reasoning, second.reasoning) == ("Look.", "Too long")
    assert first.messages[0].tool_calls == (call,)
    assert (second.text, second.messages) == ("", ())


def test_an_image_in_an_answer_is_a_part_of_its_message(ask) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    _, interaction = ask(whole({"content": "Look:", "images": [image]}))
    (response,) = interaction.responses
    assert response.text == "Look:"
    assert response.messages[0].content == ({"type": "text", "text": "Look:"}, image)


def test_a_part_whose_type_is_no_text_is_passed_and_stored(ask, gateway) -> None:
    part = {"type": ["x"]}
    answer, interaction = ask(
        stream_of(chunk({"content": [part]}), chunk({"content": "42"}, "stop")), stream=True
    )
    assert answer.text.endswith("data: [DONE]\n\n")
    assert interaction.responses[0].text == "42"
    messages = [{"role": "user", "content": [{"type": ["x"], "text": "6 * 7?"}]}]
    _, interaction = ask(whole({"content": [part, {"type": "text", "text": "42"}]}),
                         messages=messages)  # fmt: skip
    assert interaction.prompt[0].text == "6 * 7?"
    assert interaction.responses[0].text == "42"


def test_a_spoken_answer_is_stored_by_its_transcript(ask) -> None:
    audio = {"id": "au", "data": "QUJD", "transcript": "Hello there"}
    _, complete = ask(whole({"content": None, "audio": audio}))
    _, streamed = ask(
        stream_of(
            chunk({"audio": {"id": "au", "transcript": "Hello"}}),
            chunk({"audio": {"data": "QUJD"}}),
            chunk({"audio": {"transcript": " there"}}, "stop"),
        ),
        stream=True,
    )
    assert [i.responses[0].text for i in (complete, streamed)] == ["Hello there"] * 2


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(
    ("last", "done", "cut"),
    [
        ({"error": {"message": "overloaded", "code": 502}}, True, "by an error event"),
        ({"error": {"message": "overloaded", "code": 502}}, False, "by an error event"),
        (None, False, "without a finish reason"),
        (None, True, "without a finish reason"),
        ("stop", True, None),
        ("stop", False, None),
    ],
)
def test_a_stream_that_is_not_whole_is_marked(  # noqa: PLR0917
    gateway, upstream, path, last, done, cut
) -> None:
    is_chat = "chat" in path
    content = {"delta": {"content": "The answer"}} if is_chat else {"text": "The answer"}
    events = [{"id": "up", "choices": [{"index": 0, **content, "finish_reason": None}]}]
    if last == "stop":
        end = {"delta": {}} if is_chat else {"text": ""}
        events.append({"id": "up", "choices": [{"index": 0, **end, "finish_reason": "stop"}]})
    elif last is not None:
        events.append(last)
    upstream.next.append(stream_of(*events, done=done))
    prompt = {"messages": [{"role": "user", "content": "q"}]} if is_chat else {"prompt": "q"}
    answer = gateway.http.post(path, json={"model": "small", "stream": True, **prompt})
    with gateway.store as store:
        interaction = store.case(answer.headers["x-backtalk-interaction"]).interaction
    notes = interaction.metadata["gateway"]
    assert notes.get("cut") == cut
    assert notes.get("error") == (last if isinstance(last, dict) else {}).get("error")
    assert interaction.responses[0].text == "The answer"


@pytest.mark.parametrize(
    ("path", "prompt", "count"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "q"}], "n": 2}, 2),
        ("/v1/completions", {"prompt": "q", "n": 2}, 2),
        ("/v1/completions", {"prompt": ["q", "r"]}, 2),
        ("/v1/completions", {"prompt": ["q", "r"], "n": 2}, 4),
    ],
)
def test_a_stream_with_too_few_answers_is_marked(gateway, upstream, path, prompt, count) -> None:
    content = {"delta": {"content": "Hi"}} if "chat" in path else {"text": "Hi"}
    choices = [{"index": i, **content, "finish_reason": "stop"} for i in range(count)]
    events = [{"id": "up", "choices": [choice]} for choice in choices]
    cuts = []
    for sent, done in ((events[:-1], False), (events[:-1], True), (events, False)):
        upstream.next.append(stream_of(*sent, done=done))
        answer = gateway.http.post(path, json={"model": "small", "stream": True, **prompt})
        with gateway.store as store:
            interaction = store.case(answer.headers["x-backtalk-interaction"]).interaction
        cuts.append(interaction.metadata["gateway"].get("cut"))
    assert cuts == ["without a finish reason", None, None]


def test_an_answer_without_an_id_gets_the_interactions(ask) -> None:
    events = [chunk({"content": "Hel"}), chunk({"content": "lo."}, "stop")]
    for event in events:
        del event["id"]
    answer, _ = ask(stream_of(*events), stream=True)
    lines = [line[6:] for line in answer.text.split("\n") if line.startswith("data: {")]
    assert {json.loads(line)["id"] for line in lines} == {answer.headers["x-backtalk-interaction"]}
    reply = {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
    answer, interaction = ask(ScriptedReply(200, json.dumps(reply).encode()))
    assert answer.json() == {"id": interaction.id, **reply}
    assert "upstream_id" not in interaction.metadata["gateway"]
    assert "x-backtalk-upstream-id" not in answer.headers


def test_the_upstreams_id_is_in_the_record_and_in_a_header(ask) -> None:
    answer, interaction = ask(whole({"content": "Hi"}))
    assert interaction.metadata["gateway"]["upstream_id"] == "up"
    assert answer.headers["x-backtalk-upstream-id"] == "up"
    _, interaction = ask(stream_of(chunk({"content": "Hi"}, "stop")), stream=True)
    assert interaction.metadata["gateway"]["upstream_id"] == "up"


@pytest.mark.parametrize("id_", ["a\r\nb: c", "é", "\ud800"])
def test_an_id_that_no_header_can_hold_is_in_the_record_only(ask, id_) -> None:
    answer, interaction = ask(whole({"content": "Hi"}, id=id_))
    assert answer.status_code == 200
    assert "x-backtalk-upstream-id" not in answer.headers
    assert interaction.metadata["gateway"]["upstream_id"]


def test_the_record_of_a_begun_answer_has_the_continuation(ask) -> None:
    messages = [
        {"role": "user", "content": "Colours?"},
        {"role": "assistant", "content": "Sure: "},
    ]
    answer, complete = ask(whole({"content": "Sure: blue."}), messages=messages)
    assert answer.json()["choices"][0]["message"]["content"] == "Sure: blue."
    _, streamed = ask(
        stream_of(chunk({"content": "blue."}, "stop")), messages=messages, stream=True
    )
    assert [i.responses[0].text for i in (complete, streamed)] == ["blue."] * 2


@pytest.mark.parametrize(
    ("count", "tokens", "stop", "expected"),
    [(2, 2, None, -1.5), (1, 2, "END", None), (2, None, "END", None), (2, None, None, -1.5)],
)
def test_a_log_probability_that_may_be_wrong_is_unknown(ask, count, tokens, stop, expected) -> None:
    reply = reply_of({"model": "m", "messages": [{"content": "q"}]})
    entries = [{"token": "x", "logprob": value} for value in (-0.5, -1.0)][:count]
    reply["choices"][0]["logprobs"] = {"content": entries}
    reply["usage"] = None if tokens is None else {"completion_tokens": tokens}
    _, interaction = ask(
        ScriptedReply(200, json.dumps(reply).encode()), logprobs=True,
        **({"stop": stop} if stop else {}),
    )  # fmt: skip
    assert interaction.responses[0].log_probability == expected


def test_tokens_of_several_answers_are_counted(ask) -> None:
    words = [chunk({"content": "a"}, index=i) for i in (0, 1) for _ in range(3)]
    ends = [chunk({}, "stop", index=i) for i in (0, 1)]
    usage = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
    _, interaction = ask(
        stream_of(*words, *ends, {"id": "up", "choices": [], "usage": usage}), stream=True, n=2
    )
    notes = interaction.metadata["gateway"]
    assert (notes["usage"], notes["completion_tokens"]) == (usage, 6)


def test_metadata_of_the_caller_with_the_gateways_name_is_kept(ask) -> None:
    _, interaction = ask(whole({"content": "Hi"}), metadata={"gateway": "eu-1", "team": "mail"})
    assert interaction.metadata["team"] == "mail"
    assert interaction.metadata["gateway"]["request"]["metadata"] == {"gateway": "eu-1"}
    assert interaction.metadata["gateway"]["endpoint"] == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("method", "suffix"), [("GET", ""), ("DELETE", ""), ("POST", ""), ("GET", "/messages")]
)
def test_a_completion_that_the_upstream_stored_is_reached_by_the_interaction(
    gateway, upstream, ask, method, suffix
) -> None:
    _, interaction = ask(whole({"content": "Hi"}, id="gen-1"), store=True)
    stored = {"id": "gen-1", "choices": [], "object": "chat.completion"}
    upstream.next.append(ScriptedReply(200, json.dumps(stored).encode()))
    body = {"json": {"metadata": {"a": "b"}}} if method == "POST" else {}
    path = f"/v1/chat/completions/{interaction.id}{suffix}"
    again = gateway.http.request(method, path, **body)
    assert upstream.paths[-1] == f"/v1/chat/completions/gen-1{suffix}"
    assert upstream.bodies[-1] == body.get("json", {})
    assert again.json()["id"] == ("gen-1" if suffix else interaction.id)


def test_a_stored_completion_takes_no_policy(gateway, upstream, ask) -> None:
    _, interaction = ask(whole({"content": "Hi"}, id="gen-1"), store=True)
    path = f"/v1/chat/completions/{interaction.id}"
    answer = gateway.http.post(path, json={"model": "backtalk:mail"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "policy_not_supported")
    assert len(upstream.paths) == 1


def test_a_stored_completion_of_a_project_with_the_name_of_the_gateway_is_reached(
    gateway, upstream
) -> None:
    upstream.next.append(whole({"content": "Hi"}, id="gen-1"))
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"x-backtalk-project": "backtalk"}
    id_ = gateway.http.post("/v1/chat/completions", json=body, headers=headers).json()["id"]
    assert id_.startswith("backtalk:")
    gateway.http.get(f"/v1/chat/completions/{id_}")
    assert upstream.paths[-1] == "/v1/chat/completions/gen-1"


def test_a_stored_completion_of_an_endpoint_of_a_policy_is_sought_nowhere_else(
    gateway, upstream
) -> None:
    elsewhere = upstream.url.replace("127.0.0.1", "localhost")
    with Store(gateway.settings.store, project="mail") as store:
        policy = Policy(model=EndpointSpec(model="tuned", base_url=elsewhere))
        save_policy(store, policy)
        promote(store, policy, actor="ada")
    id_ = gateway.chat("Hi", model="backtalk:mail").json()["id"]
    answer = gateway.http.get(f"/v1/chat/completions/{id_}")
    assert answer.status_code == 404
    assert elsewhere in answer.json()["error"]["message"]
    assert len(upstream.paths) == 1


def test_an_id_that_is_not_an_interactions_reaches_the_upstream_unchanged(gateway, upstream):
    for id_ in ("chatcmpl-up", 32 * "0"):
        gateway.http.get(f"/v1/chat/completions/{id_}")
        assert upstream.paths[-1] == f"/v1/chat/completions/{id_}"
    upstream.next.append(ScriptedReply(404))
    assert gateway.http.get("/v1/chat/completions/unknown").status_code == 404


def test_an_interaction_is_found_by_the_upstreams_id_and_by_its_reasoning(gateway, ask) -> None:
    _, interaction = ask(whole({"content": "42", "reasoning": "Six times seven"}, id="gen-17"))
    with gateway.store as store:
        for text, hits in (("gen-17", 1), ("gen-1", 0), ("six TIMES", 1), ("seventeen", 0)):
            page = search(store, SearchQuery(text=text))
            assert [hit.interaction.id for hit in page.hits] == [interaction.id] * hits


def test_samples_of_successive_seeds_differ() -> None:
    seeds = [sample_seed(seed, index) for seed in (42, 43) for index in range(4)]
    assert len(set(seeds)) == 8
    assert (seeds[0], seeds[4]) == (42, 43)
    assert all(0 <= seed < 2**31 for seed in seeds)
