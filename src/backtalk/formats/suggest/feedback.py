"""Feedback that the columns of verdicts suggest, with open questions about their values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from backtalk.formats.suggest import names
from backtalk.formats.suggest.comparisons import (
    is_comparison,
    is_signed,
    picked_answer,
    signed_item,
    tie_item,
    winner_item,
)
from backtalk.formats.suggest.guess import BAD, GOOD, MAX_WORDS, SCALE, Guess, Item
from backtalk.formats.suggest.names import has_word, words_of
from backtalk.formats.suggest.parts import part_items
from backtalk.formats.suggest.roles import target_of
from backtalk.formats.suggest.values import ColumnValues

_SCALES = ((0, 1), (1, 5), (1, 7), (1, 10), (0, 10), (0, 100))
_ANSWERS = frozenset({"answer", "response", "completion", "output", "reply"})


def feedback_items(guess: Guess) -> list[Item]:
    """Return the feedback that the columns of verdicts suggest."""
    roles, columns = guess.roles, guess.columns
    items: list[Item] = []
    if roles.first_is_better:
        items.append(Item({"kind": "preference", "always": "a"}))
    if roles.steps is not None:
        steps, labels = roles.steps
        items.append(
            Item(
                {"kind": "steps", "column": steps, "labels": labels}, _step_doubts(columns[labels])
            )
        )
    verdicts = [columns[name] for name in roles.verdicts if name not in (roles.steps or ())]
    items += _ranking(guess, verdicts)
    for column in verdicts:
        items += _items(guess, column)
    if roles.first_is_better and any(is_comparison(item) for item in items):
        del items[0]
    _add_degrees(guess, verdicts, items)
    if not items:
        items += _without_verdict(guess)
    _add_annotator(guess, items)
    if roles.time and not (roles.prompt or roles.conversations):
        for item in items:
            item.fields["time"] = roles.time
    return items


def _items(guess: Guess, column: ColumnValues) -> Iterator[Item]:
    name = column.name
    if _is_degree(name) and not is_signed(guess, column):
        return
    if not guess.answers:
        if column.is_text:
            doubt = f"No column looks like the answer. Is {name} a remark, and no rating or label?"
            yield Item({"kind": "critique", "column": name}, [doubt] if guess.roles.prompt else [])
    elif nested := part_items(column):
        for fields in nested:
            yield _nested(guess, column, fields)
    elif (tie := tie_item(guess, column)) is not None:
        yield tie
    elif column.numbers or column.is_flag:
        if not has_word(name, names.RANK) or len(guess.answers) == 1:
            yield _number_or_flag(guess, column)
    elif column.is_text:
        picked = picked_answer(guess, column) if guess.is_open(name) else None
        yield picked or _text(guess, column)
    elif not column.is_messages:
        kind = "KIND" if guess.has_placeholders else "label"
        doubt = f"Which part of {name} is the verdict? Name it by its path, such as {name}.0"
        yield Item({"kind": kind, "column": name}, [doubt])


def _step_doubts(labels: ColumnValues) -> list[str]:
    values = {str(label).lower() for row in labels.values for label in row}
    if "0" not in values:
        return []
    return [f"Does 0 in {labels.name} mean wrong: [0], or neutral: [0]?"]


def _nested(guess: Guess, column: ColumnValues, fields: dict[str, Any]) -> Item:
    values = fields.pop("values", None)
    target = target_of(str(fields.get("aspect", "")), guess.answers)
    if target is not None:
        fields |= {"response": guess.answers.index(target)}
        del fields["aspect"]
    item = Item(fields)
    if fields["kind"] == "rating":
        _add_scale(guess, item, ColumnValues.of(fields["column"], values or ()))
    if target is None and guess.is_open(column.name):
        item.doubts.append(_which_answer(guess, column.name))
    return item


def _number_or_flag(guess: Guess, column: ColumnValues) -> Item:
    name, values = column.name, set(column.words)
    compares = guess.is_open(name) and has_word(name, names.WINNER)
    if is_signed(guess, column):
        return signed_item(guess, column)
    if compares and has_word(name, names.PROBABILITY) and _within(column, 0, 1):
        return Item({"kind": "preference", "probability": name})
    if compares and not has_word(name, names.RATING):
        return winner_item(guess, column)
    is_label = values <= {"0", "1", "-1"} or column.is_flag
    if has_word(name, names.OUTCOME) and is_label:
        fields = {"kind": "outcome", **guess.about(name), "column": name}
        fields.pop("aspect", None)
        return _checked(guess, Item(fields), name)
    if column.is_flag or (is_label and not has_word(name, names.RATING)):
        return _label(guess, column)
    item = Item({"kind": "rating", "column": name})
    _add_scale(guess, item, column)
    item.fields |= guess.about(name)
    return _checked(guess, item, name)


def _label(guess: Guess, column: ColumnValues) -> Item:
    name = column.name
    item = Item({"kind": "label", "column": name, **guess.about(name)})
    values = {word.lower() for word in column.words}
    if has_word(name, names.BAD_IF_TRUE):
        item.fields |= {"good": [False, 0], "bad": [True, 1]}
        item.doubts.append(f"Does true in {name} mean that the answer is bad?")
    elif {"0", "-1"} <= values:
        item.doubts.append(f"{name} has 0 and -1. Does 0 mean bad? Say good: [1] and bad: [-1, 0]")
    elif unknown := sorted(values - names.GOOD - names.BAD):
        item.doubts.append(
            f"What do {', '.join(unknown)} in {name} mean? Say good: [VALUE] and bad: [VALUE]"
        )
        if guess.has_placeholders:
            item.fields |= {"good": GOOD, "bad": BAD}
    return _checked(guess, item, name)


def _text(guess: Guess, column: ColumnValues) -> Item:
    name = column.name
    about = guess.about(name)
    response = {"response": about["response"]} if "response" in about else {}
    words = {word.lower() for word in column.words}
    if _ANSWERS.intersection(words_of(name)[-1:]) and not words <= names.GOOD | names.BAD:
        return Item({"kind": "demonstration", "column": name}, [f"Is {name} a model answer?"])
    is_verdict = column.is_word and len(words) <= MAX_WORDS
    if has_word(name, names.EDIT):
        return _checked(guess, Item({"kind": "edit", "column": name, **response}), name)
    if has_word(name, names.DEMONSTRATION):
        return Item({"kind": "demonstration", "column": name})
    if is_verdict and guess.is_open(name) and has_word(name, names.WINNER):
        return winner_item(guess, column)
    if is_verdict and (words <= names.GOOD | names.BAD or not has_word(name, names.CRITIQUE)):
        return _label(guess, column)
    if guess.is_open(name):
        response = {"response": None}
    return Item({"kind": "critique", "column": name, **response})


def _ranking(guess: Guess, verdicts: list[ColumnValues]) -> list[Item]:
    ranks = {
        target: column.name
        for column in verdicts
        if column.numbers
        and has_word(column.name, names.RANK)
        and (target := target_of(column.name, guess.answers)) is not None
    }
    if len(ranks) < 2 or list(guess.answers[: len(ranks)]) != [
        answer for answer in guess.answers if answer in ranks
    ]:
        return []
    columns = [ranks[answer] for answer in guess.answers if answer in ranks]
    doubt = f"Is rank 1 of {columns[0]} the best?"
    return [Item({"kind": "ranking", "columns": columns}, [doubt])]


def _add_scale(guess: Guess, item: Item, column: ColumnValues) -> None:
    """Add the smallest common scale that has all values, or their range."""
    if guess.has_placeholders or not column.numbers:
        item.fields["scale"] = SCALE
        return
    low, high = min(column.numbers), max(column.numbers)
    scale = next(((a, b) for a, b in _SCALES if a <= low and high <= b), None)
    if low == high == 1:
        scale = (1, 5)
    if scale is None and low == high:
        low, high = min(low, 0.0), max(high, 0.0)
    start, end = scale or (math.floor(low), math.ceil(high))
    item.fields["scale"] = f"{start}-{end}"
    item.doubts.append(
        f"{column.name} runs from {min(column.numbers):g} to {max(column.numbers):g} here. "
        "What are the worst and the best value?"
    )


def _within(column: ColumnValues, low: float, high: float) -> bool:
    return bool(column.numbers) and all(low <= number <= high for number in column.numbers)


def _is_degree(name: str) -> bool:
    return has_word(name, names.CONFIDENCE | names.STRENGTH)


def _add_degrees(guess: Guess, verdicts: list[ColumnValues], items: list[Item]) -> None:
    """Add the columns of strength and confidence to the feedback that they belong to."""
    for column in verdicts:
        if not column.numbers or not _is_degree(column.name) or is_signed(guess, column):
            continue
        is_strength = has_word(column.name, names.STRENGTH)
        field_name = "strength" if is_strength else "confidence"
        for item in items:
            is_about = not is_strength or item.fields["kind"] == "preference"
            if is_about and min(column.numbers) >= 0 and field_name not in item.fields:
                item.fields[field_name] = _degree(guess, item, column)


def _degree(guess: Guess, item: Item, column: ColumnValues) -> Any:
    is_strength = has_word(column.name, names.STRENGTH)
    if _within(column, 0, 1) and not (is_strength or guess.has_placeholders):
        return column.name
    scaled = Item({})
    _add_scale(guess, scaled, column)
    item.doubts += scaled.doubts
    return {"column": column.name, "scale": scaled.fields["scale"]}


def _without_verdict(guess: Guess) -> list[Item]:
    """Return a demonstration, or remarks, for a table without verdicts."""
    if guess.roles.conversations or not (guess.roles.prompt or guess.answers):
        return []
    if len(guess.answers) == 1:
        (name,) = guess.answers
        doubt = (
            f"No column has a verdict. Is {name} a model answer to imitate? If it is an answer to "
            "judge, list it under responses and add the feedback"
        )
        return [Item({"kind": "demonstration", "column": name}, [doubt])]
    return []


def _add_annotator(guess: Guess, items: list[Item]) -> None:
    for item in items:
        if (rater := item.fields.get("column")) in guess.roles.raters:
            item.fields["annotator"] = {"constant": rater}
            item.doubts.append(f"Does {rater} have the verdicts of one rater, and no names?")
    name = guess.roles.annotator
    if name is None:
        return
    is_judge = has_word(name, frozenset({"judge", "evaluator"}))
    for item in items:
        item.fields.setdefault("annotator", name)
        if is_judge:
            item.fields["annotator_kind"] = "model"
    if is_judge and items:
        items[0].doubts.append(f"Is {name} the name of a model? Else leave out annotator_kind")


def _checked(guess: Guess, item: Item, name: str) -> Item:
    if guess.is_open(name):
        item.doubts.append(_which_answer(guess, name))
    return item


def _which_answer(guess: Guess, name: str) -> str:
    listed = ", ".join(f"{answer} (response: {i})" for i, answer in enumerate(guess.answers))
    return f"Which answer is {name} about: {listed}?"
