"""Routes of the page Policies: lineage, recipes, evaluations, promotion and rollback."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from backtalk.errors import NotFound
from backtalk.evaluate.storage import list_evaluations, read_evaluation
from backtalk.policy import Policy, list_policies, read_policy
from backtalk.promotion import Promotion, PromotionRecord, promote, promotion_history, rollback
from backtalk.serve.errors import APIError
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.policies import view
from backtalk.serve.pages.policies.lineage_tree import lineage_tree
from backtalk.serve.pages.section import Section

section = Section("/policies", "Policies", "view")


@section.get()
def listing(request: PageRequest) -> Response:
    """Show the tree of policies and the promotion history."""
    policies = list_policies(request.store)
    labels = {policy.id: policy.label for policy in policies}
    past = promotion_history(request.store)
    undone = _last_promotion(past)
    return request.page(
        "policies/list.html",
        title="Policies",
        tree=lineage_tree(policies),
        labels=labels,
        served=past[-1].promotion.policy if past else None,
        past=view.past(past, labels),
        undone=undone,
        back_to="nothing" if undone is None else _name(labels, undone.previous),
        entries=len(past),
        latest={item.candidate: item for item in list_evaluations(request.store)},
    )


def _name(labels: dict[str, str], id_: str | None) -> str:
    return "nothing" if id_ is None else labels.get(id_, id_[:8])


def _last_promotion(past: Sequence[PromotionRecord]) -> Promotion | None:
    """Return the promotion that a rollback would undo, ``None`` if there is none."""
    standing: list[Promotion] = []
    for entry in past:
        if entry.promotion.action == "promote":
            standing.append(entry.promotion)
        else:
            standing.pop()
    return standing[-1] if standing else None


@section.get("/{id}")
def one(request: PageRequest) -> Response:
    """Show a policy."""
    policy = read_policy(request.store, request.part("id"))
    policies = {result.id: result for result in list_policies(request.store)}
    labels = {id_: result.label for id_, result in policies.items()}
    past = promotion_history(request.store)
    served = past[-1].promotion.policy if past else None
    evaluations = list_evaluations(request.store)
    evidence = view.evidence_for(policy, evaluations, served)
    parent = policies.get(policy.lineage.parent or "")
    return request.page(
        "policies/one.html",
        title=policy.label,
        policy=policy,
        labels=labels,
        parent=parent,
        children=[result for result in policies.values() if result.lineage.parent == policy.id],
        served=policies.get(served or ""),
        is_served=policy.id == served,
        from_parent=view.changes(parent, policy),
        from_served=view.changes(policies.get(served or ""), policy),
        recipe=view.recipe(policy),
        origin=view.origin(policy),
        evaluations=[
            view.evaluation_view(item, labels, served=served)
            for item in reversed(evaluations)
            if item.candidate == policy.id
        ],
        evidence=None
        if evidence is None
        else view.evaluation_view(evidence, labels, served=served),
    )


@section.post("/{id}/promote", "manage")
def promote_policy(request: PageRequest) -> Response:
    """Promote a policy, if its evidence passes the gate."""
    policy = read_policy(request.store, request.part("id"))
    named = request.form.text("evaluation")
    evidence = read_evaluation(request.store, named) if named else None
    promote(request.store, policy, evidence, actor=request.name)
    _audit(request, "policy promoted", policy)
    return request.redirect(request.url("/policies", policy.id))


@section.post("/rollback", "manage")
def roll_back(request: PageRequest) -> Response:
    """Roll back the last promotion, unless there was another one since the form was shown."""
    past = promotion_history(request.store)
    if request.form.text("entries") != str(len(past)):
        raise APIError(
            409, "The active policy has changed since this page was loaded. Reload the page first"
        )
    undone = rollback(request.store, actor=request.name)
    try:
        before = None if undone.policy is None else read_policy(request.store, undone.policy)
    except NotFound:
        before = None
    _audit(request, "policy rolled back", before)
    return request.redirect(request.url("/policies"))


def _audit(request: PageRequest, action: str, policy: Policy | None) -> None:
    what = "no active policy" if policy is None else f"{policy.label} ({policy.id[:8]})"
    request.store.audit_log.append(action, what, actor=request.name, project=request.project)
