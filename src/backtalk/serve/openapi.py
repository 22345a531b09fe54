"""What the gateway takes and answers, as an OpenAPI document."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backtalk.serve.feedback.schema import row_schema

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"type": "string", "minLength": 1}
_COUNT: Schema = {"type": "integer", "minimum": 0}

_REFUSALS = {
    400: "The request cannot be read",
    401: "There is no key, or one that does not hold",
    403: "The key, or the page, may not do this",
    404: "There is no such model, policy or path",
    409: "The id is taken by another record",
    413: "The request is too large",
    422: "The feedback does not fit",
    429: "Too many requests; `retry-after` says when the next one is allowed",
    502: "The upstream could not be reached, or broke off",
    503: "Not now; `retry-after` says when",
    504: "The upstream did not answer in time",
}
_ENTRY = (400, 401, 403, 429, 503)
"""How any request may be refused that needs a key."""

_UPSTREAM = (404, 413, 502, 504)
_STATUSES = ["kept", "known", "waiting", "spooled", "refused", "conflict"]


async def described(request: Request) -> Response:
    """Tell what the gateway takes and answers."""
    del request
    return JSONResponse(document())


@cache
def document() -> Schema:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Backtalk",
            "version": version("backtalk"),
            "description": "An OpenAI-compatible gateway that keeps answers and takes feedback.",
        },
        "paths": _paths(),
        "components": {
            "schemas": {**_schemas(), **_rows()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }


def _paths() -> Schema:
    answered = {"200": _json("The answer, whole or as server-sent events", "Answer", streams=True)}
    listed = {"200": _json("All models", "Models")}
    kept = {
        "200": _json("It was there before; or what became of each row", "Kept", "Batch"),
        "201": _json("It is in the store", "Kept"),
        "202": _json("It is safe, and follows its interaction or the store", "Kept"),
        "207": _json("Some rows were refused", "Batch"),
    }
    named = [{"name": "name", "in": "path", "required": True, "schema": _NAME}]
    return {
        "/v1/chat/completions": {"post": _asked("Answer a chat", "Chat", answered)},
        "/v1/completions": {"post": _asked("Go on with a text", "Completion", answered)},
        "/v1/embeddings": {"post": _asked("Embed texts", "Embedding", answered)},
        "/v1/models": {"get": _operation("List models", listed, *_ENTRY)},
        "/v1/models/{name}": {
            "get": {
                **_operation(
                    "Tell of a model",
                    {"200": _json("The model", "Model")},
                    *_ENTRY,
                    *_UPSTREAM,
                ),
                "parameters": named,
            }
        },
        "/v1/feedback": {
            "post": {
                **_operation("Keep feedback", kept, *_ENTRY, 409, 413, 422),
                "parameters": [
                    {"name": "idempotency-key", "in": "header", "required": False, "schema": _TEXT}
                ],
                "requestBody": _body("Feedback"),
            }
        },
        "/v1/feedback/schema": {
            "get": _operation(
                "Tell what a row of feedback looks like",
                {"200": _json("A JSON Schema", "Anything")},
                *_ENTRY,
            )
        },
        "/v1/purge": {
            "post": {
                **_operation(
                    "Remove a person's data for good",
                    {"200": _json("How much", "Purged")},
                    *_ENTRY,
                    413,
                ),
                "requestBody": _body("Purge"),
            }
        },
        "/v1/audit": {
            "get": _operation("Tell who did what", {"200": _json("The log", "Audit")}, *_ENTRY)
        },
        "/metrics": {"get": _operation("Counts for Prometheus", {"200": _text()}, *_ENTRY)},
        "/openapi.json": {"get": _open("Tell what there is", "Anything")},
        "/health": {"get": _open("Say that the process lives")},
        "/ready": {"get": _open("Say whether requests can be answered", not_ready=True)},
        "/backtalk.js": {
            "get": {"summary": "The snippet for web pages", "security": []}
            | {"responses": {"200": _text("text/javascript")}}
        },
    }


def _asked(summary: str, body: str, answered: Schema) -> Schema:
    return {
        **_operation(summary, answered, *_ENTRY, *_UPSTREAM),
        "requestBody": _body(body),
    }


def _operation(summary: str, good: Schema, *refused: int) -> Schema:
    errors = {str(status): _json(_REFUSALS[status], "Error") for status in sorted(refused)}
    return {"summary": summary, "responses": {**good, **errors}}


def _open(summary: str, name: str = "State", *, not_ready: bool = False) -> Schema:
    responses = {"200": _json("Yes", name)}
    if not_ready:
        responses["503"] = _json("No", "State")
    return {"summary": summary, "security": [], "responses": responses}


def _body(name: str) -> Schema:
    return {"required": True, "content": {"application/json": {"schema": _ref(name)}}}


def _json(description: str, *names: str, streams: bool = False) -> Schema:
    schema = _ref(names[0]) if len(names) == 1 else {"anyOf": [_ref(name) for name in names]}
    content: Schema = {"application/json": {"schema": schema}}
    if streams:
        content["text/event-stream"] = {"schema": _TEXT}
    return {"description": description, "content": content}


def _text(kind: str = "text/plain") -> Schema:
    return {"description": "Text", "content": {kind: {"schema": _TEXT}}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _schemas() -> Schema:
    message = _object(("role",), role=_NAME, content={})
    told = _object(("message", "type"), message=_TEXT, type=_TEXT, param={}, code={})
    rest = {"user": _TEXT, "stream": {"type": "boolean"}, "n": {"type": "integer", "minimum": 1}}
    row = {"id": _NAME, "interaction": _maybe(_NAME), "status": {"enum": _STATUSES}}
    entry = _object(
        ("time", "actor", "action", "what"),
        time=_TEXT, project=_maybe(_TEXT), actor=_TEXT, action=_TEXT, what=_TEXT,
    )  # fmt: skip
    return {
        "Anything": {"type": "object"},
        "Error": _object(("error",), error=told),
        "Answer": {"type": "object"},
        "Chat": _object(("model", "messages"), model=_NAME, messages=_list(message), **rest),
        "Completion": _object(("model", "prompt"), model=_NAME, prompt={}, **rest),
        "Embedding": _object(("model", "input"), model=_NAME, input={}),
        "Model": _object(("id",), id=_NAME),
        "Models": _object(("data",), data=_list(_ref("Model"))),
        "Kept": _object(("status", "id"), index=_COUNT, reason=_TEXT, **row),
        "Result": _object(("status", "index"), index=_COUNT, reason=_TEXT, **row),
        "Batch": _object(
            ("kept", "refused", "results"),
            kept=_COUNT, refused=_COUNT, results=_list(_ref("Result")),
        ),
        "Purge": _object(("user",), user=_NAME),
        "Purged": _object(
            ("interactions", "feedback", "policies"),
            interactions=_COUNT, feedback=_COUNT, policies=_list(_TEXT),
        ),
        "Audit": _object(("entries",), entries=_list(entry)),
        "State": _object(("status",), status=_TEXT),
    }  # fmt: skip


def _rows() -> Schema:
    """Return the schema of feedback, its definitions where OpenAPI has them."""
    schema = row_schema()
    result: Schema = {name: _moved(definition) for name, definition in schema.pop("$defs").items()}
    result["Row"] = _moved({"oneOf": schema["oneOf"]})
    some = {**_list(_ref("Row")), "maxItems": 1_000}
    result["Feedback"] = {"anyOf": [_ref("Row"), some, _object(("feedback",), feedback=some)]}
    return result


def _moved(schema: Any) -> Any:
    if isinstance(schema, dict):
        if isinstance(result := schema.get("$ref"), str):
            return {**schema, "$ref": result.replace("#/$defs/", "#/components/schemas/")}
        return {name: _moved(value) for name, value in schema.items()}
    if isinstance(schema, list):
        return [_moved(value) for value in schema]
    return schema
