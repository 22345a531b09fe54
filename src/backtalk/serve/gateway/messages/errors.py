"""Errors in the shape of Anthropic's API."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import to_json
from starlette.responses import JSONResponse, Response

from backtalk.serve.errors import APIError

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_body(status: int, message: str) -> dict[str, Any]:
    """Return an error of Anthropic's API.

    Parameters
    ----------
    status : int
        HTTP status code.
    message : str
        Description of the problem.
    """
    error = {"type": _TYPES.get(status, "api_error"), "message": message}
    return {"type": "error", "error": error}


def error_response(error: APIError) -> Response:
    """Return the HTTP response of an error."""
    return JSONResponse(error_body(error.status, error.message), error.status, error.headers)


def error_event(error: APIError) -> bytes:
    """Return the event that ends a streamed message with an error."""
    return b"event: error\ndata: " + to_json(error_body(error.status, error.message)) + b"\n\n"


def as_error(status: int, content: bytes) -> dict[str, Any]:
    """Return an error of OpenAI's API, or of another server, as one of Anthropic's API.

    Parameters
    ----------
    status : int
        HTTP status code.
    content : bytes
        Body of the error.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return error_body(status, content[:200].decode("utf-8", "replace"))
    if isinstance(value, dict) and value.get("type") == "error":
        return value
    error = value.get("error", value) if isinstance(value, dict) else value
    message = error.get("message") or error.get("detail") if isinstance(error, dict) else error
    return error_body(status, message if isinstance(message, str) else json.dumps(error))
