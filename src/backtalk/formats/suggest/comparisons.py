"""Results of comparisons that columns suggest: a winner, a signed strength, a flag of a tie."""

from __future__ import annotations

import math

from backtalk.formats.suggest import names
from backtalk.formats.suggest.guess import FIRST, MAX_WORDS, SCALE, SECOND, SIGN, Guess, Item
from backtalk.formats.suggest.names import aspect_of, has_word, words_of
from backtalk.formats.suggest.roles import target_of
from backtalk.formats.suggest.values import ColumnValues

_A = frozenset({"a", "first", "left", "model_a"})
_B = frozenset({"b", "2", "second", "right", "model_b"})
_TIES = frozenset({"tie", "equal", "same", "both_bad", "both bad", "neither", "tie (bothbad)"})
_TIE = frozenset({"tie", "tied"})
_BOTH_BAD = frozenset({"both", "bad"})


def winner_item(guess: Guess, column: ColumnValues) -> Item:
    """Return a preference by the word or number of the better answer."""
    name, answers = column.name, guess.answers
    item = Item({"kind": "preference", "column": name})
    if aspect := aspect_of(name):
        item.fields["aspect"] = aspect
    words = [word.lower() for word in column.words]
    if guess.roles.first_is_better:
        item.fields |= {"a": FIRST, "b": SECOND}
        item.doubts.append(
            f"{name} has {', '.join(words[:MAX_WORDS])}. Which value means that {answers[0]} is "
            f"better? Put it in place of {FIRST}, and the other one in place of {SECOND}"
        )
        return item
    models = [guess.roles.models.get(answer) for answer in answers]
    named = {target_of(word, answers) or word for word in words}
    if guess.has_placeholders and (column.numbers or column.is_flag):
        item.fields |= {"a": FIRST, "b": SECOND}
    elif column.numbers and not ("2" in words and set(words) <= {"1", "2"}):
        item.doubts.append(
            f"{name} has {', '.join(words[:MAX_WORDS])}. Which is the first answer, "
            f"{answers[0]}? Say a: VALUE and b: VALUE, and tie: VALUE if there is one"
        )
    elif column.is_flag:
        item.doubts.append(
            f"Does true in {name} mean that {answers[0]} is better? Say a: [true] and b: [false], "
            "or the reverse"
        )
    elif all(models) and _are_models(guess, column, models):
        item.fields |= {"a": {"column": models[0]}, "b": {"column": models[1]}}
    elif set(words) - _A - _B - _TIES and set(answers[:2]) >= named - _TIES:
        for field_name, answer in zip("ab", answers, strict=False):
            own = [word for word in words if target_of(word, answers) == answer or word == answer]
            item.fields |= {field_name: own} if own else {}
    elif unknown := sorted(set(words) - _A - _B - _TIES):
        item.doubts.append(
            f"What do {', '.join(unknown)} in {name} mean? Say a: VALUE where {answers[0]} is "
            f"better, b: VALUE where {answers[1]} is, tie: VALUE and both_bad: VALUE"
        )
    if len(answers) > 2:
        item.doubts.append(f"Which two answers does {name} compare? Here first: 0 and second: 1")
    return item


def picked_answer(guess: Guess, column: ColumnValues) -> Item | None:
    """Return a preference for the answer that a column repeats, ``None`` if it repeats neither."""
    answers = guess.answers
    texts = {
        text for name in answers if name in guess.columns for text in guess.columns[name].words
    }
    values = {word for word in column.words if word.lower() not in _TIES}
    if len(answers) != 2 or guess.roles.first_is_better or not values or not values <= texts:
        return None
    fields = {"a": {"column": answers[0]}, "b": {"column": answers[1]}}
    doubt = f"Does {column.name} repeat the better answer?"
    return Item({"kind": "preference", "column": column.name, **fields}, [doubt])


def _are_models(guess: Guess, column: ColumnValues, models: list[str | None]) -> bool:
    known = {word for name in models if name for word in guess.columns[name].words}
    return {word for word in column.words if word.lower() not in _TIES} <= known


def signed_item(guess: Guess, column: ColumnValues) -> Item:
    """Return a preference by the sign of a number, with its strength."""
    if guess.has_placeholders:
        strength = {"column": column.name, "scale": SCALE, "positive": SIGN}
        return Item({"kind": "preference", "strength": strength})
    end = math.ceil(max(abs(number) for number in column.numbers))
    fields = {"column": column.name, "scale": f"-{end}-{end}"}
    doubt = (
        f"Which answer do the positive numbers of {column.name} prefer? Say positive: a, or "
        f"positive: b, beside the scale. Is {end} the strongest?"
    )
    return Item({"kind": "preference", "strength": fields}, [doubt])


def is_signed(guess: Guess, column: ColumnValues) -> bool:
    """Return true if a number below 0 prefers one answer and a number above 0 the other."""
    compares = has_word(column.name, names.WINNER | names.STRENGTH)
    return (
        compares
        and guess.is_open(column.name)
        and min(column.numbers, default=0) < 0
        and not has_word(column.name, names.RATING)
    )


def tie_item(guess: Guess, column: ColumnValues) -> Item | None:
    """Return a preference for the first answer unless a flag says that there is none."""
    words = set(words_of(column.name))
    verdict = "tie" if words & _TIE else "both_bad" if words >= _BOTH_BAD else None
    is_flag = column.is_flag or set(column.words) <= {"0", "1"}
    if verdict is None or not is_flag or not guess.roles.first_is_better:
        return None
    fields = {"kind": "preference", "column": column.name, "a": [False, 0], verdict: [True, 1]}
    return Item(fields)


def is_comparison(item: Item) -> bool:
    """Return true if an item reads the result of a comparison as a whole from a column."""
    return item.fields["kind"] == "preference" and item.fields.keys() >= {"column", "a"}
