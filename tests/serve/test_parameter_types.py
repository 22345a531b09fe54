"""Parameters of the wrong type are refused by name where a request is translated."""

import json

import pytest

from tests.serve.conftest import running_gateway

TEXT, OBJECT, LIST, NUMBER, BOOLEAN = "x", {}, [], 1, True


def others(*valid):
    """Return a value of each JSON type but those of the valid values."""
    types = {type(value) for value in valid}
    return [value for value in (5, "x", [5], {"a": 5}, True) if type(value) not in types]


def wrong(**valid):
    """Return bodies with a parameter of a wrong type, each with the name of the parameter."""
    return [
        ({name: value}, name)
        for name, examples in valid.items()
        for value in others(*(examples if isinstance(examples, tuple) else (examples,)))
    ]


def within(name, rows):
    """Return bodies with an object of this name that has the parameters."""
    return [({name: fields}, f"{name}.{path}") for fields, path in rows]


def filled(fields, rows):
    """Return rows with other fields, which are valid."""
    return [({**fields, **row}, path) for row, path in rows]


def listed(name, rows):
    """Return bodies with a list of this name that has the rows as its second item."""
    return [({name: [FIRST[name], row]}, f"{name}[1].{path}") for row, path in rows]


FUNCTION = {"type": "function", "name": "f", "parameters": {}}
HELLO = {"role": "user", "content": "Hello"}
FIRST = {"tools": FUNCTION, "input": HELLO, "messages": HELLO}
TYPED_TEXT = {"type": TEXT}


def message_with(key, path, parts, *, role="user"):
    """Return bodies whose second message has a part."""
    return [
        ({key: [HELLO, {"role": role, "content": [part]}]}, f"{key}[1].content[0]{path}{name}")
        for part, name in parts
    ]


def parts(kind, **valid):
    """Return parts of this type with a parameter of a wrong type."""
    required = dict.fromkeys(valid, "x")
    return [({"type": kind, **required, **row}, f".{name}") for row, name in wrong(**valid)]


