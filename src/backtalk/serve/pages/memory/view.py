"""Views of memory entries: their measured effect, their provenance and their history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backtalk.errors import NotFound
from backtalk.feedback import Scope
from backtalk.memory import Memory, MemoryChange, MemoryEntry
from backtalk.memory.effect import EntryEffect, entry_effects
from backtalk.serve.pages.interactions.feedback_view import FeedbackView, make_feedback_view
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.policies.view import IntervalView
from backtalk.serve.pages.text_diff import DiffPiece, diff_words
from backtalk.stats import Estimate
from backtalk.store.detail import get_detail

MAX_FEEDBACK = 20
"""Maximum number of feedback records that an entry's page shows."""


@dataclass(frozen=True)
class ChangeView:
    """Change of an entry, with the difference that it made to the text."""

    change: MemoryChange
    difference: Sequence[DiffPiece]
    undoable: bool
    """True if it can be undone now, before any other."""


def effects(request: PageRequest, memory: Memory) -> dict[str, EntryEffect]:
    """Return the measured effects of a memory's entries, by id."""
    return entry_effects(request.store, memory)


def effect_interval(effect: EntryEffect | None) -> IntervalView | None:
    """Return the interval of an effect, ``None`` if nothing was measured yet."""
    if effect is None or effect.estimate is None:
        return None
    estimate = Estimate(
        effect.estimate,
        effect.low,
        effect.high,
        effect.level,
        effect.scored_shown + effect.scored_withheld,
        None,
        "anytime-valid",
    )
    return IntervalView(f"Effect on {effect.measure}", estimate, -1.0, 1.0, 0.0, signed=True)


def describe_effect(effect: EntryEffect | None) -> str:
    """Return the proof of an entry in one sentence."""
    if effect is None:
        return "Not yet measured: 0 uses"
    uses = effect.shown + effect.withheld
    if effect.estimate is None:
        return f"Not yet measured: {uses:,} use{'' if uses == 1 else 's'}"
    if effect.is_helpful:
        verdict = "It helps"
    elif effect.is_harmful:
        verdict = "It harms"
    else:
        verdict = "No effect is shown yet"
    return (
        f"{verdict}: {100 * effect.estimate:+.1f} points [{100 * effect.low:+.1f}, "
        f"{100 * effect.high:+.1f}] on {effect.measure}, from {effect.scored_shown:,} answers "
        f"with it and {effect.scored_withheld:,} without"
    )


def history_views(history: Sequence[MemoryChange], entry: MemoryEntry) -> list[ChangeView]:
    """Return the changes of an entry, the latest first.

    Parameters
    ----------
    history : sequence of MemoryChange
        Changes, the latest first.
    entry : MemoryEntry
        Entry as it is now.
    """
    views = []
    after = entry.text
    undo_found = entry.state == "forgotten"
    for change in history:
        undoable = not undo_found and change.action not in {"settled", "forgotten"}
        undo_found = undo_found or undoable
        before = None if change.before is None else change.before.text
        changed = before is not None and before != after
        views.append(
            ChangeView(change, diff_words(before or "", after) if changed else (), undoable)
        )
        after = before if before is not None else after
    return views


def feedback_of(request: PageRequest, entry: MemoryEntry) -> list[tuple[FeedbackView, str]]:
    """Return views of the feedback that an entry was made from, with the interaction of each."""
    views = []
    for id_ in entry.interactions[:MAX_FEEDBACK]:
        try:
            detail = get_detail(request.store, id_)
        except NotFound:
            continue
        views += [
            (make_feedback_view(item, detail.interaction), id_)
            for item in detail.feedback
            if item.feedback.id in entry.feedback
        ]
    return views[:MAX_FEEDBACK]


def superseding(request: PageRequest, memory: Memory, entry: MemoryEntry) -> list[str]:
    """Return the ids of the entries that supersede an entry.

    Parameters
    ----------
    request : PageRequest
        Request.
    memory : Memory
        Memory of the entry.
    entry : MemoryEntry
        Entry.
    """
    with request.store.memories.table(memory.name).reading() as reader:
        rows = [link.row for link in reader.links("supersedes", [entry.id])]
        return [row.id for row in reader.by_rows(rows)]


def parse_scope(users: str, where: str, inside: str, outside: str) -> Scope:
    r"""Return the scope that a form describes: users separated by commas, requests by lines.

    Parameters
    ----------
    users : str
        Ids of users; empty for all users.
    where : str
        Condition in words; empty for none.
    inside, outside : str
        Requests to which an entry applies, and does not apply.

    Examples
    --------
    >>> parse_scope("bo, cy", " ", "Write a mail\\n", "").users
    ('bo', 'cy')
    """
    return Scope(
        users=_split(users, ","),
        where=where.strip() or None,
        inside=_split(inside, "\n"),
        outside=_split(outside, "\n"),
    )


def _split(text: str, separator: str) -> tuple[str, ...]:
    parts = (part.strip() for part in text.split(separator))
    return tuple(dict.fromkeys(part for part in parts if part))
