"""Endpoints of the feedback API. Feedback is acknowledged once it is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backtalk.errors import RecordError
from backtalk.feedback import AnyFeedback, content_id
from backtalk.serve.auth import Caller
from backtalk.serve.durability.write_ahead_log import WriteAheadLogFull
from backtalk.serve.durability.writer import Acknowledgement
from backtalk.serve.errors import APIError
from backtalk.serve.feedback.interaction_ids import is_placeholder, is_provider_id, is_stored
from backtalk.serve.feedback.schema import read_row, row_schema
from backtalk.serve.gateway.completion_request import INTERACTION_HEADER
from backtalk.serve.interaction_log import project_from_id
from backtalk.serve.services import PROJECT_HEADER, Services
from backtalk.store.stream_writer import WriteResult

_HTTP_STATUS = {"stored": 201, "duplicate": 200, "pending": 202, "queued": 202, "conflict": 409}
_FAILURES = frozenset({"rejected", "conflict"})
_PERSONAL_ROLES = frozenset({"annotator", "reviewer"})
"""Roles of people. Feedback without an annotator is attributed to the owner of the key."""


@dataclass
class RowResult:
    """Row of a request and its result."""

    index: int
    item: AnyFeedback | None = None
    project: str = ""
    status: str = "rejected"
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as sent to the caller."""
        result: dict[str, Any] = {"index": self.index, "status": self.status}
        if self.item is not None:
            result |= {"id": self.item.id, "interaction": self.item.interaction}
        if self.reason:
            result["reason"] = self.reason
        return result


async def post_feedback(request: Request) -> Response:
    """Store feedback.

    A batch gets one result per row. Invalid rows do not affect valid ones.
    """
    services: Services = request.app.state.services
    caller = services.authorize(request, "feedback")
    rows, is_single = _parse_rows(await services.read_body(request))
    max_rows = services.settings.limits.feedback_rows
    if len(rows) > max_rows:
        raise APIError(413, f"{len(rows)} rows exceed the limit of {max_rows} rows per request")
    key = request.headers.get("idempotency-key")
    results = [
        _read_row(row, index, request, caller, id_=_row_id(key, index, is_single=is_single))
        for index, row in enumerate(rows)
    ]
    await _reject_unknown_ids(services, results)
    await _store(services, [result for result in results if result.item is not None])
    if is_single:
        return _single_response(results[0])
    rejected = sum(result.status in _FAILURES for result in results)
    body = {
        "accepted": len(results) - rejected,
        "rejected": rejected,
        "results": [result.to_dict() for result in results],
    }
    return JSONResponse(body, 207 if rejected else 200)


async def feedback_schema(request: Request) -> Response:
    """Return the JSON Schema of a row of feedback."""
    services: Services = request.app.state.services
    services.authorize(request, "feedback")
    return JSONResponse(row_schema())


def _parse_rows(body: bytes) -> tuple[list[Any], bool]:
    """Return the rows of a body, and true if the body is a single row."""
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise APIError(400, f"The body is not JSON: {error}") from None
    if isinstance(value, dict) and isinstance(value.get("feedback"), list) and len(value) == 1:
        value = value["feedback"]
    if isinstance(value, list):
        return value, False
    return [value], True


def _row_id(key: str | None, index: int, *, is_single: bool) -> str | None:
    if not key:
        return None
    return content_id("key", key) if is_single else content_id("key", key, str(index))


def _read_row(
    row: Any, index: int, request: Request, caller: Caller, *, id_: str | None
) -> RowResult:
    services: Services = request.app.state.services
    annotator = caller.name if caller.role in _PERSONAL_ROLES else "unknown"
    try:
        item = services.redactor.feedback(read_row(row, annotator=annotator, id=id_))
        project = request.headers.get(PROJECT_HEADER) or _project_of_interaction(caller, item)
        return RowResult(index, item, services.project(request, caller, project))
    except RecordError as error:
        return RowResult(index, reason=str(error).removeprefix("feedback is not valid: "))


async def _reject_unknown_ids(services: Services, rows: Sequence[RowResult]) -> None:
    """Reject feedback whose interaction cannot arrive any more, instead of keeping it pending."""
    for row in rows:
        id_ = None if row.item is None else row.item.interaction
        if id_ is None:
            continue
        if is_placeholder(id_):
            row.reason = (
                f"interaction: {id_!r} is not an id. Send the id of the completion, which the "
                f"header {INTERACTION_HEADER} contains too"
            )
        elif is_provider_id(id_) and not await asyncio.to_thread(
            is_stored, services, row.project, id_
        ):
            row.reason = (
                f"interaction: there is no interaction {id_!r}. Send the id that the gateway gave "
                f"the completion; the header {INTERACTION_HEADER} contains it"
            )
        else:
            continue
        row.item = None


def _project_of_interaction(caller: Caller, item: AnyFeedback) -> str | None:
    """Return the project in the interaction's id, if the caller may use several projects."""
    if caller.project is not None or item.interaction is None:
        return None
    return project_from_id(item.interaction)


async def _store(services: Services, rows: Sequence[RowResult]) -> None:
    if not rows:
        return
    records = [(row.project, row.item) for row in rows if row.item is not None]
    try:
        acknowledgements = services.writer.append_feedback(records)
        results = await _wait_for_results(services, acknowledgements)
    except (WriteAheadLogFull, OSError) as error:
        raise APIError(
            503, f"The feedback could not be stored: {error}", headers={"retry-after": "5"}
        ) from None
    for row, result in zip(rows, results, strict=True):
        row.status = "queued" if result is None else result.status
        row.reason = "" if result is None else result.reason


async def _wait_for_results(
    services: Services, acknowledgements: Sequence[Acknowledgement]
) -> list[WriteResult | None]:
    """Return the result of each record, ``None`` for records that are only on disk yet.

    Raises
    ------
    OSError
        If the disk fails.
    """
    timeout = 0.0 if services.writer.store_unavailable else services.settings.acknowledge_after
    futures = [asyncio.wrap_future(acknowledgement) for acknowledgement in acknowledgements]
    _, pending = await asyncio.wait(futures, timeout=timeout)
    if pending:
        await services.sync_log()
    return [future.result() if future.done() else None for future in futures]


def _single_response(row: RowResult) -> Response:
    if row.status in _FAILURES:
        is_conflict = row.status == "conflict"
        raise APIError(
            409 if is_conflict else 422, row.reason, code="conflict" if is_conflict else "invalid"
        )
    return JSONResponse(row.to_dict(), _HTTP_STATUS[row.status])
