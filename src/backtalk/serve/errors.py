"""Error responses in the shape of OpenAI's API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from backtalk.errors import BacktalkError
from backtalk.models import (
    BadRequest,
    BudgetExceeded,
    ConnectionFailed,
    ContextTooLong,
    ModelError,
    RateLimited,
    RequestTimeout,
    UnknownModel,
)

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "request_too_large",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class APIError(Exception):
    """Error that ends a request.

    Parameters
    ----------
    status : int
        HTTP status code.
    message : str
        Description of the problem and its solution.
    code : str, optional
        OpenAI error code, such as ``"model_not_found"``.
    param : str, optional
        Name of the invalid field.
    headers : Mapping[str, str], optional
        Extra response headers.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the error object of OpenAI's API."""
        return {
            "error": {
                "message": self.message,
                "type": _TYPES.get(self.status, "api_error"),
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> Response:
        """Return the HTTP response."""
        return JSONResponse(self.body(), self.status, headers=self.headers)


_STATUS: tuple[tuple[type[BacktalkError], int, str | None], ...] = (
    (ContextTooLong, 400, "context_length_exceeded"),
    (BadRequest, 400, None),
    (RateLimited, 429, "rate_limit_exceeded"),
    (BudgetExceeded, 429, "insufficient_quota"),
    (RequestTimeout, 504, "timeout"),
    (ConnectionFailed, 502, "upstream_unreachable"),
    (UnknownModel, 502, "upstream_refused"),
    (ModelError, 502, "upstream_failed"),
)


def api_error_for(error: BacktalkError) -> APIError:
    """Return the API error for an exception raised by a model."""
    for error_type, status, code in _STATUS:
        if isinstance(error, error_type):
            return APIError(status, str(error), code=code)
    return APIError(500, str(error), code="internal_error")
