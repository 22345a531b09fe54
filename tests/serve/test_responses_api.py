"""The Responses API: by upstreams that have it, by chat completions, and by policies."""

import json
from contextlib import ExitStack

import openai
import pytest
from openai.types.responses import ResponseItem
from pydantic import BaseModel, TypeAdapter

from backtalk.decode import BestOfN, Sample
from backtalk.models import Completion, FunctionModel, Sampling, Usage, register_model
from backtalk.models.spec import EndpointSpec, NamedSpec
from backtalk.policy import Policy, save_policy
from backtalk.promotion import promote
from backtalk.store import Store
from tests.serve.conftest import running_gateway, serving
from tests.serve.test_policy_resolver import learned_reward
from tests.serve.upstream import ScriptedReply, make_upstream, reply_of

TOOL = {"type": "function", "name": "look_up", "parameters": {"type": "object"}, "strict": False}
MISSING = ScriptedReply(404, {"error": {"message": "File Not Found", "code": 404}})


@register_model("responses-test")
def responses_test():
    def say(request):
        text = f"{len(request.messages)} {request.messages[-1].text}"
        words = sum(len(message.text.split()) for message in request.messages)
        return Completion(text=text, usage=Usage(1, words, 3), model="responses-test")

    return FunctionModel(say, name="responses-test")


def own_response(**fields):
    """Return a response as an upstream with the Responses API writes it."""
    text = {"type": "output_text", "text": "At nine.", "annotations": [], "logprobs": []}
    message = {"id": "msg_up", "type": "message", "role": "assistant", "status": "completed"}
    return {
        "id": "resp_up", "object": "response", "created_at": 1, "status": "completed",
        "model": "small-2026", "output": [{**message, "content": [text]}],
        "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7,
                  "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                  "output_tokens_details": {"reasoning_tokens": 0}},
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], **fields,
    }  # fmt: skip


def own_events():
    """Return the bytes of a response that an upstream streams."""
    begun = own_response(status="in_progress", output=[])
    item = {"id": "msg_up", "type": "message", "role": "assistant", "status": "in_progress"}
    place = {"item_id": "msg_up", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    events = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.content_part.added", **place, "part": part},
        {"type": "response.output_text.delta", **place, "delta": "At ", "logprobs": []},
        {"type": "response.output_text.delta", **place, "delta": "nine.", "logprobs": []},
        {"type": "response.completed", "response": own_response()},
    ]
    return [
        f"event: {event['type']}\ndata: {json.dumps(event | {'sequence_number': i})}\n\n".encode()
        for i, event in enumerate(events)
    ]


def streamed(*events):
    return ScriptedReply(200, b"".join(events), {"content-type": "text/event-stream"})


@pytest.fixture
def client(gateway):
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="secret", max_retries=0)


@pytest.fixture
def chat_gateway(settings):
    """Gateway in front of an upstream that has chat completions only."""
    chat_only = settings.upstreams[0].model_copy(update={"apis": ("chat",)})
    with running_gateway(settings.model_copy(update={"upstreams": (chat_only,)})) as running:
        yield running


@pytest.fixture
def chat_client(chat_gateway):
    return openai.OpenAI(base_url=f"{chat_gateway.url}/v1", api_key="secret", max_retries=0)


def interactions(gateway, project=None):
    with gateway.store as store, store.in_project(project or store.project) as store:
        return {case.interaction.id: case.interaction for case in store.cases()}


def completion_with(message, **fields):
    reply = reply_of({"model": "small", "messages": [{"content": ""}]})
    reply["choices"][0]["message"] = {"role": "assistant", **message}
    return ScriptedReply(body={**reply, **fields})


def test_a_response_equals_the_upstreams_except_for_its_id(gateway, upstream):
    sent = json.dumps(own_response(strange=1.50)).encode()
    upstream.next.append(ScriptedReply(200, sent, {"x-request-id": "up-1"}))
    body = {"model": "small", "input": "When?", "user": "bo", "metadata": {"a": "b"}}
    answer = gateway.http.post("/v1/responses", json=body)
    id_ = answer.json()["id"]
    assert id_.startswith("resp_")
    assert answer.headers["x-backtalk-interaction"] == id_
    assert answer.headers["x-request-id"] == "up-1"
    assert answer.content == sent.replace(b'"resp_up"', f'"{id_}"'.encode())
    assert upstream.paths == ["/v1/responses"]
    assert upstream.bodies == [body]
    interaction = interactions(gateway)[id_]
    assert (interaction.user, interaction.prompt[0].text) == ("bo", "When?")
    assert interaction.metadata["a"] == "b"
    assert interaction.responses[0].text == "At nine."
    assert interaction.metadata["gateway"]["upstream_id"] == "resp_up"
    assert interaction.metadata["gateway"]["usage"]["completion_tokens"] == 4
    assert gateway.feedback({"interaction": id_, "thumb": "up"}).json()["status"] == "stored"


