"""Routes of the editor: a new policy from another one, with its changes and an experiment."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from backtalk.errors import BacktalkError, Conflict
from backtalk.experiments import list_experiments, running_experiment, start
from backtalk.experiments.experiment import SIGNALS
from backtalk.policy import Policy, read_policy, save_policy
from backtalk.promotion import active_policy
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.policies import view
from backtalk.serve.pages.policies.draft import PolicyDraft, make_experiment
from backtalk.serve.pages.policies.routes import section


@section.get("/{id}/edit", "manage")
def edit(request: PageRequest) -> Response:
    """Show the editor with the fields of a policy."""
    parent = read_policy(request.store, request.part("id"))
    return _editor(request, PolicyDraft.of_parent(parent))


@section.post("/{id}/changes", "manage")
def changes(request: PageRequest) -> Response:
    """Return the fragment with the changes, while the fields are edited."""
    draft = _draft(request)
    return request.page("policies/_changes.html", title="Changes", **_changes(request, draft))


@section.post("/{id}/edit", "manage")
def save(request: PageRequest) -> Response:
    """Save the new policy, and start an experiment with it if the form says so."""
    draft = _draft(request)
    try:
        policy = draft.check(request.store)
        experiment = None
        if "experiment" in request.form:
            experiment = make_experiment(policy, active_policy(request.store), request.form)
            _check_no_experiment(request, experiment.name)
    except BacktalkError as error:
        return _editor(request, draft, error=str(error))
    save_policy(request.store, policy)
    _audit(request, "policy written", f"{policy.label} ({policy.id[:8]})")
    if experiment is None:
        return request.redirect(request.url("/policies", policy.id))
    start(request.store, experiment, actor=request.name)
    _audit(request, "experiment started", experiment.name)
    return request.redirect(request.url("/experiments", experiment.name))


def _draft(request: PageRequest) -> PolicyDraft:
    parent = read_policy(request.store, request.part("id"))
    return PolicyDraft.of_form(parent, request.form)


def _editor(request: PageRequest, draft: PolicyDraft, *, error: str = "") -> Response:
    return request.page(
        "policies/edit.html",
        status=422 if error else 200,
        title=f"New policy from {draft.parent.label}",
        error=error,
        running=running_experiment(request.store),
        outcomes=[(signal, signal) for signal in SIGNALS],
        **_changes(request, draft),
    )


def _changes(request: PageRequest, draft: PolicyDraft) -> dict[str, Any]:
    served = active_policy(request.store)
    return {
        "parent": draft.parent,
        "draft": draft,
        "served": served,
        "compared": served or draft.parent,
        "sentences": _sentences(served or draft.parent, draft.policy),
    }


def _sentences(before: Policy, after: Policy | None) -> list[str]:
    """Return the changes without those of the system prompt, which are shown word by word."""
    if after is None:
        return []
    return view.changes(before.model_copy(update={"system": after.system}), after) or []


def _check_no_experiment(request: PageRequest, name: str) -> None:
    running = running_experiment(request.store)
    if running is not None:
        raise Conflict(f"The experiment {running.name} is running", "End it first, or only save")
    if any(item.name == name for item in list_experiments(request.store)):
        raise Conflict(f"There is an experiment {name}", "Choose another name for the policy")


def _audit(request: PageRequest, action: str, detail: str) -> None:
    request.store.audit_log.append(action, detail, actor=request.name, project=request.project)
