"""The page Experiments: policies under traffic, what they showed so far, and what was decided."""

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
"""How often a page that is open asks for what is new."""

_watched = ExperimentReaders()


@section.get()
def listing(visit: PageRequest) -> Response:
    """Show the experiments of a project, the latest first."""
    store = visit.store
    policies = list_policies(store)
    served = active_policy(store)
    ends = {event.name: event for event in read_events(store)}
    starts = {event.name: event for event in reversed(read_events(store))}
    runs = running_experiment(store)
    return visit.page(
        "experiments/list.html",
        title="Experiments",
        experiments=[
            (result, starts[result.name], ends[result.name])
            for result in reversed(list_experiments(store))
        ],
        running=runs,
        labels={policy.id: policy.label for policy in policies},
        served=served,
        candidates=[policy for policy in policies if served and policy.id != served.id],
        allocations=[(kind, _ALLOCATIONS[kind]) for kind in get_args(AllocationKind)],
        units=[(unit, unit) for unit in get_args(RandomizationUnit)],
        outcomes=[(signal, signal) for signal in SIGNALS],
    )


_ALLOCATIONS = {
    "fixed": "equal shares",
    "thompson": "the better, the more (Thompson)",
    "dueling": "two answer, somebody chooses",
}


@section.get("/{name}")
def one(visit: PageRequest) -> Response:
    """Show an experiment."""
    shown = _context(visit)
    decides = shown["running"] and visit.can("manage")
    return visit.page(
        "experiments/one.html",
        title=visit.part("name"),
        refusals=_watched.refusals(visit.store, visit.part("name")) if decides else {},
        **shown,
    )


@section.get("/{name}/live")
def live(visit: PageRequest) -> Response:
    """Return the part of the page that changes, or nothing where it is as the browser has it."""
    shown = _context(visit)
    if shown["live"].summary.status != visit.query("status", "running"):
        # What can be decided has changed too, so that the whole page is asked for again.
        return Response(status_code=204, headers={**HEADERS, "hx-refresh": "true"})
    if shown["live"].digest == visit.query("seen"):
        return Response(status_code=204, headers=dict(HEADERS))
    return visit.page(
        "experiments/_live.html", title=visit.part("name"), said=visit.query("said"), **shown
    )


def _context(visit: PageRequest) -> dict[str, Any]:
    store, name = visit.store, visit.part("name")
    labels = {policy.id: policy.label for policy in list_policies(store)}
    result = _watched.view(store, name, labels)
    experiment = result.summary.experiment
    return {
        "name": name,
        "experiment": experiment,
        "live": result,
        "labels": labels,
        "verdicts": VERDICTS,
        "stands": status_text(result.summary),
        "running": result.summary.status == "running",
        "seconds": LIVE_SECONDS,
    }


@section.post("", "manage")
def start_experiment(visit: PageRequest) -> Response:
    """Start an experiment."""
    served = active_policy(visit.store)
    fields: dict[str, Any] = {
        "name": visit.form.text("name").strip(),
        "control": served.id if served is not None else "",
        "candidates": visit.form.all("candidate"),
        "allocation": visit.form.text("allocation"),
        "unit": visit.form.text("unit"),
        "outcome": visit.form.text("outcome"),
        "rule": {
            "at_least": visit.form.text("at_least"),
            "margin": visit.form.text("margin"),
            "promote": "promote" in visit.form,
        },
    }
    if served is None:
        raise RecordError("Nothing is served yet", "Promote a first policy, to compare others with")
    try:
        experiment = Experiment.model_validate(fields)
    except ValidationError as error:
        raise record_error("the experiment", error) from None
    start(visit.store, experiment, actor=visit.name)
    return _audit_and_redirect(visit, "experiment started", experiment.name)


@section.post("/{name}/stop", "manage")
def stop_experiment(visit: PageRequest) -> Response:
    """End an experiment, or take one candidate out of it."""
    name, arm = visit.part("name"), visit.form.text("arm") or None
    stop(visit.store, name, arm=arm, actor=visit.name)
    return _audit_and_redirect(visit, "experiment stopped" if arm is None else "candidate stopped", name, arm)


@section.post("/{name}/promote", "manage")
def promote_candidate(visit: PageRequest) -> Response:
    """Serve a candidate from now on, if what the traffic showed passes the gate."""
    name, arm = visit.part("name"), visit.form.text("arm")
    promote_arm(visit.store, name, arm=arm, actor=visit.name)
    return _audit_and_redirect(visit, "candidate promoted", name, arm)


def _audit_and_redirect(visit: PageRequest, action: str, name: str, arm: str | None = None) -> Response:
    what = name if arm is None else f"{name}, {arm[:8]}"
    visit.store.audit_log.append(action, what, actor=visit.name, project=visit.project)
    return visit.redirect(visit.url("/experiments", name))
