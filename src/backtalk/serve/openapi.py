"""OpenAPI document of the gateway."""

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

_ERRORS = {
    400: "The request is malformed",
    401: "The API key is missing, invalid or revoked",
    403: "The key, or the web page, lacks the permission",
    404: "The model, policy or path does not exist",
    409: "Another record has the same id",
    413: "The request is too large",
    422: "The feedback is invalid",
    429: "Too many requests; `retry-after` gives the seconds to wait",
    502: "The upstream could not be reached, or broke off its response",
    503: "Temporarily unavailable; `retry-after` gives the seconds to wait",
    504: "The upstream did not respond in time",
}
_KEY_ERRORS = (400, 401, 403, 429, 503)
"""Status codes of errors of every endpoint that needs a key."""

_UPSTREAM_ERRORS = (404, 413, 502, 504)
_OBJECT_ERRORS = (*_KEY_ERRORS, 404, 502, 504)
"""Status codes of errors about files and jobs, which may be those of the upstream."""

_STATUSES = ["stored", "duplicate", "pending", "queued", "rejected", "conflict"]


_PAGE = (
    {"name": "after", "in": "query", "required": False, "schema": _TEXT},
    {"name": "limit", "in": "query", "required": False, "schema": {"type": "integer"}},
)
"""Parameters of a list."""


async def openapi_document(request: Request) -> Response:
    """Return the OpenAPI document."""
    del request
    return JSONResponse(make_document())


