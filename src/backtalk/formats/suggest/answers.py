"""Columns of answers: the better and the worse one, steps with labels, conversations."""

from __future__ import annotations

from collections.abc import Mapping

from backtalk.formats.columns import meaning_of
from backtalk.formats.suggest import names
from backtalk.formats.suggest.names import has_word, words_of
from backtalk.formats.suggest.values import ColumnValues


def is_answer_value(column: ColumnValues) -> bool:
    """Return true if a column has texts or messages."""
    return column.is_text or column.is_messages


def better_and_worse(columns: Mapping[str, ColumnValues]) -> tuple[str, str] | None:
    """Return the columns of the better and the worse answer, if exactly two are named so."""
    texts = [name for name, column in columns.items() if is_answer_value(column)]
    pairs = [
        (better, worse)
        for better in texts
        for worse in texts
        if _without(better, names.BETTER) == _without(worse, names.WORSE)
        and has_word(better, names.BETTER)
        and has_word(worse, names.WORSE)
    ]
    if len(pairs) > 1:
        pairs = [pair for pair in pairs if not has_word(pair[0], names.COMPARISON)]
    return pairs[0] if len(pairs) == 1 else None


def steps_and_labels(columns: Mapping[str, ColumnValues]) -> tuple[str, str] | None:
    """Return the columns of a list of steps and the list of their labels."""
    texts = [name for name, column in columns.items() if column.is_text_list]
    pairs = [
        (steps, labels)
        for steps in texts
        for labels in columns
        if meaning_of(steps) == "answer"
        and meaning_of(labels) == "verdict"
        and columns[labels].has_lengths_of(columns[steps])
    ]
    return pairs[0] if len(pairs) == 1 else None


def _without(name: str, words: frozenset[str]) -> tuple[str, ...]:
    return tuple(word for word in words_of(name) if word not in words)


def begins_with_answer(column: ColumnValues) -> bool:
    """Return true if the first message of each value is by the assistant."""
    return all(_role(value[0]) == "assistant" for value in column.values)


def ends_with_answer(column: ColumnValues) -> bool:
    """Return true if the last message of each value is by the assistant."""
    return all(_role(value[-1]) == "assistant" for value in column.values)


def _role(message: dict[str, object]) -> object:
    role = message.get("role", message.get("from"))
    return "assistant" if role in {"gpt", "model", "chatgpt", "bot"} else role
