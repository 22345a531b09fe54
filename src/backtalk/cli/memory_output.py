"""Tables and lines about the entries of a memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from backtalk.cli.output import say, say_json, say_table

if TYPE_CHECKING:
    from backtalk.feedback import Scope
    from backtalk.memory import Explanation, Memory, MemoryChange, MemoryEntry
    from backtalk.memory.effect import EntryEffect

_SHOWN_IDS = 2
"""Maximum number of ids in a field of an entry; the JSON output has all."""
_SHOWN_SOURCES = 5
"""Maximum number of feedback items, and of answers, in an explanation; the JSON output has more."""

_ACTIONS = {
    "added": "added",
    "edited": "edited",
    "superseded": "superseded",
    "settled": "holds over another",
    "restored": "holds again",
    "retired": "retired",
    "undone": "addition undone",
    "forgotten": "forgotten",
}


def say_entries(memory: Memory, entries: Sequence[MemoryEntry], *, states: bool) -> None:
    """Print a table of entries.

    Parameters
    ----------
    memory : Memory
        Their memory.
    entries : sequence of MemoryEntry
        Entries.
    states : bool
        If true, the table has their states.
    """
    short = memory.short_ids([entry.id for entry in entries])
    say_table(
        ("id", "kind", *(("state",) if states else ()), "applies to", "text"),
        [
            (
                short[entry.id],
                entry.kind,
                *((entry.state,) if states else ()),
                scope_in_words(entry.scope),
                " ".join(entry.text.split()),
            )
            for entry in entries
        ],
    )


def say_entry(memory: Memory, entry: MemoryEntry) -> None:
    """Print the fields of an entry, one a line."""
    say(entry.text)
    say()
    say_table(("", ""), _fields(memory, entry))


def _fields(memory: Memory, entry: MemoryEntry) -> list[tuple[str, str]]:
    scope = entry.scope
    visible = "every policy" if entry.revision == 0 else f"policies from revision {entry.revision}"
    fields = {
        "id": entry.id,
        "state": entry.state,
        "kind": entry.kind,
        "applies to": scope_in_words(scope),
        "also to": "; ".join(scope.inside),
        "not to": "; ".join(scope.outside),
        "said by": ", ".join(entry.people),
        "time": "" if entry.time is None else f"{entry.time:%Y-%m-%d %H:%M}",
        "made by": entry.method,
        "original": entry.original or "",
        "visible in": visible,
        "confidence": f"{100 * entry.confidence:.0f} %",
        "feedback": _some(entry.feedback),
        "interactions": _some(entry.interactions),
        "holds over": ", ".join(memory.short_ids(list(entry.supersedes)).values()),
    }
    return [(name, value) for name, value in fields.items() if value]


def _some(ids: Sequence[str]) -> str:
    """Return the first ids, and the number of the others."""
    more = f" and {len(ids) - _SHOWN_IDS:,} more" if len(ids) > _SHOWN_IDS else ""
    return ", ".join(ids[:_SHOWN_IDS]) + more


def scope_in_words(scope: Scope) -> str:
    """Return whom and where an entry applies to."""
    users = ", ".join(scope.users) if scope.users else "everybody"
    if scope.where:
        return f"{users}, {scope.where}"
    if scope.inside or scope.outside:
        return f"{users}, some requests"
    return users


def say_changes(memory: Memory, changes: Sequence[MemoryChange], *, json: bool) -> None:
    """Print the changes that a command made, the first of them on the entry that was named.

    Parameters
    ----------
    memory : Memory
        Memory that was changed.
    changes : sequence of MemoryChange
        Changes.
    json : bool
        If true, print them as JSON.
    """
    if json:
        say_json([change_to_dict(change) for change in changes])
        return
    if not changes:
        say("Nothing changed.")
        return
    entries = memory.by_ids([change.entry for change in changes])
    short = memory.short_ids([change.entry for change in changes])
    for change in changes:
        entry = entries.get(change.entry)
        text = "" if entry is None or entry.state == "forgotten" else f": {entry.text}"
        say(f"{short[change.entry]} {_ACTIONS[change.action]}{text}")
    say_questions(memory, {change.entry for change in changes})


def say_questions(memory: Memory, ids: set[str]) -> None:
    """Print to standard error the open questions about some entries."""
    from backtalk.cli.output import note

    for question in memory.conflicts():
        pair = (question.holds, question.other)
        if ids & {entry.id for entry in pair}:
            short = memory.short_ids([entry.id for entry in pair])
            note(
                f'"{question.holds.text}" holds over "{question.other.text}", which other people '
                "said. To let the other one hold: "
                f"`backtalk memory settle {short[question.other.id]}`."
            )


def say_history(memory: Memory, changes: Iterable[MemoryChange]) -> None:
    """Print a table of changes."""
    rows = list(changes)
    short = memory.short_ids([change.entry for change in rows])
    say_table(
        ("change", "time", "entry", "revision", "", "by", "reason, or text before"),
        [
            (
                str(change.number),
                f"{change.time:%Y-%m-%d %H:%M}",
                short[change.entry],
                str(change.revision or ""),
                _ACTIONS[change.action],
                change.actor,
                change.reason or _text_before(change),
            )
            for change in rows
        ],
        numbers=(0, 3),
    )


def _text_before(change: MemoryChange) -> str:
    is_edit = change.action == "edited" and change.before is not None
    return change.before.text if is_edit and change.before is not None else ""


def say_explanation(memory: Memory, explanation: Explanation) -> None:
    """Print where an entry came from, what it does and what it costs."""
    entry = explanation.entry
    say_entry(memory, entry)
    say()
    say("Where it came from:")
    for sentence in explanation.feedback[:_SHOWN_SOURCES]:
        say(f"  {sentence}")
    if len(entry.feedback) > _SHOWN_SOURCES:
        say(f"  and {len(entry.feedback) - _SHOWN_SOURCES:,} more")
    for excerpt in explanation.excerpts[:_SHOWN_SOURCES]:
        say(f'  Asked "{excerpt.prompt}", the answer was "{excerpt.response}"')
    if len(entry.interactions) > _SHOWN_SOURCES:
        say(f"  and {len(entry.interactions) - _SHOWN_SOURCES:,} more")
    if not explanation.feedback and not explanation.excerpts:
        people = ", ".join(entry.people) or next(
            (change.actor for change in reversed(explanation.changes)), "unknown"
        )
        say(f"  It was written by {people}; no feedback is recorded.")
    for other in explanation.supersedes:
        say(f'  It holds over "{other.text}" ({scope_in_words(other.scope)})')
    for other in explanation.superseded_by:
        say(f'  "{other.text}" ({scope_in_words(other.scope)}) holds over it')
    say()
    say("What it does:")
    for line in _effect_lines(explanation.effect):
        say(f"  {line}")
    say()
    say(
        f"What it costs: about {explanation.tokens} tokens of each prompt it is in (a quarter of "
        "its characters, an estimate)."
    )


def _effect_lines(effect: EntryEffect | None) -> list[str]:
    if effect is None:
        return ["No answer has used it yet, so its effect is not measured."]
    shown, withheld = f"{effect.shown:,}", f"{effect.withheld:,}"
    lines = [
        f"It was in the prompt of {shown} answers and withheld at random from {withheld}.",
        f"With it, {effect.wins:,} answers were judged good and {effect.losses:,} bad.",
    ]
    if effect.estimate is None:
        return [*lines, "Too few answers were judged to estimate its effect."]
    interval = f"{effect.estimate:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}]"
    level = f"{100 * effect.level:.0f} % at all times"
    return [
        *lines,
        f"Effect on the score of an answer: {interval}, {level}, by {effect.measure}.",
        _verdict(effect),
    ]


def _verdict(effect: EntryEffect) -> str:
    if effect.is_helpful:
        return "It helps."
    return "It does harm." if effect.is_harmful else "Neither help nor harm is shown yet."


def change_to_dict(change: MemoryChange) -> dict[str, Any]:
    """Return a change as a JSON-able dictionary."""
    return {
        "change": change.number,
        "entry": change.entry,
        "action": change.action,
        "revision": change.revision,
        "time": change.time.isoformat(),
        "actor": change.actor,
        "reason": change.reason,
        "before": None if change.before is None else change.before.to_dict(),
    }


def explanation_to_dict(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation as a JSON-able dictionary."""
    from dataclasses import asdict

    return {
        "entry": explanation.entry.to_dict(),
        "feedback": list(explanation.feedback),
        "excerpts": [asdict(excerpt) for excerpt in explanation.excerpts],
        "supersedes": [entry.id for entry in explanation.supersedes],
        "superseded_by": [entry.id for entry in explanation.superseded_by],
        "effect": None if explanation.effect is None else asdict(explanation.effect),
        "tokens": explanation.tokens,
        "changes": [change_to_dict(change) for change in explanation.changes],
    }
