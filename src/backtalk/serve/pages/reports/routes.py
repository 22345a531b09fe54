"""The page Reports: what came in, what was evaluated, and each evaluation as a page of its own."""

from __future__ import annotations

import threading

from starlette.responses import HTMLResponse, Response

from backtalk.errors import BacktalkError
from backtalk.evaluate.storage import list_evaluations, read_evaluation
from backtalk.policy import Policy, list_policies, read_policy
from backtalk.reports import evaluation_report, read_examples, read_training
from backtalk.serve.pages.interactions.feedback_view import words
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.policies.view import evaluation_view
from backtalk.serve.pages.rendering import HEADERS
from backtalk.serve.pages.reports.counts import MAX_ROWS, charts
from backtalk.serve.pages.section import Section

section = Section("/reports", "Reports", "view")

REPORT_HEADERS = {
    **HEADERS,
    "content-security-policy": (
        "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
"""Of a report, which has its styles within: in a place of its own, where no script runs."""

_drawing = threading.Lock()
"""The settings of the plotting library hold for the whole process."""


@section.get()
def listing(visit: PageRequest) -> Response:
    """Show what came in, and the evaluations, the latest first."""
    labels = {policy.id: policy.label for policy in list_policies(visit.store)}
    evaluations = list_evaluations(visit.store)
    return visit.page(
        "reports/list.html",
        title="Reports",
        charts=charts(visit.store),
        most=MAX_ROWS,
        labels=labels,
        evaluations=[
            evaluation_view(item, labels, served=item.baseline) for item in reversed(evaluations)
        ],
        words=words,
    )


@section.get("/{id}")
def one(visit: PageRequest) -> Response:
    """Show the report of an evaluation."""
    store = visit.store
    result = read_evaluation(store, visit.part("id"))
    candidate = read_policy(store, result.candidate)
    with _drawing:
        report = evaluation_report(
            result,
            candidate,
            read_policy(store, result.baseline),
            examples=read_examples(store, result),
            training=_training(visit, candidate),
        )
        return HTMLResponse(report.to_html(), headers=REPORT_HEADERS)


def _training(visit: PageRequest, policy: Policy) -> list[dict[str, float]]:
    """Return what each step of a training measured; the weights may be on another machine."""
    try:
        return read_training(visit.store, policy)
    except BacktalkError:
        return []
