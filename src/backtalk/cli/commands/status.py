"""``backtalk status``: what a project holds and serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption

if TYPE_CHECKING:
    from backtalk.evaluate.result import Evaluation
    from backtalk.policy import Policy
    from backtalk.promotion import PromotionRecord


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(
    *, store: StoreOption = STORE, project: ProjectOption = PROJECT, json: JsonOption = False
) -> None:
    """Show what a project holds: feedback by kind, policies, evaluations, and what is served.

    Examples
    --------
    - `backtalk status`
    - `backtalk status --store postgresql://backtalk@db/feedback --project mail --json`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say_json
    from backtalk.evaluate.storage import list_evaluations
    from backtalk.policy import list_policies
    from backtalk.promotion import active_policy, promotion_history

    with opened(store, project) as db:
        counts = db.counts()
        policies = list_policies(db)
        evaluations = list_evaluations(db)
        past = promotion_history(db)
        served = active_policy(db)
        projects = db.projects()
    if json:
        say_json(
            {
                "project": project,
                "projects": projects,
                "counts": counts,
                "served": None if served is None else served.id,
                "policies": [{"id": policy.id, **policy.to_dict()} for policy in policies],
                "evaluations": [evaluation.to_dict() for evaluation in evaluations],
                "history": [_entry(item) for item in past],
            }
        )
        return
    labels = {policy.id: policy.label for policy in policies}
    _show_counts(project, projects, counts)
    _show_policies(policies, served)
    _show_evaluations(evaluations, labels)
    _show_history(past, labels)


def _entry(item: PromotionRecord) -> dict[str, Any]:
    return {"actor": item.actor, "time": item.time.isoformat(), **item.promotion.to_dict()}


def _show_counts(project: str, projects: list[str], counts: dict[str, int]) -> None:
    from backtalk.cli.output import say, say_table

    others = [name for name in projects if name != project]
    say(f"Project {project}" + (f"; others here: {', '.join(others)}" if others else ""))
    say_table(
        ("records", "count"),
        [(kind, f"{count:,}") for kind, count in counts.items()],
        numbers=(1,),
    )


def _show_policies(policies: list[Policy], served: Policy | None) -> None:
    from backtalk.cli.output import say, say_table

    if not policies:
        return
    say()
    say_table(
        ("policy", "id", "model", "decoder", "made by", ""),
        [
            (
                policy.label,
                policy.id[:8],
                policy.model.kind,
                policy.decoder.kind,
                policy.lineage.method,
                "served" if served is not None and policy.id == served.id else "",
            )
            for policy in policies
        ],
    )


def _show_evaluations(evaluations: list[Evaluation], labels: dict[str, str]) -> None:
    from backtalk.cli.output import percent, say, say_table

    if not evaluations:
        return
    say()
    say_table(
        ("evaluation", "candidate", "baseline", "judge", "prompts", "win rate"),
        [
            (
                item.id[:8],
                labels.get(item.candidate, item.candidate[:8]),
                labels.get(item.baseline, item.baseline[:8]),
                item.judge,
                f"{item.prompts} {item.split}",
                percent(item.win_rate),
            )
            for item in evaluations
        ],
    )


def _show_history(past: list[PromotionRecord], labels: dict[str, str]) -> None:
    from backtalk.cli.output import say, say_table

    if not past:
        return
    say()
    say_table(
        ("time", "actor", "change", "served from then on"),
        [
            (
                f"{item.time:%Y-%m-%d %H:%M}",
                item.actor,
                item.promotion.action,
                labels.get(item.promotion.policy or "", "nothing"),
            )
            for item in past
        ],
    )
