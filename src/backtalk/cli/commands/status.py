"""``backtalk status``: contents, active policy and latest lessons of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption

if TYPE_CHECKING:
    from backtalk.evaluate.result import Evaluation
    from backtalk.memory import MemoryEntry
    from backtalk.policy import Policy
    from backtalk.promotion import PromotionRecord
    from backtalk.reports import EntryLesson, Lessons

_MAX_LESSONS = 8
"""Maximum number of lessons in the table."""
_MAX_TEXT = 50
"""Maximum length of a lesson's text in characters."""


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("status", rich_help_panel=panel)(status)


def status(
    *, store: StoreOption = STORE, project: ProjectOption = PROJECT, json: JsonOption = False
) -> None:
    """Show a project: feedback, policies, evaluations, what it learned, and what to do next.

    Examples
    --------
    - `backtalk status`
    - `backtalk status --store postgresql://backtalk@db/feedback --project mail --json`
    """
    from datetime import timedelta

    from backtalk.cli.context import opened, store_options, with_options
    from backtalk.cli.output import say, say_json
    from backtalk.evaluate.storage import list_evaluations
    from backtalk.feedback.record import now
    from backtalk.learn.next_steps import next_steps
    from backtalk.policy import list_policies
    from backtalk.promotion import active_policy, promotion_history
    from backtalk.reports import lessons_between

    with opened(store, project) as db:
        counts = db.counts()
        policies = list_policies(db)
        evaluations = list_evaluations(db)
        past = promotion_history(db)
        served = active_policy(db)
        projects = db.projects()
        until = now() + timedelta(minutes=1)
        lessons = lessons_between(db, until - timedelta(days=7), until)
        steps = [with_options(step, store_options(store, project)) for step in next_steps(db)]
    if json:
        say_json(
            {
                "project": project,
                "projects": projects,
                "counts": counts,
                "served": None if served is None else served.id,
                "policies": [{"id": policy.id, **policy.to_dict()} for policy in policies],
                "evaluations": [evaluation.to_dict() for evaluation in evaluations],
                "history": [_to_dict(item) for item in past],
                "learned": _lessons_to_dict(lessons),
                "next": steps,
            }
        )
        return
    labels = {policy.id: policy.label for policy in policies}
    _show_counts(project, projects, counts)
    if policies:
        say()
        show_policies(policies, served)
    if evaluations:
        say()
        show_evaluations(evaluations, labels)
    _show_history(past, labels)
    _show_lessons(lessons)
    say()
    for step in steps:
        say(f"{step}.")


def _to_dict(item: PromotionRecord) -> dict[str, Any]:
    return {"actor": item.actor, "time": item.time.isoformat(), **item.promotion.to_dict()}


def _lessons_to_dict(lessons: Lessons) -> dict[str, Any]:
    return {
        "since": lessons.since.isoformat(),
        "entries": [
            {"memory": item.memory, "in_use": item.in_use, **item.entry.to_dict()}
            for item in lessons.entries
        ],
        "policies": [
            {"id": item.policy.id, "active": item.is_active, "changes": [*item.sentences]}
            for item in lessons.policies
        ],
    }


def _show_lessons(lessons: Lessons) -> None:
    """Print the lessons of the last week: policies, then memory entries, latest first."""
    from backtalk.cli.output import note, say, say_table
    from backtalk.feedback.describe import shorten
    from backtalk.feedback.record import short_ids

    short = short_ids(item.entry.id for item in lessons.entries)
    rows = [
        *(
            (
                item.policy.label,
                shorten("; ".join(item.sentences), _MAX_TEXT),
                "active" if item.is_active else "",
            )
            for item in lessons.policies
        ),
        *(
            (short[item.entry.id], _describe(item.entry), _entry_state(item))
            for item in lessons.entries
        ),
    ]
    if not rows:
        return
    say()
    say_table(("learned", "in the last seven days", ""), rows[:_MAX_LESSONS])
    if len(rows) > _MAX_LESSONS:
        note(f"{len(rows) - _MAX_LESSONS:,} more; `backtalk memory list` lists the entries")


def _describe(entry: MemoryEntry) -> str:
    from backtalk.feedback.describe import shorten

    users = ", ".join(entry.scope.users)
    return shorten(f"for {users}: {entry.text}" if users else entry.text, _MAX_TEXT)


def _entry_state(lesson: EntryLesson) -> str:
    if lesson.entry.state != "active":
        return lesson.entry.state
    return "in use" if lesson.in_use else "not in use"


def _show_counts(project: str, projects: list[str], counts: dict[str, int]) -> None:
    from backtalk.cli.output import say, say_table

    others = [name for name in projects if name != project]
    say(f"Project {project}" + (f"; other projects: {', '.join(others)}" if others else ""))
    say_table(
        ("records", "count"),
        [(kind, f"{count:,}") for kind, count in counts.items()],
        numbers=(1,),
    )


def show_policies(policies: list[Policy], active: Policy | None) -> None:
    """Print a table of policies."""
    from backtalk.cli.output import say_table
    from backtalk.feedback.record import short_ids

    short = short_ids(policy.id for policy in policies)
    say_table(
        ("policy", "id", "model", "decoder", "method", ""),
        [
            (
                policy.label,
                short[policy.id],
                policy.model.kind,
                policy.decoder.kind,
                policy.lineage.method,
                "active" if active is not None and policy.id == active.id else "",
            )
            for policy in policies
        ],
    )


def show_evaluations(evaluations: list[Evaluation], labels: dict[str, str]) -> None:
    """Print a table of evaluations.

    Parameters
    ----------
    evaluations : list of Evaluation
        Evaluations, oldest first.
    labels : dict of str to str
        Label of each policy, by id.
    """
    from backtalk.cli.output import percent, say_table
    from backtalk.feedback.record import short_ids

    short = short_ids(item.id for item in evaluations)
    say_table(
        ("evaluation", "candidate", "baseline", "judge", "prompts", "win rate"),
        [
            (
                short[item.id],
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
        ("time", "actor", "change", "active from then on"),
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
