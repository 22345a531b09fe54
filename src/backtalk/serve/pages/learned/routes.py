"""Routes of the page Lessons: what users taught in a period, with the proof and its undoing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from backtalk.errors import BacktalkError
from backtalk.evaluate.result import headline
from backtalk.feedback.record import now
from backtalk.memory import Memory
from backtalk.memory.effect import EntryEffect
from backtalk.promotion import promotion_history
from backtalk.reports.lessons import Lessons, describe_scope, lessons_between
from backtalk.serve.pages.interactions.feedback_view import kind_name
from backtalk.serve.pages.memory.routes import memory_parameter, undo_change
from backtalk.serve.pages.memory.view import describe_effect, effect_interval, effects
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.section import Section

section = Section("/learned", "Learned", "view")

_WEEK = timedelta(days=7)
MAX_ENTRIES = 100
"""Maximum number of entries that the page shows."""


@section.get()
def show(request: PageRequest) -> Response:
    """Show what was learned in a week, or between two dates."""
    since, until = _period(request)
    lessons = lessons_between(request.store, since, until)
    history = promotion_history(request.store)
    return request.page(
        "learned/show.html",
        title="What your users taught it",
        lessons=lessons,
        entries=lessons.entries[:MAX_ENTRIES],
        hidden=max(0, len(lessons.entries) - MAX_ENTRIES),
        new=sum(item.is_new for item in lessons.entries),
        effects=_effects(request, lessons),
        is_week=not request.query("since") and not request.query("until"),
        first_day=since.date().isoformat(),
        last_day=(until - timedelta(microseconds=1)).date().isoformat(),
        promotions=len(history),
        last_promoted=_last_promoted(request),
        memory_names={
            item.memory: memory_parameter(Memory(request.store, item.memory))
            for item in lessons.entries
        },
        describe_scope=describe_scope,
        describe_effect=describe_effect,
        effect_interval=effect_interval,
        headline=headline,
        kind_name=kind_name,
    )


@section.post("/undo", "manage")
def undo(request: PageRequest) -> Response:
    """Undo the last change of an entry, and return to the page."""
    memory = Memory(request.store, request.form.text("memory"))
    undo_change(request, memory, memory.get(request.form.text("entry")))
    query = {name: request.form.text(name) for name in ("since", "until")}
    return request.redirect(request.url("/learned", **query))


def _period(request: PageRequest) -> tuple[datetime, datetime]:
    """Return the period in the URL: whole days, UTC; by default the last seven days until now."""
    until_day, since_day = _day(request, "until"), _day(request, "since")
    until = now() + timedelta(minutes=1) if until_day is None else until_day + timedelta(days=1)
    since = until - _WEEK if since_day is None else since_day
    if since >= until:
        raise BacktalkError(
            f"The period ends on {until:%Y-%m-%d} before it begins on {since:%Y-%m-%d}",
            "Choose a later end",
        )
    return since, until


def _day(request: PageRequest, name: str) -> datetime | None:
    text = request.query(name)
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise BacktalkError(
            f"{name}: {text!r} is not a date", "Write it as in 2026-03-01"
        ) from None


def _effects(request: PageRequest, lessons: Lessons) -> Mapping[tuple[str, str], EntryEffect]:
    names = {item.memory for item in lessons.entries}
    return {
        (name, id_): effect
        for name in names
        for id_, effect in effects(request, Memory(request.store, name)).items()
    }


def _last_promoted(request: PageRequest) -> str | None:
    """Return the policy whose promotion a rollback undoes, if it is the active one."""
    history = promotion_history(request.store)
    if not history or history[-1].promotion.action != "promote":
        return None
    return history[-1].promotion.policy
