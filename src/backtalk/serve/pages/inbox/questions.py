"""What is put before a person: of an interaction, which responses, in which order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from backtalk.annotation.assignments import Assignment
from backtalk.annotation.tasks import Task, TaskKind
from backtalk.feedback import Interaction, Response, content_id

MAX_RANKED = 9
"""As many as there are number keys."""

TASK_TITLES: Mapping[TaskKind, str] = {
    "compare": "Compare two answers",
    "rank": "Rank the answers",
    "rate": "Rate the answer",
    "thumbs": "Good or bad",
    "spans": "Mark what is wrong in the text",
    "steps": "Check the steps",
    "rewrite": "Rewrite the answer",
    "critique": "Write a critique or a rule",
}
"""The ways to ask, as people read them."""

_LINE = re.compile(r"[^\n]+")
_SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s)|$)", re.DOTALL)
_TOKEN = re.compile(r"\w+|[^\w\s]|\s+")


@dataclass(frozen=True)
class Question:
    """An item as one person sees it: without who wrote what, and what others said."""

    task: Task
    interaction: Interaction
    assignment: Assignment
    shown: tuple[Response, ...]
    """In the order in which they are shown."""

    @property
    def order(self) -> list[str]:
        """The ids of what is shown."""
        return [response.id for response in self.shown]


def make_question(task: Task, interaction: Interaction, assignment: Assignment) -> Question:
    """Return the question about an item.

    The same responses are put before everybody, so that their judgements can be compared; each
    person sees them in an order of their own, and always in that.
    """
    responses = _select_responses(task, interaction)
    _random(task.id, interaction.id, assignment.annotator).shuffle(responses)
    return Question(task, interaction, assignment, tuple(responses))


def _select_responses(task: Task, interaction: Interaction) -> list[Response]:
    shown = [interaction.response(id_) for id_ in interaction.shown or ()]
    if task.responses == 1:
        return (shown or list(interaction.responses))[:1]
    max_responses = 2 if task.kind == "compare" else MAX_RANKED
    candidates = shown if len(shown) >= max_responses else list(interaction.responses)
    if len(candidates) <= max_responses:
        return list(candidates)
    return _random(task.id, interaction.id).sample(candidates, max_responses)


def _random(*parts: str) -> Random:
    return Random(content_id(*parts))  # noqa: S311 - an order, not a secret


def split_steps(text: str) -> list[tuple[int, int]]:
    """Return where the steps of a text begin and end: its lines, or the sentences of a lone line.

    >>> text = "It is 3.5. So it is odd."
    >>> [text[start:end] for start, end in steps_of(text)]
    ['It is 3.5.', 'So it is odd.']
    """
    lines = [result.span() for result in _LINE.finditer(text) if not result.group().isspace()]
    if len(lines) != 1:
        return lines
    return [result.span() for result in _SENTENCE.finditer(text.rstrip())]


def split_tokens(text: str) -> list[tuple[int, str]]:
    """Return the words, marks and spaces of a text, each with where it begins.

    >>> tokens_of("No, it")
    [(0, 'No'), (2, ','), (3, ' '), (4, 'it')]
    """
    return [(result.start(), result.group()) for result in _TOKEN.finditer(text)]