RESPONSES = [
    *wrong(
        instructions=(TEXT, LIST), max_output_tokens=NUMBER, tools=LIST,
        tool_choice=(TEXT, OBJECT), text=OBJECT, reasoning=OBJECT, store=BOOLEAN, metadata=OBJECT,
        previous_response_id=TEXT, include=LIST, stream=BOOLEAN, stream_options=OBJECT,
        background=BOOLEAN, max_tool_calls=NUMBER, top_logprobs=NUMBER,
        parallel_tool_calls=BOOLEAN, temperature=NUMBER, top_p=NUMBER, user=TEXT,
        safety_identifier=TEXT, prompt_cache_key=TEXT, prompt_cache_options=OBJECT,
        service_tier=TEXT, input=(TEXT, LIST),
    ),
    ({"include": [5]}, "include"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"temperature": float("nan")}, "temperature"),
    *within("text", wrong(verbosity=TEXT, format=OBJECT)),
    *within("text", within("format", [({}, "type"), *wrong(**TYPED_TEXT)])),
    *within("text", within("format", [
        *filled({"type": "json_schema", "name": "n", "schema": {}},
                wrong(name=TEXT, schema=OBJECT, description=TEXT, strict=BOOLEAN)),
        ({"type": "json_schema", "schema": {}}, "name"),
        ({"type": "json_schema", "name": "n"}, "schema"),
    ])),
    *within("reasoning", wrong(effort=TEXT, summary=TEXT)),
    ({"tools": [FUNCTION, 5]}, "tools[1]"),
    *listed("tools", [
        ({}, "type"),
        ({"type": "function"}, "name"),
        *wrong(**TYPED_TEXT),
        *filled(FUNCTION, wrong(name=TEXT, description=TEXT, parameters=OBJECT, strict=BOOLEAN)),
    ]),
    *within("tool_choice", [
        ({}, "type"),
        ({"type": "function"}, "name"),
        ({"type": "function", "name": 5}, "name"),
        ({"type": "allowed_tools"}, "tools"),
        ({"type": "allowed_tools", "tools": "f"}, "tools"),
        ({"type": "allowed_tools", "tools": ["f"]}, "tools[0]"),
        ({"type": "allowed_tools", "tools": [], "mode": 5}, "mode"),
    ]),
    ({"input": [5]}, "input[0]"),
    ({"input": [{"role": "user"}]}, "input[0].content"),
    *listed("input", [
        *filled({"role": "user"}, wrong(content=(TEXT, LIST))),
        ({"type": "reasoning", "summary": "x"}, "summary"),
        ({"type": "reasoning", "content": [{"text": 5}]}, "content[0].text"),
        ({"type": "function_call", "name": "f"}, "call_id"),
        *filled({"type": "function_call", "name": "f", "call_id": "c"},
                wrong(name=TEXT, call_id=TEXT, arguments=TEXT)),
        ({"type": "function_call_output", "output": "x"}, "call_id"),
        ({"type": "function_call_output", "call_id": "c"}, "output"),
        ({"type": "function_call_output", "call_id": "c", "output": [5]}, "output[0]"),
        *filled({"type": "function_call_output", "call_id": "c", "output": "x"},
                wrong(call_id=TEXT, output=(TEXT, LIST))),
    ]),
    *message_with("input", "", [
        (5, ""),
        ({"text": "x"}, ".type"),
        ({"type": "input_text"}, ".text"),
        ({"type": "input_image"}, ".image_url"),
        ({"type": "input_file"}, ".file_data"),
        ({"type": "input_audio", "input_audio": {"format": "wav"}}, ".input_audio.data"),
        *parts("input_text", text=TEXT),
        *parts("input_image", image_url=TEXT, detail=TEXT),
        *parts("input_audio", input_audio=OBJECT),
        *parts("input_file", file_data=TEXT, file_id=TEXT, filename=TEXT),
    ]),
    *message_with("input", "", [
        *parts("output_text", text=TEXT), *parts("refusal", refusal=TEXT)
    ], role="assistant"),
]  # fmt: skip

USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "x"}
PICTURE = {"type": "base64", "media_type": "image/png", "data": "AA=="}
MESSAGES = [
    *wrong(
        system=(TEXT, LIST), max_tokens=NUMBER, stop_sequences=LIST, tools=LIST,
        tool_choice=OBJECT, thinking=OBJECT, metadata=OBJECT, output_config=OBJECT,
        output_format=OBJECT, service_tier=TEXT, stream=BOOLEAN, temperature=NUMBER, top_p=NUMBER,
        top_k=NUMBER, cache_control=OBJECT, messages=LIST,
    ),
    ({"stop_sequences": [5]}, "stop_sequences"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"messages": None}, "messages"),
    ({"system": [{"type": "text"}]}, "system[0].text"),
    ({"system": [5]}, "system[0]"),
    *within("thinking", [({}, "type"), *filled({"type": "enabled"}, wrong(
        type=TEXT, budget_tokens=NUMBER, display=TEXT
    ))]),
    *within("metadata", wrong(user_id=TEXT)),
    *within("output_config", wrong(effort=TEXT, format=OBJECT)),
    *within("output_config", within("format", [({}, "type"), ({"type": "json_schema"}, "schema")])),
    *within("output_format", [({}, "type"), ({"type": "json_schema", "schema": 5}, "schema")]),
    *within("tool_choice", [
        ({}, "type"),
        ({"type": "tool"}, "name"),
        ({"type": "tool", "name": 5}, "name"),
        ({"type": "auto", "disable_parallel_tool_use": "yes"}, "disable_parallel_tool_use"),
    ]),
    ({"tools": [5]}, "tools[0]"),
    ({"tools": [{}]}, "tools[0].name"),
    *[({"tools": [{"name": "f", **row}]}, f"tools[0].{name}") for row, name in wrong(
        type=TEXT, name=TEXT, description=TEXT, input_schema=OBJECT, strict=BOOLEAN
    )],
    ({"messages": [5]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    *listed("messages", [
        *filled(HELLO, wrong(role=TEXT)), *filled(HELLO, wrong(content=(TEXT, LIST)))
    ]),
    *message_with("messages", "", [
        (5, ""),
        ({}, ".type"),
        ({"type": "text"}, ".text"),
        ({"type": "tool_result"}, ".tool_use_id"),
        *[(row, f".{name}") for row, name in filled(
            RESULT, wrong(tool_use_id=TEXT, content=(TEXT, LIST), is_error=BOOLEAN)
        )],
        ({**RESULT, "content": [{"type": "text"}]}, ".content[0].text"),
        *parts("text", text=TEXT),
        ({"type": "image"}, ".source"),
        ({"type": "image", "source": {}}, ".source.type"),
        ({"type": "image", "source": {"type": "url"}}, ".source.url"),
        *[({"type": "image", "source": row}, f".source.{name}") for row, name in filled(
            PICTURE, wrong(media_type=TEXT, data=TEXT)
        )],
        *[({"type": "document", "source": PICTURE, **row}, f".{name}") for row, name in wrong(
            source=OBJECT, title=TEXT, context=TEXT, citations=OBJECT
        )],
        ({"type": "document", "source": {"type": "text", "data": 5}}, ".source.data"),
        ({"type": "document", "source": {"type": "content", "content": 5}}, ".source.content"),
        ({"type": "document", "source": PICTURE, "citations": {"enabled": 5}},
         ".citations.enabled"),
    ]),
    *message_with("messages", "", [
        ({"type": "thinking"}, ".thinking"),
        *[(row, f".{name}") for row, name in filled(
            USE, wrong(id=TEXT, name=TEXT, input=OBJECT)
        )],
    ], role="assistant"),
]  # fmt: skip


@pytest.fixture
def chat_gateway(settings):
    """Gateway in front of an upstream that has chat completions only."""
    chat_only = settings.upstreams[0].model_copy(update={"apis": ("chat",)})
    with running_gateway(settings.model_copy(update={"upstreams": (chat_only,)})) as running:
        yield running


def read_openai_error(error):
    assert error["error"]["type"] == "invalid_request_error"
    assert error["error"]["message"].startswith(f"{error['error']['param']}: expected ")
    return error["error"]["param"]


def read_anthropic_error(error):
    assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")
    return error["error"]["message"].partition(": expected ")[0]


APIS = {
    "responses": ({"input": "x"}, RESPONSES, read_openai_error),
    "messages": ({"messages": [HELLO], "max_tokens": 9}, MESSAGES, read_anthropic_error),
}


@pytest.mark.parametrize("api", APIS)
def test_a_parameter_of_the_wrong_type_is_refused_by_name(chat_gateway, upstream, api):
    valid, rows, read_error = APIS[api]
    assert len(rows) > 100
    wrongly_answered = []
    for fields, path in rows:
        body = json.dumps({"model": "m", **valid, **fields})
        answer = chat_gateway.http.post(f"/v1/{api}", content=body)
        if answer.status_code != 400 or read_error(answer.json()) != path:
            wrongly_answered.append((fields, path, answer.status_code, answer.text))
    assert wrongly_answered == []
    assert upstream.bodies == []


@pytest.mark.parametrize("api", APIS)
def test_null_is_as_good_as_no_parameter(chat_gateway, api):
    valid, rows, _ = APIS[api]
    names = {name for fields, _ in rows for name in fields} - valid.keys()
    body = {"model": "m", **dict.fromkeys(names), **valid}
    assert chat_gateway.http.post(f"/v1/{api}", json=body).status_code == 200
