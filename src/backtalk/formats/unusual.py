"""Unusual content of an import: empty and equal answers, aspects, remarks of the format.

>>> from backtalk.feedback import Interaction
>>> unusual = Unusual()
>>> unusual.add(Case(Interaction.of("Are you open?", "Yes.", "")))
>>> unusual.lines()
['1 answer is empty']
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import combinations

from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Response
from backtalk.formats.text_pairs import TextPair

_MAX_ASPECTS = 10
"""Number of aspects that are listed by name."""
_MAX_NAME = 40
"""Length of the name of an aspect in the list, in characters."""

_notes: ContextVar[Counter[str] | None] = ContextVar("backtalk_import_notes", default=None)


def note_unusual(text: str) -> None:
    """Add a remark about the row that is parsed to the summary of the import.

    Equal remarks are counted. Outside an import the call has no effect.

    Parameters
    ----------
    text : str
        Remark without a number, such as "response without a status, read as submitted".
    """
    notes = _notes.get()
    if notes is not None:
        notes[text] += 1


@dataclass
class Unusual:
    """Counts of unusual content among the cases of an import."""

    repeated_feedback: int = 0
    """Number of feedback items that equal one of an earlier row, and do not count again."""
    empty_answers: int = 0
    """Number of responses without text and without messages."""
    equal_answers: int = 0
    """Number of interactions with two equal responses."""
    tool_call_answers: int = 0
    """Number of interactions with two responses that differ only in their tool calls."""
    aspects: Counter[str] = field(default_factory=Counter)
    """Number of feedback items by aspect, those about the response as a whole left out."""
    notes: Counter[str] = field(default_factory=Counter)
    """Number of occurrences of each remark of the format."""

    def add(self, case: Case) -> None:
        """Count the content of a case."""
        if isinstance(case, TextPair):
            chosen, rejected = case.texts
            self.empty_answers += (not chosen.strip()) + (not rejected.strip())
            self.equal_answers += chosen == rejected
            return
        responses = case.interaction.responses
        for response in responses:
            if not response.text.strip() and not response.messages:
                self.empty_answers += 1
        if len({response.text for response in responses}) < len(responses):
            self._add_equal(responses)
        for item in case.feedback:
            aspect = getattr(item, "aspect", None)
            if aspect not in {None, OVERALL}:
                self.aspects[aspect] += 1

    def _add_equal(self, responses: tuple[Response, ...]) -> None:
        pairs = [(a, b) for a, b in combinations(responses, 2) if a.text == b.text]
        if any(a.messages == b.messages for a, b in pairs):
            self.equal_answers += 1
        else:
            self.tool_call_answers += 1

    def merge(self, other: Unusual) -> None:
        """Add the counts of another part of the import."""
        self.repeated_feedback += other.repeated_feedback
        self.empty_answers += other.empty_answers
        self.equal_answers += other.equal_answers
        self.tool_call_answers += other.tool_call_answers
        self.aspects.update(other.aspects)
        self.notes.update(other.notes)

    @contextmanager
    def collect_notes(self) -> Iterator[None]:
        """Count the remarks of formats while the block runs."""
        token = _notes.set(self.notes)
        try:
            yield
        finally:
            _notes.reset(token)

    def lines(self) -> list[str]:
        """Return a line for each kind of unusual content."""
        lines = []
        if self.repeated_feedback:
            lines.append(
                _count(self.repeated_feedback, "feedback item repeats", "feedback items repeat")
                + " one of an earlier row, and equal rows count once; a column of the person or of "
                "an id tells them apart"
            )
        if self.empty_answers:
            lines.append(_count(self.empty_answers, "answer is empty", "answers are empty"))
        if self.equal_answers:
            lines.append(
                _count(self.equal_answers, "interaction has", "interactions have")
                + " two equal answers"
            )
        if self.tool_call_answers:
            lines.append(
                _count(self.tool_call_answers, "interaction has", "interactions have")
                + " answers that differ only in tool calls or other parts of messages"
            )
        if self.aspects:
            total = sum(self.aspects.values())
            lines.append(
                _count(total, "feedback item is", "feedback items are")
                + f" about single aspects: {self._list_aspects()}"
            )
        return lines + [f"{text} ({count:,})" for text, count in self.notes.most_common()]

    def _list_aspects(self) -> str:
        common = self.aspects.most_common(_MAX_ASPECTS)
        listed = ", ".join(f"{_shorten(name)} {count:,}" for name, count in common)
        others = len(self.aspects) - len(common)
        return f"{listed} and {_count(others, 'other', 'others')}" if others else listed


def _shorten(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"