def test_a_streamed_response_equals_the_upstreams_except_for_its_id(gateway, upstream):
    events = own_events()
    upstream.next.append(streamed(*events))
    answer = gateway.http.post("/v1/responses", json={"model": "m", "input": "x", "stream": True})
    id_ = answer.headers["x-backtalk-interaction"]
    assert answer.content == b"".join(events).replace(b'"resp_up"', f'"{id_}"'.encode())
    interaction = interactions(gateway)[id_]
    assert interaction.responses[0].text == "At nine."
    assert "cut" not in interaction.metadata["gateway"]


@pytest.mark.parametrize(("count", "text"), [(5, "At "), (6, "At nine.")])
def test_a_response_that_is_cut_is_stored_in_part(gateway, upstream, count, text):
    upstream.next.append(streamed(*own_events()[:count]))
    answer = gateway.http.post("/v1/responses", json={"model": "m", "input": "x", "stream": True})
    id_ = answer.headers["x-backtalk-interaction"]
    interaction = interactions(gateway)[id_]
    assert interaction.responses[0].text == text
    assert interaction.metadata["gateway"]["cut"]
    found = gateway.http.get(f"/v1/responses/{id_}").json()
    assert (found["status"], found["output"][0]["status"]) == ("incomplete", "incomplete")
    replayed = gateway.http.get(f"/v1/responses/{id_}?stream=true")
    assert json.loads(replayed.text.rpartition("data: ")[2])["type"] == "response.incomplete"


def test_an_error_event_marks_the_response(gateway, upstream):
    error = b'event: error\ndata: {"type": "error", "code": "x", "message": "Overloaded"}\n\n'
    upstream.next.append(streamed(*own_events()[:5], error))
    answer = gateway.http.post("/v1/responses", json={"model": "m", "input": "x", "stream": True})
    assert answer.content.endswith(error)
    id_ = answer.headers["x-backtalk-interaction"]
    assert interactions(gateway)[id_].metadata["gateway"]["error"]["message"] == "Overloaded"
    found = gateway.http.get(f"/v1/responses/{id_}").json()
    assert (found["status"], found["error"]) == ("failed", {"code": "x", "message": "Overloaded"})


def test_an_upstream_without_the_api_gets_a_chat_completion_from_then_on(client, upstream):
    upstream.next.append(MISSING)
    first = client.responses.create(model="small", input="Hello", instructions="Be brief.")
    second = client.responses.create(model="small", input="Hello again")
    assert [path.removeprefix("/v1") for path in upstream.paths] == [
        "/responses", "/chat/completions", "/chat/completions"
    ]  # fmt: skip
    assert upstream.bodies[1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]
    assert (first.output_text, second.output_text) == ("You said: Hello", "You said: Hello again")
    assert first.usage.total_tokens == 7
    assert first.instructions == "Be brief."


@pytest.mark.parametrize(
    "error",
    [
        {"message": "The model 'x' does not exist", "code": "model_not_found", "param": None},
        {"message": 'model "x" not found, try pulling it first', "type": "not_found_error"},
    ],
)
def test_an_unknown_model_is_no_missing_api(client, upstream, error):
    upstream.next.append(ScriptedReply(404, {"error": error}))
    with pytest.raises(openai.NotFoundError, match="model"):
        client.responses.create(model="x", input="Hello")
    assert len(upstream.paths) == 1


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("param", ["input", None])
def test_an_unknown_item_is_no_missing_api(gateway, upstream, is_known, param):
    message = "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false."
    own = ScriptedReply(body=own_response())
    missing = ScriptedReply(404, {"error": {"message": message, "param": param, "code": None}})
    upstream.next += [*([own] if is_known else []), missing, own]
    body = {"model": "m", "input": "x"}
    for reply in list(upstream.next):
        assert gateway.http.post("/v1/responses", json=body).status_code == reply.status
    assert set(upstream.paths) == {"/v1/responses"}


