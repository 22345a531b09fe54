"""Roles of the columns of a table: prompt, answers, persons, times, and the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from backtalk.formats.columns import meaning_of
from backtalk.formats.suggest import names
from backtalk.formats.suggest.answers import (
    begins_with_answer,
    better_and_worse,
    ends_with_answer,
    is_answer_value,
    steps_and_labels,
)
from backtalk.formats.suggest.names import has_word, words_of
from backtalk.formats.suggest.object_paths import path_to_answer, path_to_prompt
from backtalk.formats.suggest.values import ColumnValues

Columns = dict[str, ColumnValues]

PROMPT = "PROMPT"
"""Placeholder for the column of the prompt."""


@dataclass
class Roles:
    """Columns by role; each column has at most one."""

    prompt: list[str] = field(default_factory=list)
    """Columns that make up the prompt, in order."""
    system: str | None = None
    conversations: list[str] = field(default_factory=list)
    """Columns of conversations that end with an answer."""
    answers: list[str] = field(default_factory=list)
    models: dict[str, str] = field(default_factory=dict)
    """Column with the name of the model, by answer."""
    steps: tuple[str, str] | None = None
    """Columns of the steps that make up the answer, and of their labels."""
    first_is_better: bool = False
    """If true, the first answer is the better one in every row."""
    user: str | None = None
    annotator: str | None = None
    time: str | None = None
    id: str | None = None
    session: str | None = None
    raters: list[str] = field(default_factory=list)
    """Columns that have the verdicts of one rater each, such as ``rater_1``."""
    verdicts: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)
    """Columns without a role."""
    doubts: list[str] = field(default_factory=list)
    """Questions about the columns above, for comments."""

    @property
    def responses(self) -> list[str]:
        """Columns of the answers, in conversations or by themselves."""
        return self.conversations or self.answers


def find_roles(columns: Columns, must_read: str | None = None) -> Roles:
    """Return the roles of columns by their names and the types of their values.

    Parameters
    ----------
    columns : dict of str to ColumnValues
        Columns of the sample rows.
    must_read : str, optional
        Column that becomes a verdict if it has no other role.
    """
    roles = Roles()
    open_columns = dict(columns)
    _find_answers(roles, open_columns)
    _find_prompt(roles, open_columns)
    _find_facts(roles, open_columns)
    _find_verdicts(roles, open_columns, must_read)
    _find_unnamed_texts(roles, open_columns)
    if roles.answers and not roles.prompt:
        roles.prompt = [PROMPT]
        roles.doubts.append(f"Which column has the prompt? Put its name in place of {PROMPT}")
    _find_models(roles, open_columns)
    roles.rest = list(open_columns)
    return roles


def _take(columns: Columns, condition: Callable[[ColumnValues], bool]) -> list[str]:
    taken = [name for name, column in columns.items() if condition(column)]
    for name in taken:
        del columns[name]
    return taken


def _find_answers(roles: Roles, columns: Columns) -> None:
    if pair := better_and_worse(columns):
        roles.first_is_better = True
        messages = [columns.pop(name) for name in pair]
        if all(item.is_messages and not begins_with_answer(item) for item in messages):
            roles.conversations = list(pair)
        else:
            roles.answers = list(pair)
        return
    if steps := steps_and_labels(columns):
        roles.steps = steps
        roles.answers = [steps[0]]
        del columns[steps[0]]
        return
    by_name = [
        name
        for name, column in columns.items()
        if meaning_of(name) == "answer" and is_answer_value(column)
    ]
    roles.answers = [name for name in by_name if not has_word(name, names.DEMONSTRATION)]
    conversations = [
        name
        for name, column in columns.items()
        if column.is_messages and name not in roles.answers and ends_with_answer(column)
    ]
    if not roles.answers and conversations:
        roles.conversations = conversations
    for name in roles.responses:
        del columns[name]
    if not roles.responses:
        roles.answers = _take_inside(columns, "answer", path_to_answer)


def _take_inside(
    columns: Columns, meaning: str, find_path: Callable[[ColumnValues], str | None]
) -> list[str]:
    """Return the paths to the texts inside the objects of columns, and take these columns."""
    paths = {
        name: path
        for name, column in columns.items()
        if meaning_of(name) == meaning and (path := find_path(column)) is not None
    }
    for name in paths:
        del columns[name]
    return list(paths.values())


def _find_prompt(roles: Roles, columns: Columns) -> None:
    system = _take(columns, lambda column: column.name.lower() in {"system", "system_prompt"})
    roles.system = system[0] if system else None
    if roles.conversations:
        return
    candidates = [
        name
        for name, column in columns.items()
        if meaning_of(name) == "prompt" and is_answer_value(column) and name != "history"
    ]
    questions = [name for name in candidates if has_word(name, names.QUESTION)] or candidates
    question = next(
        (
            name
            for name in questions
            if columns[name].is_messages or not has_word(name, names.CONTEXT)
        ),
        None,
    )
    contexts = [
        name
        for name in candidates
        if name != question and has_word(name, names.CONTEXT) and columns[name].is_text
    ]
    roles.prompt = [*([question] if question else []), *contexts]
    if question and columns[question].is_messages:
        roles.prompt = [question]
    for name in roles.prompt:
        del columns[name]
    if others := [name for name in questions if name in columns and name not in roles.prompt]:
        listed = ", ".join(others)
        first = f"in {roles.prompt[0]}, or " if roles.prompt else ""
        roles.doubts.append(f"Is the prompt {first}in {listed}?")
    if not candidates:
        roles.prompt = _take_inside(columns, "prompt", path_to_prompt)[:1]


def _find_facts(roles: Roles, columns: Columns) -> None:
    times = _take(columns, lambda column: column.is_time and has_word(column.name, names.TIME))
    roles.time = times[0] if times else None
    roles.raters = _take_raters(columns)
    sessions = _take(
        columns,
        lambda column: (
            words_of(column.name)[-1:] == ("id",) and has_word(column.name, names.SESSION)
        ),
    )
    roles.session = sessions[0] if sessions else None
    people = _take(
        columns,
        lambda column: (
            meaning_of(column.name) == "person" and not isinstance(column.values[0], dict)
        ),
    )
    users = [name for name in people if has_word(name, frozenset({"user", "username"}))]
    annotators = [name for name in people if name not in users]
    roles.user = users[0] if users else None
    roles.annotator = next(iter([*annotators, *users]), None)
    if roles.annotator is None:
        _find_unnamed_person(roles, columns)
    if len(annotators) > 1:
        roles.doubts.append(f"Who gave the feedback: {' or '.join(annotators)}?")
    ids = _take(columns, lambda column: _is_id(column.name))
    roles.id = ids[0] if ids else None


def _take_raters(columns: Columns) -> list[str]:
    """Take the columns that are named after raters by number and have their verdicts."""
    named = [
        name
        for name, column in columns.items()
        if meaning_of(name) == "person" and words_of(name)[-1].isdigit() and _has_verdicts(column)
    ]
    raters = [
        name
        for name in named
        if sum(words_of(name)[:-1] == words_of(one)[:-1] for one in named) > 1
    ]
    return _take(columns, lambda column: column.name in raters)


def _has_verdicts(column: ColumnValues) -> bool:
    words = {word.lower() for word in column.words}
    is_small = bool(column.numbers) and all(abs(number) <= 10 for number in column.numbers)
    return is_small or column.is_flag or words <= names.GOOD | names.BAD


def _find_unnamed_person(roles: Roles, columns: Columns) -> None:
    people = _take(columns, lambda column: column.is_word and has_word(column.name, names.PEOPLE))
    if people:
        roles.annotator = people[0]
        roles.doubts.append(f"Is {people[0]} the one who gave the feedback?")


def _is_id(name: str) -> bool:
    words = words_of(name)
    return words[-1:] in {("id",), ("uuid",)} and meaning_of(name) is None


def _find_verdicts(roles: Roles, columns: Columns, must_read: str | None) -> None:
    roles.verdicts = roles.raters + _take(
        columns,
        lambda column: (
            column.name == must_read
            or meaning_of(column.name) == "verdict"
            or (meaning_of(column.name) == "answer" and not column.is_messages)
            or "start" in column.item_fields
            or any(
                has_word(column.name, words)
                for words in (
                    names.CRITIQUE,
                    names.EDIT,
                    names.DEMONSTRATION,
                    names.OUTCOME,
                    names.CONFIDENCE,
                    names.STRENGTH,
                    names.PROBABILITY,
                )
            )
        ),
    )


def _find_unnamed_texts(roles: Roles, columns: Columns) -> None:
    """Take the longest texts for the prompt and the answers that no name tells."""
    missing = _missing_answers(roles)
    if missing == 0:
        return
    texts = sorted(
        (name for name, column in columns.items() if _is_unnamed_text(column)),
        key=lambda name: -columns[name].length,
    )
    needs_prompt = not roles.prompt and not roles.answers
    order = list(columns)
    chosen = sorted(texts[: missing + needs_prompt], key=order.index)
    if needs_prompt and chosen:
        roles.prompt = [chosen.pop(0)]
        roles.doubts.append(f"Is {roles.prompt[0]} the prompt?")
    if chosen:
        roles.answers += chosen
        roles.doubts.append(f"Is this an answer that the feedback is about: {', '.join(chosen)}?")
    for name in (*roles.prompt, *roles.answers):
        columns.pop(name, None)


def _is_unnamed_text(column: ColumnValues) -> bool:
    is_model = has_word(column.name, names.MODEL)
    return column.is_text and not (column.is_time or is_model) and meaning_of(column.name) is None


def _missing_answers(roles: Roles) -> int:
    """Return the number of answers that the verdicts need and no column is named for."""
    if roles.conversations:
        return 0
    compares = any(has_word(name, names.COMPARISON) for name in roles.verdicts)
    return max(0, (2 if compares else 1) - len(roles.answers))


def _find_models(roles: Roles, columns: Columns) -> None:
    models = [name for name in columns if has_word(name, names.MODEL)]
    if len(roles.responses) == 1 and len(models) == 1:
        roles.models = {roles.responses[0]: models[0]}
    elif len(roles.responses) > 1:
        for answer in roles.responses:
            matches = [name for name in models if target_of(name, roles.responses) == answer]
            if len(matches) == 1:
                roles.models[answer] = matches[0]
    for name in roles.models.values():
        del columns[name]


def target_of(name: str, answers: Iterable[str]) -> str | None:
    """Return the answer that a column is about, by the words that its name shares with one only.

    >>> target_of("score_b", ["reply_a", "reply_b"]), target_of("rating", ["one", "two"])
    ('reply_b', None)
    """
    answers = list(answers)
    all_words = [frozenset(words_of(answer)) for answer in answers]
    common = frozenset.intersection(*all_words) if all_words else frozenset()
    words = frozenset(words_of(name))
    matches = [
        answer
        for answer, own in zip(answers, all_words, strict=True)
        if not words.isdisjoint(own - common)
    ]
    return matches[0] if len(matches) == 1 else None
