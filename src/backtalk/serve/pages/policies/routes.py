"""The page Policies: where each came from, what it changes, how good it is, and what is served."""

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
def listing(visit: PageRequest) -> Response:
    """Show the tree of policies, and what was served when."""
    policies = list_policies(visit.store)
    labels = {policy.id: policy.label for policy in policies}
    past = promotion_history(visit.store)
    undone = _undone(past)
    return visit.page(
        "policies/list.html",
        title="Policies",
        tree=lineage_tree(policies),
        labels=labels,
        served=past[-1].promotion.policy if past else None,
        past=view.past(past, labels),
        undone=undone,
        back_to="nothing" if undone is None else _name(labels, undone.previous),
        entries=len(past),
        latest={item.candidate: item for item in list_evaluations(visit.store)},
    )


def _name(labels: dict[str, str], id_: str | None) -> str:
    return "nothing" if id_ is None else labels.get(id_, id_[:8])


def _undone(past: Sequence[PromotionRecord]) -> Promotion | None:
    """Return the promotion that a rollback would undo, ``None`` where there is none."""
    standing: list[Promotion] = []
    for entry in past:
        if entry.promotion.action == "promote":
            standing.append(entry.promotion)
        else:
            standing.pop()
    return standing[-1] if standing else None


@section.get("/{id}")
def one(visit: PageRequest) -> Response:
    """Show a policy."""
    policy = read_policy(visit.store, visit.part("id"))
    policies = {result.id: result for result in list_policies(visit.store)}
    labels = {id_: result.label for id_, result in policies.items()}
    past = promotion_history(visit.store)
    served = past[-1].promotion.policy if past else None
    evaluations = list_evaluations(visit.store)
    evidence = view.evidence_for(policy, evaluations, served)
    parent = policies.get(policy.lineage.parent or "")
    return visit.page(
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
def promoted(visit: PageRequest) -> Response:
    """Serve a policy from now on, if its evidence passes the gate."""
    policy = read_policy(visit.store, visit.part("id"))
    named = visit.form.text("evaluation")
    evidence = read_evaluation(visit.store, named) if named else None
    promote(visit.store, policy, evidence, actor=visit.name)
    _audit(visit, "policy promoted", policy)
    return visit.redirect(visit.url("/policies", policy.id))


@section.post("/rollback", "manage")
def rolled_back(visit: PageRequest) -> Response:
    """Serve again what was served before, unless that was changed since the form was shown."""
    past = promotion_history(visit.store)
    if visit.form.text("entries") != str(len(past)):
        raise APIError(
            409, "What is served was changed since this page was shown. Look at it again first"
        )
    undone = rollback(visit.store, actor=visit.name)
    try:
        before = None if undone.policy is None else read_policy(visit.store, undone.policy)
    except NotFound:
        before = None
    _audit(visit, "policy rolled back", before)
    return visit.redirect(visit.url("/policies"))


def _audit(visit: PageRequest, action: str, policy: Policy | None) -> None:
    what = "nothing is served" if policy is None else f"{policy.label} ({policy.id[:8]})"
    visit.store.audit_log.append(action, what, actor=visit.name, project=visit.project)
