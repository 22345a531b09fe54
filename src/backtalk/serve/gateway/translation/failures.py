"""Errors of streams that did not end well, as translated streams and stored answers have them."""

from __future__ import annotations

from typing import Any

from backtalk.serve.errors import APIError
from backtalk.serve.gateway.stream_proxy import BROKEN


def no_finish_reason() -> APIError:
    """Return the error for a stream that ended before its answer."""
    message = "The upstream broke off its response: it ended without a finish reason"
    return APIError(502, message, code=BROKEN)


def error_of_stream(error: Any) -> APIError:
    """Return the error for a stream that reported one.

    >>> error_of_stream({"message": "Overloaded", "code": 503}).message
    'Overloaded'
    """
    message = error.get("message") if isinstance(error, dict) else error
    return APIError(502, str(message), code="upstream_failed")
