"""The feedback API: every kind, one or many, acknowledged only when it is safe."""

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
from backtalk.serve.durability.writer import Acknowledged
from backtalk.serve.errors import APIError
from backtalk.serve.feedback.schema import read_row, row_schema
from backtalk.serve.interaction_log import project_of
from backtalk.serve.services import PROJECT_HEADER, Services
from backtalk.store.stream_writer import WriteResult

_STATUS = {"kept": 201, "known": 200, "waiting": 202, "spooled": 202, "conflict": 409}
_SAYS_WHO = frozenset({"annotator", "reviewer"})
"""Roles that are a person's: feedback that does not say whose it is, is theirs."""


@dataclass
class _Row:
    """A row of a request, and what became of it."""

    index: int
    item: AnyFeedback | None = None
    project: str = ""
    status: str = "refused"
    reason: str = ""

    def told(self) -> dict[str, Any]:
        """Return what the caller is told."""
        results: dict[str, Any] = {"index": self.index, "status": self.status}
        if self.item is not None:
            results |= {"id": self.item.id, "interaction": self.item.interaction}
        if self.reason:
            results["reason"] = self.reason
        return results


async def post_feedback(request: Request) -> Response:
    """Keep feedback.

    A batch is answered with an outcome a row: those that are bad do not hold up the good ones.
    """
    services: Services = request.app.state.services
    caller = services.admit(request, "feedback")
    given, single = _given(await services.body(request))
    most = services.settings.limits.feedback_rows
    if len(given) > most:
        raise APIError(413, f"{len(given)} rows are more than the {most} allowed at once")
    key = request.headers.get("idempotency-key")
    rows = [
        _read(row, index, request, caller, id_=_id(key, index, single=single))
        for index, row in enumerate(given)
    ]
    await _keep(services, [row for row in rows if row.item is not None])
    if single:
        return _single(rows[0])
    refused = sum(row.status in {"refused", "conflict"} for row in rows)
    return JSONResponse(
        {"kept": len(rows) - refused, "refused": refused, "results": [row.told() for row in rows]},
        207 if refused else 200,
    )


async def feedback_schema(request: Request) -> Response:
    """Tell what a row of feedback looks like."""
    services: Services = request.app.state.services
    services.admit(request, "feedback")
    return JSONResponse(row_schema())


def _given(body: bytes) -> tuple[list[Any], bool]:
    """Return the rows of a body, and whether it is a single one."""
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise APIError(400, f"The body is not JSON: {error}") from None
    if isinstance(value, dict) and isinstance(value.get("feedback"), list) and len(value) == 1:
        value = value["feedback"]
    if isinstance(value, list):
        return value, False
    return [value], True


def _id(key: str | None, index: int, *, single: bool) -> str | None:
    if not key:
        return None
    return content_id("key", key) if single else content_id("key", key, str(index))


def _read(row: Any, index: int, request: Request, caller: Caller, *, id_: str | None) -> _Row:
    services: Services = request.app.state.services
    by = caller.name if caller.role in _SAYS_WHO else "unknown"
    try:
        item = services.redactor.feedback(read_row(row, by=by, id=id_))
        named = request.headers.get(PROJECT_HEADER) or _own_project(caller, item)
        return _Row(index, item, services.project(request, caller, named))
    except RecordError as error:
        return _Row(index, reason=str(error).removeprefix("feedback is not valid: "))


def _own_project(caller: Caller, item: AnyFeedback) -> str | None:
    """Return the project that the interaction's id begins with, for who may work in several."""
    if caller.project is not None or item.interaction is None:
        return None
    return project_of(item.interaction)


async def _keep(services: Services, rows: Sequence[_Row]) -> None:
    if not rows:
        return
    records = [(row.project, row.item) for row in rows if row.item is not None]
    try:
        answers = services.writer.append_feedback(records)
        outcomes = await _outcomes(services, answers)
    except (WriteAheadLogFull, OSError) as error:
        raise APIError(
            503, f"The feedback could not be kept: {error}", headers={"retry-after": "5"}
        ) from None
    for row, outcome in zip(rows, outcomes, strict=True):
        row.status = "spooled" if outcome is None else outcome.status
        row.reason = "" if outcome is None else outcome.reason


async def _outcomes(
    services: Services, answers: Sequence[Acknowledged]
) -> list[WriteResult | None]:
    """Return what became of each, ``None`` for what is safe on disk only.

    Raises
    ------
    OSError
        If the disk failed.
    """
    patience = 0.0 if services.writer.away else services.settings.acknowledge_after
    futures = [asyncio.wrap_future(answer) for answer in answers]
    _, pending = await asyncio.wait(futures, timeout=patience)
    if pending:
        await services.sync()
    return [future.result() if future.done() else None for future in futures]


def _single(row: _Row) -> Response:
    if row.status in {"refused", "conflict"}:
        conflict = row.status == "conflict"
        raise APIError(
            409 if conflict else 422, row.reason, code="conflict" if conflict else "invalid"
        )
    return JSONResponse(row.told(), _STATUS[row.status])