def test_an_upstream_that_has_the_api_does_not_lack_it_for_others(gateway, upstream):
    own = ScriptedReply(body=own_response())
    upstream.next += [own, MISSING, own]
    body = {"model": "m", "input": "x"}
    answers = [gateway.http.post("/v1/responses", json=body).status_code for _ in range(3)]
    assert answers == [200, 404, 200]
    assert set(upstream.paths) == {"/v1/responses"}


def test_a_translated_stream_is_read_by_the_client(chat_client, chat_gateway):
    with chat_client.responses.stream(model="small", input="Hello there") as stream:
        deltas = [e.delta for e in stream if e.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text == "You said: Hello there"
    assert final.status == "completed"
    assert final.usage.output_tokens == 4
    assert interactions(chat_gateway)[final.id].responses[0].text == final.output_text


@pytest.mark.parametrize("stream", [False, True])
def test_tool_calls_are_translated_and_their_results_return(chat_client, upstream, stream):
    arguments = {"model": "small", "input": "Hello", "tools": [TOOL]}
    if stream:
        with chat_client.responses.stream(**arguments) as events:
            first = events.get_final_response()
    else:
        first = chat_client.responses.create(**arguments)
    call = first.output[0]
    assert (call.type, call.name, json.loads(call.arguments)) == (
        "function_call",
        "look_up",
        {"a": 1},
    )
    assert upstream.bodies[0]["tools"][0]["function"]["name"] == "look_up"
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Nine."}
    second = chat_client.responses.create(
        model="small", previous_response_id=first.id, input=[result], tools=[]
    )
    messages = upstream.bodies[1]["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"] == call.call_id
    assert second.output_text == "You said: Nine."


def test_reasoning_is_an_item_and_is_stored(chat_client, chat_gateway, upstream):
    upstream.next.append(
        completion_with({"content": "42", "reasoning_content": "Six times seven."})
    )
    answer = chat_client.responses.create(model="small", input="6*7?", reasoning={"effort": "low"})
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.output[0].content[0].text == "Six times seven."
    assert upstream.bodies[0]["reasoning_effort"] == "low"
    response = interactions(chat_gateway)[answer.id].responses[0]
    assert (response.text, response.reasoning) == ("42", "Six times seven.")


class Hours(BaseModel):
    a: int


def test_structured_output_is_translated(chat_client, upstream):
    upstream.next.append(completion_with({"content": '{"a": 9}'}))
    answer = chat_client.responses.parse(model="small", input="When?", text_format=Hours)
    assert answer.output_parsed == Hours(a=9)
    schema = upstream.bodies[0]["response_format"]
    assert (schema["type"], schema["json_schema"]["name"]) == ("json_schema", "Hours")
    assert schema["json_schema"]["schema"]["required"] == ["a"]


def test_an_answer_at_the_token_limit_is_incomplete(chat_client, upstream):
    reply = completion_with({"content": "At"})
    reply.body["choices"][0]["finish_reason"] = "length"
    upstream.next.append(reply)
    answer = chat_client.responses.create(model="small", input="x", max_output_tokens=1)
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert upstream.bodies[0]["max_tokens"] == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"truncation": "auto"}, "truncation"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [TOOL, {"type": "mcp", "server_label": "x"}]}, "tools[1].type"),
        ({"input": [{"type": "computer_call_output"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
         "input[0].content[0].file_id"),
        ({"input": []}, "input"),
        ({"input": [{"role": "alien", "content": "x"}]}, "input[0]"),
        ({"previous_response_id": "resp_0"}, "previous_response_id"),
    ],
)  # fmt: skip
def test_what_chat_completions_cannot_express_is_refused_by_name(
    chat_gateway, upstream, fields, param
):
    answer = chat_gateway.http.post(
        "/v1/responses", json={"model": "small", "input": "x", **fields}
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert param in answer.json()["error"]["message"] or param == "previous_response_id"
    assert upstream.bodies == []


def test_a_conversation_is_linked_and_each_turn_has_its_own_instructions(
    chat_client, chat_gateway, upstream
):
    first = chat_client.responses.create(model="small", input="One", instructions="Be brief.")
    second = chat_client.responses.create(
        model="small", input="Two", instructions="Be kind.", previous_response_id=first.id
    )
    third = chat_client.responses.create(
        model="small", input="Three", previous_response_id=second.id
    )
    assert [m["content"] for m in upstream.bodies[2]["messages"]] == [
        "One", "You said: One", "Two", "You said: Two", "Three"
    ]  # fmt: skip
    assert upstream.bodies[1]["messages"][0] == {"role": "system", "content": "Be kind."}
    stored = interactions(chat_gateway)
    assert stored[second.id].parent == first.id
    assert stored[third.id].parent == second.id
    assert stored[second.id].session == stored[third.id].session == first.id
    assert third.previous_response_id == second.id


def test_items_of_an_answer_link_the_conversation_too(chat_client, chat_gateway, upstream):
    first = chat_client.responses.create(model="small", input="One", store=False)
    history = [
        {"role": "user", "content": "One"},
        *first.output,
        {"role": "user", "content": "Two"},
    ]
    second = chat_client.responses.create(
        model="small", input=[i if isinstance(i, dict) else i.model_dump() for i in history]
    )
    reference = {"type": "item_reference", "id": second.output[0].id}
    chat_client.responses.create(model="small", input=[reference, {"role": "user", "content": "3"}])
    assert upstream.bodies[2]["messages"][0] == {
        "role": "assistant", "content": second.output_text
    }  # fmt: skip
    stored = interactions(chat_gateway)
    assert stored[second.id].prompt[1].text == "You said: One"
    assert (stored[second.id].parent, stored[second.id].session) == (first.id, first.id)
    third = next(one for one in stored.values() if one.parent == second.id)
    assert third.prompt[0].text == second.output_text


@pytest.mark.parametrize("stream", [False, True])
def test_a_stored_response_is_retrieved_and_deleted(chat_client, chat_gateway, stream):
    arguments = {"model": "small", "input": "Hello", "instructions": "Be brief.", "tools": [TOOL]}
    arguments["metadata"] = {"a": "b"}
    if stream:
        with chat_client.responses.stream(**arguments) as events:
            made = events.get_final_response()
    else:
        made = chat_client.responses.create(**arguments)
    found = chat_client.responses.retrieve(made.id)
    parsed = {"parsed_arguments", "content"}  # the client's own classes of a stream differ
    assert [item.model_dump(exclude=parsed) for item in found.output] == [
        item.model_dump(exclude=parsed) for item in made.output
    ]
    assert found.output_text == made.output_text
    for name in ("id", "created_at", "model", "instructions", "metadata", "status", "usage"):
        assert getattr(found, name) == getattr(made, name), name
    assert [item.role for item in chat_client.responses.input_items.list(made.id, order="asc")] == [
        "user"
    ]
    with chat_client.responses.stream(response_id=made.id) as replayed:
        assert replayed.get_final_response().id == made.id
    chat_client.responses.delete(made.id)
    assert made.id not in interactions(chat_gateway)
    answer = chat_gateway.http.post(
        "/v1/responses", json={"model": "m", "input": "x", "previous_response_id": made.id}
    )
    assert answer.json()["error"]["code"] == "previous_response_not_found"


def test_input_items_have_lists_of_parts(chat_client, chat_gateway):
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"}
    parts = [{"type": "input_text", "text": "What is it?"}, image]
    first = chat_client.responses.create(model="small", input="Hello", instructions="Be brief.")
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    made = chat_client.responses.create(
        model="small",
        previous_response_id=first.id,
        input=[
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": parts},
            call,
            {"type": "function_call_output", "call_id": "c", "output": "A cat"},
        ],
    )
    listed = chat_client.responses.input_items.list(made.id, order="asc").data
    items = [item.to_dict() for item in listed]
    assert all(item.pop("id") and item.pop("status") == "completed" for item in items)
    answer = {"type": "output_text", "text": first.output_text, "annotations": []}
    assert items == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        {"type": "message", "role": "assistant", "content": [answer]},
        {
            "type": "message",
            "role": "system",
            "content": [{"type": "input_text", "text": "Be kind."}],
        },
        {"type": "message", "role": "user", "content": parts},
        call,
        {"type": "function_call_output", "call_id": "c", "output": "A cat"},
    ]
    raw = chat_gateway.http.get(f"/v1/responses/{made.id}/input_items").json()["data"]
    TypeAdapter(list[ResponseItem]).validate_python(raw)


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_that_is_not_stored_is_not_continued_by_an_upstream(gateway, upstream, stream):
    upstream.next.append(ScriptedReply(body=own_response()))
    body = {"model": "m", "input": "x"}
    made = gateway.http.post("/v1/responses", json={**body, "store": False}).json()
    more = {**body, "previous_response_id": made["id"], "stream": stream}
    answer = gateway.http.post("/v1/responses", json=more)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "previous_response_not_found"
    assert len(upstream.bodies) == 1


def test_a_response_of_the_upstreams_own_is_continued_by_it(gateway, upstream):
    upstream.next.append(ScriptedReply(body=own_response()))
    body = {"model": "m", "input": "x", "previous_response_id": f"resp_{32 * '1'}"}
    assert gateway.http.post("/v1/responses", json=body).status_code == 200
    assert upstream.bodies == [body]


def test_input_items_are_listed_in_pages(chat_client, chat_gateway):
    items = [{"role": "user", "content": text} for text in ("One", "Two", "Three")]
    made = chat_client.responses.create(model="small", input=items)
    first = chat_client.responses.input_items.list(made.id, limit=2)
    assert [item.content[0].text for item in first] == ["Three", "Two", "One"]
    path = f"/v1/responses/{made.id}"
    page = chat_gateway.http.get(f"{path}/input_items?order=asc&limit=2").json()
    assert [item["id"] for item in page["data"]] == [page["first_id"], page["last_id"]]
    assert page["has_more"] is True


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("/input_items?limit=²", "limit"),
        ("/input_items?limit=101", "limit"),
        ("/input_items?after=item_other", "after"),
        ("/input_items?order=x", "order"),
        ("?stream=true&starting_after=²", "starting_after"),
    ],
)
def test_an_invalid_query_is_refused_by_name(chat_client, chat_gateway, query, param):
    made = chat_client.responses.create(model="small", input="Hello")
    answer = chat_gateway.http.get(f"/v1/responses/{made.id}{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_retrieved_response_has_the_fields_without_a_value(gateway, upstream):
    own = own_response(error=None, incomplete_details=None, instructions=None)
    upstream.next.append(ScriptedReply(body=own))
    id_ = gateway.http.post("/v1/responses", json={"model": "m", "input": "x"}).json()["id"]
    assert gateway.http.get(f"/v1/responses/{id_}").json() == {**own, "id": id_}


@pytest.mark.parametrize("model", ["small", "backtalk:mail/endpoint", "backtalk:mail/machine"])
@pytest.mark.parametrize("stream", [False, True])
def test_metadata_is_in_the_record_and_is_not_sent(chat_gateway, upstream, model, stream):
    with Store(chat_gateway.settings.store, project="mail") as store:
        spec = EndpointSpec(model="tuned", base_url=upstream.url)
        save_policy(store, Policy(model=spec, decoder=Sample(), name="endpoint"))
        spec = NamedSpec(name="responses-test")
        save_policy(store, Policy(model=spec, decoder=Sample(), name="machine"))
    body = {"model": model, "input": "x", "metadata": {"a": "b"}, "stream": stream}
    id_ = chat_gateway.http.post("/v1/responses", json=body).headers["x-backtalk-interaction"]
    stored = interactions(chat_gateway, "mail" if "mail" in model else None)[id_]
    assert stored.metadata["a"] == "b"
    assert not any("metadata" in sent for sent in upstream.bodies)
    answer = chat_gateway.http.get(f"/v1/responses/{id_}").json()
    assert answer["metadata"] == {"a": "b"}


def test_a_response_that_is_not_to_be_stored_is_not_retrieved_but_judged(
    chat_client, chat_gateway, upstream
):
    made = chat_client.responses.create(model="small", input="Hello", store=False)
    assert made.store is False
    upstream.next.append(ScriptedReply(404, {"error": {"message": "no such response"}}))
    with pytest.raises(openai.NotFoundError):
        chat_client.responses.retrieve(made.id)
    assert chat_gateway.feedback({"interaction": made.id, "thumb": "up"}).status_code == 201


def test_what_is_stored_is_not_found_elsewhere_while_the_store_is_unavailable(
    gateway, upstream, tmp_path
):
    location, moved = tmp_path / "feedback.db", tmp_path / "gone"
    upstream.next.append(ScriptedReply(body=own_response()))
    body = {"model": "small", "input": "Hello"}
    paths = [
        f"/v1/responses/{gateway.http.post('/v1/responses', json=body).json()['id']}",
        f"/v1/chat/completions/{gateway.chat().json()['id']}",
    ]
    gateway.store.close()
    location.rename(moved)
    count = len(upstream.paths)
    for path in paths:
        answer = gateway.http.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert len(upstream.paths) == count
    moved.rename(location)
    assert all(gateway.http.get(path).status_code == 200 for path in paths)


def test_an_upstream_that_stores_responses_gets_its_own_id(client, gateway, upstream):
    upstream.next += [
        ScriptedReply(body=own_response()),
        ScriptedReply(body=own_response(id="resp_two", previous_response_id="resp_up")),
    ]
    first = client.responses.create(model="small", input="When?")
    second = client.responses.create(model="small", input="Sure?", previous_response_id=first.id)
    assert upstream.bodies[1] == {
        "model": "small", "input": "Sure?", "previous_response_id": "resp_up"
    }  # fmt: skip
    assert second.previous_response_id == first.id
    stored = interactions(gateway)[second.id]
    assert [message.text for message in stored.prompt] == ["When?", "At nine.", "Sure?"]
    assert stored.parent == first.id
    found = client.responses.retrieve(second.id)
    assert (found.id, found.previous_response_id) == (second.id, first.id)
    assert found.output == second.output
    client.responses.delete(second.id)
    assert upstream.paths[-1] == "/v1/responses/resp_two"


def test_an_upstream_that_stores_none_gets_the_conversation(client, upstream):
    message = "llama.cpp does not support 'previous_response_id'."
    refusal = ScriptedReply(400, {"error": {"code": 400, "message": message}})
    own = ScriptedReply(body=own_response())
    upstream.next += [own, refusal, own, own]
    first = client.responses.create(model="small", input="When?")
    second = client.responses.create(model="small", input="Sure?", previous_response_id=first.id)
    client.responses.create(model="small", input="Really?", previous_response_id=second.id)
    assert len(upstream.bodies) == 4, "it is asked for a stored response once"
    assert "previous_response_id" not in upstream.bodies[2]
    assert [item["content"] for item in upstream.bodies[3]["input"]] == [
        "When?", "At nine.", "Sure?", "At nine.", "Really?"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "message", ["Previous response with id 'resp_up' not found.", "Response 'resp_up' not found."]
)
def test_an_upstream_that_forgets_a_response_gets_that_conversation(client, upstream, message):
    forgotten = ScriptedReply(404, {"error": {"code": None, "message": message}})
    own = ScriptedReply(body=own_response())
    upstream.next += [own, forgotten, own, own]
    first = client.responses.create(model="small", input="When?")
    second = client.responses.create(model="small", input="Sure?", previous_response_id=first.id)
    client.responses.create(model="small", input="Really?", previous_response_id=second.id)
    assert [item["content"] for item in upstream.bodies[2]["input"]] == [
        "When?", "At nine.", "Sure?"
    ]  # fmt: skip
    assert upstream.bodies[3]["previous_response_id"] == "resp_up"


@pytest.mark.parametrize("is_reachable", [False, True])
def test_the_next_upstream_continues_a_conversation(settings, upstream, is_reachable):
    app, first = make_upstream()
    with ExitStack() as served:
        address = served.enter_context(serving(app)) + "/v1"
        pair = [
            settings.upstreams[0].model_copy(update={"base_url": url, "apis": ("responses",)})
            for url in (address, upstream.url)
        ]
        once = settings.retry.model_copy(update={"max_attempts": 1})
        both = settings.model_copy(update={"upstreams": tuple(pair), "retry": once})
        first.next += [ScriptedReply(body=own_response()), ScriptedReply(503)]
        upstream.next.append(ScriptedReply(body=own_response(id="resp_two")))
        with running_gateway(both) as gateway:
            body = {"model": "small", "input": "When?"}
            id_ = gateway.http.post("/v1/responses", json=body).json()["id"]
            if not is_reachable:
                served.close()
            body = {"model": "small", "input": "Sure?", "previous_response_id": id_}
            assert gateway.http.post("/v1/responses", json=body).status_code == 200
    assert [item["content"] for item in upstream.bodies[0]["input"]] == [
        "When?", "At nine.", "Sure?"
    ]  # fmt: skip


def test_responses_that_the_gateway_does_not_know_are_the_upstreams(gateway, upstream):
    for method, path in (
        ("GET", "/v1/responses/resp_other"),
        ("DELETE", "/v1/responses/resp_other"),
        ("GET", "/v1/responses/resp_other/input_items"),
        ("POST", "/v1/responses/resp_other/cancel"),
    ):
        answer = gateway.http.request(method, path)
        assert answer.json()["path"] == path
        assert answer.json()["method"] == method


@pytest.mark.parametrize(
    "reply",
    [
        ScriptedReply(body=own_response(status="queued", output=[])),
        ScriptedReply(body=own_response()),
        streamed(*own_events()[:5]),
        streamed(*own_events()),
    ],
)
def test_a_background_response_keeps_the_upstreams_id(gateway, upstream, reply):
    upstream.next.append(reply)
    is_stream = isinstance(reply.body, bytes)
    body = {"model": "m", "input": "x", "background": True, "stream": is_stream}
    answer = gateway.http.post("/v1/responses", json=body)
    sent = reply.body if is_stream else json.dumps(reply.body, separators=(",", ":")).encode()
    assert answer.content == sent
    assert "x-backtalk-interaction" not in answer.headers
    assert interactions(gateway) == {}


@pytest.fixture
def mail(gateway):
    with Store(gateway.settings.store, project="mail") as store:
        yield store


@pytest.mark.parametrize("stream", [False, True])
def test_a_policy_for_an_endpoint_answers(client, gateway, upstream, mail, stream):
    policy = Policy(
        model=EndpointSpec(model="tuned", base_url=upstream.url),
        system="You answer for a shop.",
        decoder=Sample(sampling=Sampling(temperature=0.25)),
        name="shop",
    )
    save_policy(mail, policy)
    promote(mail, policy, actor="ada")
    arguments = {"model": "backtalk:mail", "input": "Hello", "instructions": "Be brief."}
    if stream:
        with client.responses.stream(**arguments) as events:
            answer = events.get_final_response()
    else:
        answer = client.responses.create(**arguments)
    body = upstream.bodies[0]
    assert (body["model"], body["temperature"]) == ("tuned", 0.25)
    assert body["messages"][0]["content"].startswith("You answer for a shop.")
    assert answer.output_text == "You said: Hello"
    assert answer.id.startswith("resp_mail:")
    interaction = interactions(gateway, "mail")[answer.id]
    assert interaction.policy == policy.id
    assert gateway.feedback({"interaction": answer.id, "thumb": "up"}).json()["status"] == "stored"
    again = client.responses.create(
        model="backtalk:mail", input="Again", previous_response_id=answer.id
    )
    assert [m["content"] for m in upstream.bodies[1]["messages"]][-3:] == [
        "Hello", "You said: Hello", "Again"
    ]  # fmt: skip
    assert interactions(gateway, "mail")[again.id].parent == answer.id


def test_a_policy_of_this_machine_answers_with_all_its_candidates(client, gateway, mail):
    decoder = BestOfN(n=3, reward=learned_reward(mail))
    policy = Policy(model=NamedSpec(name="responses-test"), decoder=decoder, name="best")
    save_policy(mail, policy)
    promote(mail, policy, actor="ada")
    with client.responses.stream(model="backtalk:mail", input="Hello") as stream:
        answer = stream.get_final_response()
    assert answer.output_text == "1 Hello"
    interaction = interactions(gateway, "mail")[answer.id]
    assert (len(interaction.responses), len(interaction.shown)) == (3, 1)


def test_the_tokens_of_a_policy_of_this_machine_are_counted(gateway, mail):
    policy = Policy(model=NamedSpec(name="responses-test"), decoder=Sample(), name="one")
    save_policy(mail, policy)
    promote(mail, policy, actor="ada")
    counted = gateway.http.post(
        "/v1/responses/input_tokens", json={"model": "backtalk:mail", "input": "Hello to you"}
    )
    assert counted.json() == {"object": "response.input_tokens", "input_tokens": 3}
    assert interactions(gateway, "mail") == {}, "counting is not logged"


def test_the_conversation_is_counted_too(client, gateway, upstream):
    upstream.next += [
        ScriptedReply(body=own_response()),
        ScriptedReply(body={"object": "response.input_tokens", "input_tokens": 11}),
    ]
    first = client.responses.create(model="small", input="When?")
    body = {"model": "small", "input": "Sure?", "previous_response_id": first.id}
    counted = gateway.http.post("/v1/responses/input_tokens", json=body)
    assert counted.json()["input_tokens"] == 11
    assert upstream.paths[-1] == "/v1/responses/input_tokens"
    assert "previous_response_id" not in upstream.bodies[-1]
    assert [item["content"] for item in upstream.bodies[-1]["input"]] == [
        "When?", "At nine.", "Sure?"
    ]  # fmt: skip


def test_a_policy_refuses_what_it_cannot_express(gateway, upstream, mail):
    answer = gateway.http.post(
        "/v1/responses",
        json={"model": "backtalk:mail", "input": "x", "tools": [{"type": "web_search"}]},
    )
    assert answer.json()["error"]["param"] == "tools[0].type"
    assert upstream.bodies == []


def test_the_next_upstream_answers_in_its_own_api(settings, upstream):
    first = settings.upstreams[0].model_copy(update={"apis": ("responses",)})
    second = first.model_copy(update={"apis": ("chat",), "model": "other"})
    once = settings.retry.model_copy(update={"max_attempts": 1})
    both = settings.model_copy(update={"upstreams": (first, second), "retry": once})
    upstream.next.append(ScriptedReply(503))
    with running_gateway(both) as gateway:
        answer = gateway.http.post("/v1/responses", json={"model": "small", "input": "Hello"})
        assert answer.json()["output"][0]["content"][0]["text"] == "You said: Hello"
        assert upstream.paths == ["/v1/responses", "/v1/chat/completions"]
        assert upstream.bodies[1]["model"] == "other"


def chat_stream(*chunks):
    """Return a streamed chat completion without a blank line after its last event."""
    events = [b"data: " + json.dumps(chunk).encode() for chunk in chunks]
    return streamed(b"\n\n".join(events))


BEGUN = {"choices": [{"index": 0, "delta": {"content": "At "}}]}
ENDED = {"choices": [{"index": 0, "delta": {"content": "nine."}, "finish_reason": "stop"}]}


def test_a_stream_without_an_end_is_a_failed_response(chat_client, chat_gateway, upstream):
    upstream.next.append(chat_stream(BEGUN))
    events = list(chat_client.responses.create(model="small", input="x", stream=True))
    assert events[-1].type == "response.failed"
    assert "broke off" in events[-1].response.error.message
    assert events[-1].response.output[0].status == "incomplete"
    (interaction,) = interactions(chat_gateway).values()
    assert interaction.metadata["gateway"]["cut"]


@pytest.mark.parametrize("is_chat_end", [False, True])
@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([], "The upstream broke off its response: it ended without a finish reason"),
        ([{"error": {"message": "Overloaded", "code": 500}}], "Overloaded"),
        ([{"object": "error", "message": "Overloaded", "code": 500}], "Overloaded"),
    ],
)
def test_a_failed_response_is_stored_as_it_was_streamed(
    chat_client, upstream, chunks, message, is_chat_end
):
    reply = chat_stream(BEGUN, *chunks)
    reply.body += b"\n\ndata: [DONE]\n\n" if is_chat_end else b""
    upstream.next.append(reply)
    *_, last = chat_client.responses.create(model="small", input="x", stream=True)
    assert last.type == "response.failed"
    assert last.response.error.message == message
    assert chat_client.responses.retrieve(last.response.id).to_dict() == last.response.to_dict()
    *_, replayed = chat_client.responses.retrieve(last.response.id, stream=True)
    assert (replayed.type, replayed.response) == (last.type, last.response)