@cache
def make_document() -> Schema:
    """Return the OpenAPI document as a dictionary."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Backtalk",
            "version": version("backtalk"),
            "description": "OpenAI-compatible gateway that stores completions and takes feedback.",
        },
        "paths": _paths(),
        "components": {
            "schemas": {**_schemas(), **_feedback_schemas()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }


def _paths() -> Schema:
    completion = {
        "200": _json("Completion, whole or as server-sent events", "Completion", streams=True)
    }
    models = {"200": _json("All models", "Models")}
    feedback = {
        "200": _json(
            "Duplicate of a stored record; or results of a batch",
            "FeedbackResult",
            "FeedbackBatchResult",
        ),
        "201": _json("Stored", "FeedbackResult"),
        "202": _json("Durable, but waiting for its interaction or the store", "FeedbackResult"),
        "207": _json("Some rows were rejected", "FeedbackBatchResult"),
    }
    name_parameter = [{"name": "name", "in": "path", "required": True, "schema": _NAME}]
    return {
        "/v1/chat/completions": {
            "post": _model_operation("Create a chat completion", "ChatRequest", completion)
        },
        "/v1/completions": {
            "post": _model_operation("Create a text completion", "TextRequest", completion)
        },
        **_response_paths(),
        "/v1/embeddings": {
            "post": _model_operation("Create embeddings", "EmbeddingRequest", completion)
        },
        "/v1/models": {"get": _operation("List models", models, *_KEY_ERRORS)},
        "/v1/models/{name}": {
            "get": {
                **_operation(
                    "Return a model",
                    {"200": _json("The model", "Model")},
                    *_KEY_ERRORS,
                    *_UPSTREAM_ERRORS,
                ),
                "parameters": name_parameter,
            }
        },
        "/v1/feedback": {
            "post": {
                **_operation("Store feedback", feedback, *_KEY_ERRORS, 409, 413, 422),
                "parameters": [
                    {"name": "idempotency-key", "in": "header", "required": False, "schema": _TEXT}
                ],
                "requestBody": _body("FeedbackRequest"),
            }
        },
        "/v1/feedback/schema": {
            "get": _operation(
                "Return the JSON Schema of a row of feedback",
                {"200": _json("JSON Schema", "Object")},
                *_KEY_ERRORS,
            )
        },
        "/v1/purge": {
            "post": {
                **_operation(
                    "Delete a user's data permanently",
                    {"200": _json("Numbers of deleted records", "PurgeResult")},
                    *_KEY_ERRORS,
                    413,
                ),
                "requestBody": _body("PurgeRequest"),
            }
        },
        "/v1/audit": {
            "get": _operation(
                "Return the audit log", {"200": _json("Audit log", "AuditLog")}, *_KEY_ERRORS
            )
        },
        **_file_paths(),
        **_job_paths(),
        "/metrics": {"get": _operation("Prometheus metrics", {"200": _text()}, *_KEY_ERRORS)},
        "/openapi.json": {"get": _open_operation("Return this document", "Object")},
        "/health": {"get": _open_operation("Return 200 while the process is alive")},
        "/ready": {
            "get": _open_operation("Return 200 if requests can be answered", not_ready=True)
        },
        "/backtalk.js": {
            "get": {"summary": "Feedback script for web pages", "security": []}
            | {"responses": {"200": _text("text/javascript")}}
        },
    }


def _response_paths() -> Schema:
    response = {"200": _json("Response, whole or as server-sent events", "Object", streams=True)}
    message = {"200": _json("Message, whole or as server-sent events", "Object", streams=True)}
    count = {"200": _json("Number of tokens", "Object")}
    path = "/v1/responses/{id}"
    return {
        "/v1/responses": {
            "post": _model_operation("Create a response", "ResponseRequest", response)
        },
        "/v1/responses/input_tokens": {
            "post": _model_operation("Count the tokens of an input", "ResponseRequest", count)
        },
        path: {
            "get": _object_operation("Return a stored response", "id", response),
            "delete": _object_operation(
                "Delete a stored response", "id", {"200": _json("Deleted", "Object")}
            ),
        },
        f"{path}/input_items": {
            "get": _object_operation(
                "List the input of a response", "id", {"200": _json("Items", "Object")}
            )
        },
        "/v1/messages": {"post": _model_operation("Create a message", "MessageRequest", message)},
        "/v1/messages/count_tokens": {
            "post": _model_operation("Count the tokens of a message", "MessageCountRequest", count)
        },
    }


def _file_paths() -> Schema:
    file = {"200": _json("The file", "File")}
    form = _object(("purpose", "file"), purpose=_NAME, file={"type": "string", "format": "binary"})
    return {
        "/v1/files": {
            "get": {
                **_operation(
                    "List files",
                    {"200": _json("Files; those of an upstream as it lists them", "Object")},
                    *_OBJECT_ERRORS,
                ),
                "parameters": [*_PAGE, _query("purpose"), _query("order")],
            },
            "post": {
                **_operation("Upload a file for fine-tuning", file, *_OBJECT_ERRORS, 413),
                "requestBody": {
                    "required": True,
                    "content": {"multipart/form-data": {"schema": form}},
                },
            },
        },
        "/v1/files/{file_id}": {
            "get": _object_operation("Return a file", "file_id", file),
            "delete": _object_operation(
                "Delete a file", "file_id", {"200": _json("Deleted", "Object")}
            ),
        },
        "/v1/files/{file_id}/content": {
            "get": _object_operation(
                "Return the content of a file",
                "file_id",
                {"200": {"description": "The content", "content": {"*/*": {"schema": {}}}}},
            )
        },
    }


def _job_paths() -> Schema:
    path, job = "/v1/fine_tuning/jobs", {"200": _json("The job", "FineTuningJob")}
    changes = {
        f"{path}/{{job_id}}/{name}": {
            "post": _object_operation(f"{name.capitalize()} a fine-tuning job", "job_id", job)
        }
        for name in ("cancel", "pause", "resume")
    }
    lists = {
        f"{path}/{{job_id}}/{name}": {
            "get": _object_operation(
                f"List the {name} of a fine-tuning job",
                "job_id",
                {"200": _json("The latest first; a job of the upstream as it answers", "Object")},
                *_PAGE,
            )
        }
        for name in ("events", "checkpoints")
    }
    return {
        path: {
            "get": {
                **_operation(
                    "List fine-tuning jobs", {"200": _json("Jobs", "List")}, *_OBJECT_ERRORS
                ),
                "parameters": list(_PAGE),
            },
            "post": {
                **_operation("Create a fine-tuning job", job, *_OBJECT_ERRORS, 413),
                "requestBody": _body("FineTuningRequest"),
            },
        },
        f"{path}/{{job_id}}": {"get": _object_operation("Return a job", "job_id", job)},
        **changes,
        **lists,
    }


def _object_operation(
    summary: str, parameter: str, responses: Schema, *parameters: Schema
) -> Schema:
    own = {"name": parameter, "in": "path", "required": True, "schema": _NAME}
    return {
        **_operation(summary, responses, *_OBJECT_ERRORS, 413),
        "parameters": [own, *parameters],
    }


def _query(name: str) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": _TEXT}


def _model_operation(summary: str, request: str, responses: Schema) -> Schema:
    return {
        **_operation(summary, responses, *_KEY_ERRORS, *_UPSTREAM_ERRORS),
        "requestBody": _body(request),
    }


def _operation(summary: str, responses: Schema, *error_statuses: int) -> Schema:
    errors = {str(status): _json(_ERRORS[status], "Error") for status in sorted(error_statuses)}
    return {"summary": summary, "responses": {**responses, **errors}}


def _open_operation(summary: str, name: str = "State", *, not_ready: bool = False) -> Schema:
    responses = {"200": _json("OK", name)}
    if not_ready:
        responses["503"] = _json("Not ready", "State")
    return {"summary": summary, "security": [], "responses": responses}


def _body(name: str) -> Schema:
    return {"required": True, "content": {"application/json": {"schema": _ref(name)}}}


def _json(description: str, *names: str, streams: bool = False) -> Schema:
    schema = _ref(names[0]) if len(names) == 1 else {"anyOf": [_ref(name) for name in names]}
    content: Schema = {"application/json": {"schema": schema}}
    if streams:
        content["text/event-stream"] = {"schema": _TEXT}
    return {"description": description, "content": content}


def _text(media_type: str = "text/plain") -> Schema:
    return {"description": "Text", "content": {media_type: {"schema": _TEXT}}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _schemas() -> Schema:
    message = _object(("role",), role=_NAME, content={})
    error = _object(("message", "type"), message=_TEXT, type=_TEXT, param={}, code={})
    options = {"user": _TEXT, "stream": {"type": "boolean"}, "n": {"type": "integer", "minimum": 1}}
    row = {"id": _NAME, "interaction": _nullable(_NAME), "status": {"enum": _STATUSES}}
    entry = _object(
        ("time", "actor", "action", "detail"),
        time=_TEXT, project=_nullable(_TEXT), actor=_TEXT, action=_TEXT, detail=_TEXT,
    )  # fmt: skip
    return {
        "Object": {"type": "object"},
        "Error": _object(("error",), error=error),
        "Completion": {"type": "object"},
        "ChatRequest": _object(
            ("model", "messages"), model=_NAME, messages=_list(message), **options
        ),
        "TextRequest": _object(("model", "prompt"), model=_NAME, prompt={}, **options),
        "ResponseRequest": _object(("model", "input"), model=_NAME, input={}),
        "MessageRequest": _object(
            ("model", "max_tokens", "messages"),
            model=_NAME, max_tokens={"type": "integer", "minimum": 1}, messages=_list(message),
        ),
        "MessageCountRequest": _object(
            ("model", "messages"), model=_NAME, messages=_list(message)
        ),
        "EmbeddingRequest": _object(("model", "input"), model=_NAME, input={}),
        "Model": _object(("id",), id=_NAME),
        "Models": _object(("data",), data=_list(_ref("Model"))),
        "FeedbackResult": _object(("status", "id"), index=_COUNT, reason=_TEXT, **row),
        "FeedbackRowResult": _object(("status", "index"), index=_COUNT, reason=_TEXT, **row),
        "FeedbackBatchResult": _object(
            ("accepted", "rejected", "results"),
            accepted=_COUNT, rejected=_COUNT, results=_list(_ref("FeedbackRowResult")),
        ),
        "PurgeRequest": _object(("user",), user=_NAME),
        "PurgeResult": _object(
            ("interactions", "feedback", "memory_entries", "policies"),
            interactions=_COUNT, feedback=_COUNT, memory_entries=_COUNT, policies=_list(_TEXT),
        ),
        "AuditLog": _object(("entries",), entries=_list(entry)),
        "State": _object(("status",), status=_TEXT),
        "List": _object(("data",), data=_list(_ref("Object")), has_more={"type": "boolean"}),
        "File": _object(("id",), id=_NAME, filename=_TEXT, purpose=_TEXT, bytes=_COUNT),
        "FineTuningJob": _object(("id",), id=_NAME, status=_TEXT, model=_TEXT),
        "FineTuningRequest": _object(
            ("model", "training_file"),
            model=_NAME, training_file=_NAME, validation_file=_nullable(_NAME),
            method=_ref("Object"), seed=_nullable(_COUNT), suffix=_nullable(_TEXT),
            metadata=_nullable(_ref("Object")),
        ),
    }  # fmt: skip


def _feedback_schemas() -> Schema:
    """Return the schemas of feedback, with references as OpenAPI writes them."""
    schema = row_schema()
    definitions = schema.pop("$defs")
    schemas: Schema = {
        name: _rewrite_references(definition) for name, definition in definitions.items()
    }
    schemas["FeedbackRow"] = _rewrite_references({"oneOf": schema["oneOf"]})
    rows = {**_list(_ref("FeedbackRow")), "maxItems": 1_000}
    schemas["FeedbackRequest"] = {
        "anyOf": [_ref("FeedbackRow"), rows, _object(("feedback",), feedback=rows)]
    }
    return schemas


def _rewrite_references(schema: Any) -> Any:
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            return {**schema, "$ref": reference.replace("#/$defs/", "#/components/schemas/")}
        return {name: _rewrite_references(value) for name, value in schema.items()}
    if isinstance(schema, list):
        return [_rewrite_references(value) for value in schema]
    return schema
