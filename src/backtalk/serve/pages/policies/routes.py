"""Routes of the page Policies: lineage, recipes, evaluations, promotion and rollback."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from backtalk.errors import NotFound
from backtalk.evaluate.storage import list_evaluations, read_evaluation
from backtalk.policy import Policy, list_policies, policy_origin, read_policy
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
    history = promotion_history(request.store)
    last = _last_promotion(history)
    return request.page(
        "policies/list.html",
        title="Policies",
        tree=lineage_tree(policies),
        labels=labels,
        served=history[-1].promotion.policy if history else None,
        history=view.history_rows(history, labels),
        last=last,
        back_to="nothing" if last is None else view.label_or_nothing(last.previous, labels),
        entries=len(history),
        latest={item.candidate: item for item in list_evaluations(request.store)},
    )


def _last_promotion(history: Sequence[PromotionRecord]) -> Promotion | None:
    """Return the promotion that a rollback would undo, ``None`` if there is none."""
    stack: list[Promotion] = []
    for entry in history:
        if entry.promotion.action == "promote":
            stack.append(entry.promotion)
        else:
            stack.pop()
    return stack[-1] if stack else None


@section.get("/{id}")
def show(request: PageRequest) -> Response:
    """Show a policy."""
    policy = read_policy(request.store, request.part("id"))
    policies = {item.id: item for item in list_policies(request.store)}
    labels = {id_: item.label for id_, item in policies.items()}
    history = promotion_history(request.store)
    served = history[-1].promotion.policy if history else None
    evaluations = list_evaluations(request.store)
    evidence = view.evidence_for(policy, evaluations, served)
    parent = policies.get(policy.lineage.parent or "")
    origin = policy_origin(policy, request.store)
    return request.page(
        "policies/detail.html",
        title=policy.label,
        policy=policy,
        labels=labels,
        parent=parent,
        children=[child for child in policies.values() if child.lineage.parent == policy.id],
        served=policies.get(served or ""),
        is_served=policy.id == served,
        from_parent=view.changes(parent, policy),
        from_served=view.changes(policies.get(served or ""), policy),
        recipe=view.recipe(policy),
        origin=view.origin(policy),
        evaluations=[
            view.evaluation_view(item, labels, served=served, origin=origin)
            for item in reversed(evaluations)
            if item.candidate == policy.id
        ],
        evidence=None
        if evidence is None
        else view.evaluation_view(evidence, labels, served=served, origin=origin),
    )


@section.post("/{id}/promote", "manage")
def promote_policy(request: PageRequest) -> Response:
    """Promote a policy, if its evidence passes the gate."""
    policy = read_policy(request.store, request.part("id"))
    id_ = request.form.text("evaluation")
    evidence = read_evaluation(request.store, id_) if id_ else None
    promote(request.store, policy, evidence, actor=request.name)
    _audit(request, "policy promoted", policy)
    return request.redirect(request.url("/policies", policy.id))


@section.post("/rollback", "manage")
def roll_back(request: PageRequest) -> Response:
    """Roll back the last promotion, unless there was another one since the form was shown."""
    history = promotion_history(request.store)
    if request.form.text("entries") != str(len(history)):
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
    detail = "no active policy" if policy is None else f"{policy.label} ({policy.id[:8]})"
    request.store.audit_log.append(action, detail, actor=request.name, project=request.project)
