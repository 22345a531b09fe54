"""Questions: the responses of an item that a person sees, and their order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random

from backtalk.annotation.assignments import Assignment
from backtalk.annotation.tasks import Task, TaskKind
from backtalk.feedback import Interaction, Response, content_id
from backtalk.feedback.answers import response_key

MAX_RANKED = 9
"""Maximum number of responses to rank: one per number key."""

TASK_TITLES: Mapping[TaskKind, str] = {
    "compare": "Compare two answers",
    "rank": "Rank the answers",
    "rate": "Rate the answer",
    "thumbs": "Good or bad",
    "spans": "Mark errors in the text",
    "steps": "Check the steps",
    "rewrite": "Rewrite the answer",
    "critique": "Write a critique or a rule",
}
"""Titles of the kinds of tasks."""

_LINE = re.compile(r"[^\n]+")
_SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s)|$)", re.DOTALL)
_TOKEN = re.compile(r"\w+|[^\w\s]|\s+")


@dataclass(frozen=True)
class Question:
    """Item as one person sees it: without authors and other feedback."""

    task: Task
    interaction: Interaction
    assignment: Assignment
    shown: tuple[Response, ...]
    """Responses in the order in which they are shown."""

    @property
    def order(self) -> list[str]:
        """Ids of the responses, in the order shown."""
        return [response.id for response in self.shown]


def make_question(task: Task, interaction: Interaction, assignment: Assignment) -> Question:
    """Return the question about an item.

    Everybody sees the same responses, so that judgements can be compared, each person in a random
    order that is fixed for the item.

    Parameters
    ----------
    task : Task
        Task.
    interaction : Interaction
        Item to judge.
    assignment : Assignment
        Assignment of the item to a person.
    """
    responses = _select_responses(task, interaction)
    _random(task.id, interaction.id, assignment.annotator).shuffle(responses)
    return Question(task, interaction, assignment, tuple(responses))


def _select_responses(task: Task, interaction: Interaction) -> list[Response]:
    shown = [interaction.response(id_) for id_ in interaction.shown or ()]
    if task.responses == 1:
        return (shown or list(interaction.responses))[:1]
    max_responses = 2 if task.kind == "compare" else MAX_RANKED
    candidates = _distinct(shown)
    if len(candidates) < max_responses:
        candidates = _distinct(interaction.responses)
    if len(candidates) <= max_responses:
        return candidates
    return _random(task.id, interaction.id).sample(candidates, max_responses)


def _distinct(responses: Iterable[Response]) -> list[Response]:
    """Return the responses without repetitions: the first of those that are the same."""
    distinct: dict[tuple[str, ...], Response] = {}
    for response in responses:
        distinct.setdefault(response_key(response), response)
    return list(distinct.values())


def _random(*parts: str) -> Random:
    return Random(content_id(*parts))  # noqa: S311 - an order, not a secret


def split_steps(text: str) -> list[tuple[int, int]]:
    """Return the start and end of each step: the lines, or the sentences of a single line.

    >>> text = "It is 3.5. So it is odd."
    >>> [text[start:end] for start, end in split_steps(text)]
    ['It is 3.5.', 'So it is odd.']
    """
    lines = [match.span() for match in _LINE.finditer(text) if not match.group().isspace()]
    if len(lines) != 1:
        return lines
    return [match.span() for match in _SENTENCE.finditer(text.rstrip())]


def split_tokens(text: str) -> list[tuple[int, str]]:
    """Return the words, punctuation marks and spaces of a text, with their offsets.

    >>> split_tokens("No, it")
    [(0, 'No'), (2, ','), (3, ' '), (4, 'it')]
    """
    return [(match.start(), match.group()) for match in _TOKEN.finditer(text)]
