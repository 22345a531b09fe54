"""Routes of the page Reports: charts of records, and reports of evaluations."""

from __future__ import annotations

import threading

from starlette.responses import HTMLResponse, Response

from backtalk.errors import BacktalkError
from backtalk.evaluate.storage import list_evaluations, read_evaluation
from backtalk.policy import Policy, list_policies, read_policy
from backtalk.reports import evaluation_report, read_examples, read_training
from backtalk.serve.pages.interactions.feedback_view import kind_name
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
"""Headers of a report, which has inline styles: sandboxed, without scripts."""

_plot_lock = threading.Lock()
"""Lock of the plotting library, whose settings are global."""


@section.get()
def listing(request: PageRequest) -> Response:
    """Show charts of the records, and the evaluations, latest first."""
    labels = {policy.id: policy.label for policy in list_policies(request.store)}
    evaluations = list_evaluations(request.store)
    return request.page(
        "reports/list.html",
        title="Reports",
        charts=charts(request.store),
        max_rows=MAX_ROWS,
        labels=labels,
        evaluations=[
            evaluation_view(item, labels, served=item.baseline) for item in reversed(evaluations)
        ],
        kind_name=kind_name,
    )


@section.get("/{id}")
def show(request: PageRequest) -> Response:
    """Show the report of an evaluation."""
    store = request.store
    evaluation = read_evaluation(store, request.part("id"))
    candidate = read_policy(store, evaluation.candidate)
    with _plot_lock:
        report = evaluation_report(
            evaluation,
            candidate,
            read_policy(store, evaluation.baseline),
            examples=read_examples(store, evaluation),
            training=_training(request, candidate),
        )
        return HTMLResponse(report.to_html(), headers=REPORT_HEADERS)


def _training(request: PageRequest, policy: Policy) -> list[dict[str, float]]:
    """Return the metrics of each training step; empty if the artifact is on another machine."""
    try:
        return read_training(request.store, policy)
    except BacktalkError:
        return []