def test_a_failed_response_without_text_is_stored_as_it_was_streamed(chat_client, upstream):
    role = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    upstream.next.append(chat_stream(role))
    *_, last = chat_client.responses.create(model="small", input="x", stream=True)
    found = chat_client.responses.retrieve(last.response.id)
    assert found.to_dict() == last.response.to_dict()


def test_a_stream_that_breaks_off_after_its_answer_is_whole(chat_client, upstream):
    upstream.next.append(ScriptedReply(break_after=4))
    body = {"model": "small", "input": "x", "stream": True}
    *_, last = chat_client.responses.create(**body)
    assert last.type == "response.completed"
    assert chat_client.responses.retrieve(last.response.id).status == "completed"


def test_the_last_event_of_a_stream_needs_no_blank_line(chat_client, chat_gateway, upstream):
    upstream.next.append(chat_stream(BEGUN, ENDED))
    events = list(chat_client.responses.create(model="small", input="x", stream=True))
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "At nine."


def test_log_probabilities_are_translated(chat_client, upstream):
    reply = completion_with({"content": "A"})
    token = {"token": "A", "logprob": -0.5, "bytes": [65], "top_logprobs": []}
    reply.body["choices"][0]["logprobs"] = {"content": [token]}
    upstream.next.append(reply)
    answer = chat_client.responses.create(
        model="small", input="x", include=["message.output_text.logprobs"], top_logprobs=2
    )
    assert (upstream.bodies[0]["logprobs"], upstream.bodies[0]["top_logprobs"]) == (True, 2)
    assert answer.output[0].content[0].logprobs[0].logprob == -0.5


def test_a_broken_stream_ends_with_a_failed_response(chat_client, upstream):
    upstream.next.append(ScriptedReply(break_after=2))
    events = list(chat_client.responses.create(model="small", input="a b c", stream=True))
    assert events[-1].type == "response.failed"
    assert "broke off" in events[-1].response.error.message
    found = chat_client.responses.retrieve(events[-1].response.id)
    assert found.to_dict() == events[-1].response.to_dict()
