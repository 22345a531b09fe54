"""Routes of the page Experiments: results and decisions of experiments in live traffic."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import ValidationError
from starlette.responses import Response

from backtalk.errors import RecordError
from backtalk.experiments import (
    Experiment,
    list_experiments,
    promote_arm,
    read_events,
    running_experiment,
    start,
    stop,
)
from backtalk.experiments.experiment import SIGNALS, AllocationKind, RandomizationUnit
from backtalk.feedback.record import record_error
from backtalk.policy import list_policies
from backtalk.promotion import active_policy
from backtalk.serve.pages.experiments.view import VERDICTS, ExperimentReaders, status_text
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.rendering import HEADERS
from backtalk.serve.pages.section import Section

section = Section("/experiments", "Experiments", "view")

LIVE_SECONDS = 4
"""Seconds between updates of an open page."""

_readers = ExperimentReaders()


@section.get()
def listing(request: PageRequest) -> Response:
    """Show the experiments of a project, latest first."""
    store = request.store
    policies = list_policies(store)
    served = active_policy(store)
    events = read_events(store)
    last_events = {event.name: event for event in events}
    first_events = {event.name: event for event in reversed(events)}
    return request.page(
        "experiments/list.html",
        title="Experiments",
        experiments=[
            (experiment, first_events[experiment.name], last_events[experiment.name])
            for experiment in reversed(list_experiments(store))
        ],
        running=running_experiment(store),
        labels={policy.id: policy.label for policy in policies},
        served=served,
        candidates=[policy for policy in policies if served and policy.id != served.id],
        allocations=[(kind, _ALLOCATIONS[kind]) for kind in get_args(AllocationKind)],
        units=[(unit, unit) for unit in get_args(RandomizationUnit)],
        outcomes=[(signal, signal) for signal in SIGNALS],
    )


_ALLOCATIONS = {
    "fixed": "equal shares",
    "thompson": "Thompson sampling",
    "dueling": "duels: users choose between two answers",
}


@section.get("/{name}")
def show(request: PageRequest) -> Response:
    """Show an experiment."""
    context = _context(request)
    decides = context["running"] and request.can("manage")
    return request.page(
        "experiments/detail.html",
        title=request.part("name"),
        refusals=_readers.refusals(request.store, request.part("name")) if decides else {},
        **context,
    )


@section.get("/{name}/live")
def live(request: PageRequest) -> Response:
    """Return the fragment that changes, or nothing if the browser has the current one."""
    context = _context(request)
    if context["live"].summary.status != request.query("status", "running"):
        # The available decisions have changed too, so the browser reloads the whole page.
        return Response(status_code=204, headers={**HEADERS, "hx-refresh": "true"})
    if context["live"].digest == request.query("seen"):
        return Response(status_code=204, headers=dict(HEADERS))
    return request.page(
        "experiments/_live.html",
        title=request.part("name"),
        announced=request.query("announced"),
        **context,
    )


def _context(request: PageRequest) -> dict[str, Any]:
    store, name = request.store, request.part("name")
    labels = {policy.id: policy.label for policy in list_policies(store)}
    view = _readers.view(store, name, labels)
    return {
        "name": name,
        "experiment": view.summary.experiment,
        "live": view,
        "labels": labels,
        "verdicts": VERDICTS,
        "status_text": status_text(view.summary),
        "running": view.summary.status == "running",
        "seconds": LIVE_SECONDS,
    }


@section.post("", "manage")
def start_experiment(request: PageRequest) -> Response:
    """Start an experiment."""
    served = active_policy(request.store)
    fields: dict[str, Any] = {
        "name": request.form.text("name").strip(),
        "control": served.id if served is not None else "",
        "candidates": request.form.all("candidate"),
        "allocation": request.form.text("allocation"),
        "unit": request.form.text("unit"),
        "outcome": request.form.text("outcome"),
        "rule": {
            "min_judgements": request.form.text("min_judgements"),
            "margin": request.form.text("margin"),
            "promote": "promote" in request.form,
        },
    }
    if served is None:
        raise RecordError(
            "There is no active policy", "Promote a first policy, which is the control"
        )
    try:
        experiment = Experiment.model_validate(fields)
    except ValidationError as error:
        raise record_error("the experiment", error) from None
    start(request.store, experiment, actor=request.name)
    return _audit_and_redirect(request, "experiment started", experiment.name)


@section.post("/{name}/stop", "manage")
def stop_experiment(request: PageRequest) -> Response:
    """End an experiment, or remove one candidate from it."""
    name, arm = request.part("name"), request.form.text("arm") or None
    stop(request.store, name, arm=arm, actor=request.name)
    return _audit_and_redirect(
        request, "experiment stopped" if arm is None else "candidate stopped", name, arm
    )


@section.post("/{name}/promote", "manage")
def promote_candidate(request: PageRequest) -> Response:
    """Promote a candidate, if the evidence from traffic passes the gate."""
    name, arm = request.part("name"), request.form.text("arm")
    promote_arm(request.store, name, arm=arm, actor=request.name)
    return _audit_and_redirect(request, "candidate promoted", name, arm)


def _audit_and_redirect(
    request: PageRequest, action: str, name: str, arm: str | None = None
) -> Response:
    detail = name if arm is None else f"{name}, {arm[:8]}"
    request.store.audit_log.append(action, detail, actor=request.name, project=request.project)
    return request.redirect(request.url("/experiments", name))
