"""Documentation of a tool amended by what its trials show, without a model.

The notes state which arguments failed with which message, which values worked, and a call that
worked. They need no call of a model or of a tool, and suit any model that reads the documentation.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from backtalk.feedback.describe import shorten
from backtalk.feedback.interaction import prompt_text
from backtalk.learn.prompt.tools.calls import ToolTrial

_MAX_VALUES = 4
"""Maximum number of values of an argument that a note names."""
_MAX_DISTINCT = 0.7
"""Number of distinct values of an argument for each call, up to which the argument is a choice."""
_MAX_MESSAGE = 160
_MAX_EXAMPLES = 3
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


def amend(description: str, trials: Sequence[ToolTrial]) -> str:
    """Return a description with notes on what worked and what failed.

    Sentences that name a value that always failed, and no value that worked, are left out.

    Parameters
    ----------
    description : str
        Description of the tool.
    trials : sequence of ToolTrial
        Trials of the tool.
    """
    return join(without_refuted(description, trials), notes(trials))


def notes(trials: Sequence[ToolTrial]) -> list[str]:
    """Return notes on what trials of a tool show, one sentence each."""
    worked, failed = _parted(trials)
    good, blamed = _values(worked), _blamed_values(trials)
    lines = [
        *_unknown_arguments(worked, failed),
        *_missing_arguments(worked, failed),
        *(_note_on_values(name, good.get(name), blamed[name]) for name in blamed),
        *_messages(failed),
    ]
    return [*lines, *_examples(worked)]


def _examples(worked: Sequence[ToolTrial]) -> list[str]:
    """Return calls that worked, with different values, each with the request that it is for."""
    first: dict[str, ToolTrial] = {}
    for trial in worked:
        first.setdefault(_json(trial.call.arguments), trial)
    chosen: list[ToolTrial] = []
    while first and len(chosen) < _MAX_EXAMPLES:
        shown = {_json(item) for one in chosen for item in (one.call.arguments or {}).items()}
        key = max(
            first,
            key=lambda key: sum(
                _json(item) not in shown for item in (first[key].call.arguments or {}).items()
            ),
        )
        chosen.append(first.pop(key))
    return [_example(trial) for trial in chosen]


def _example(trial: ToolTrial) -> str:
    request = "" if trial.request is None else shorten(prompt_text(trial.request[-1:]))
    asks = f" for {_json(request)}" if request else ""
    return f"Example that works{asks}: {_json(trial.call.arguments)}"


def without_refuted(description: str, trials: Sequence[ToolTrial]) -> str:
    """Return a description without the sentences that name a value that made calls fail.

    A sentence that also names a value that worked stays.

    Parameters
    ----------
    description : str
        Description of the tool.
    trials : sequence of ToolTrial
        Trials of the tool.
    """
    worked, _ = _parted(trials)
    good = {value for values in _values(worked).values() for value in values}
    refuted = {value for values in _blamed_values(trials).values() for value in values}
    sentences = [one for one in _SENTENCE.split(description) if one.strip()]
    others = [
        one
        for one in sentences
        if not any(_names(one, value) for value in refuted)
        or any(_names(one, value) for value in good)
    ]
    return " ".join(others) if len(others) < len(sentences) else description


def join(description: str, lines: Sequence[str]) -> str:
    """Return a description with notes below it, one a line."""
    return "\n".join(part for part in (description.strip(), *lines) if part)


def _parted(trials: Sequence[ToolTrial]) -> tuple[list[ToolTrial], list[ToolTrial]]:
    """Return the trials that worked, and those that failed."""
    worked = [trial for trial in trials if not trial.failed and trial.call.arguments is not None]
    return worked, [trial for trial in trials if trial.failed]


def _values(trials: Sequence[ToolTrial]) -> dict[str, Counter[str]]:
    """Return the number of trials with each value, written as JSON, by name of the argument."""
    counts: dict[str, Counter[str]] = {}
    for trial in trials:
        for name, value in (trial.call.arguments or {}).items():
            counts.setdefault(name, Counter())[_json(value)] += 1
    return counts


def _blamed_values(trials: Sequence[ToolTrial]) -> dict[str, Counter[str]]:
    """Return the values that made calls fail, by name of the argument.

    An argument of a failed call is suspect if no call with a value of its kind worked. Values that
    repeat are kinds of their own; others, such as dates, are of a kind if they have the same form.
    Of several suspects, those that the message names are to blame, or else the most frequent one. A
    value that the message quotes with the name of its argument is to blame if it never worked.
    """
    worked, failed = _parted(trials)
    good, bad = _values(worked), _values(failed)
    kinds = {name: _kind(values + bad.get(name, Counter())) for name, values in good.items()}
    known = {name: {kinds[name](value) for value in values} for name, values in good.items()}
    blamed: dict[str, Counter[str]] = {}
    for trial in failed:
        values = {name: _json(value) for name, value in (trial.call.arguments or {}).items()}
        quoted = [
            name
            for name, value in values.items()
            if _names(trial.result, name)
            and _names(trial.result, value)
            and value not in good.get(name, ())
        ]
        suspects = quoted or [
            name
            for name in values
            if name in known and kinds[name](values[name]) not in known[name]
        ]
        named = [name for name in suspects if _names(trial.result, name)]
        most = max((bad[name][values[name]] for name in suspects), default=0)
        frequent = [name for name in suspects if bad[name][values[name]] == most]
        for name in named or frequent[:1]:
            blamed.setdefault(name, Counter())[values[name]] += 1
    return blamed


def _kind(values: Counter[str]) -> Callable[[str], str]:
    """Return the function that tells of which kind a value of an argument is."""
    return str if len(values) <= _MAX_DISTINCT * values.total() else _form


def _form(value: str) -> str:
    """Return a value with each run of digits, and of letters, as one sign.

    >>> _form('"2026-05-14"'), _form('"3/12/2026"')
    ('"0-0-0"', '"0/0/0"')
    """
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", value))


def _note_on_values(name: str, good: Counter[str] | None, bad: Counter[str]) -> str:
    """Return the sentence on the values of an argument."""
    worked, failed = (
        ", ".join(value for value, _ in values.most_common(_MAX_VALUES))
        for values in (good or Counter[str](), bad)
    )
    return f"{name}: " + (f"{worked} worked; " if worked else "") + f"{failed} failed."


def _unknown_arguments(worked: Sequence[ToolTrial], failed: Sequence[ToolTrial]) -> list[str]:
    """Return notes on arguments that only failed calls have."""
    if not worked:
        return []
    names = Counter(name for trial in failed for name in trial.call.arguments or {})
    known = {name for trial in worked for name in trial.call.arguments or {}}
    return [f"{name}: calls with it failed." for name in names if name not in known]


def _missing_arguments(worked: Sequence[ToolTrial], failed: Sequence[ToolTrial]) -> list[str]:
    """Return notes on arguments that all calls that worked have, and a failed one lacks."""
    every = [set(trial.call.arguments or {}) for trial in worked]
    required = set.intersection(*every) if every else set()
    calls = [trial.call.arguments for trial in failed]
    missing = [
        name
        for name in sorted(required)
        if any(call is not None and name not in call for call in calls)
    ]
    return [f"{name}: calls without it failed." for name in missing]


def _messages(failed: Sequence[ToolTrial]) -> list[str]:
    """Return the messages of failures, those that occurred most often first."""
    texts = Counter(shorten(_general(trial), _MAX_MESSAGE) for trial in failed)
    return [
        f"Error that occurred: {text}" for text, _ in texts.most_common(_MAX_VALUES - 1) if text
    ]


def _general(trial: ToolTrial) -> str:
    """Return the message of a failure without the values of its call, which differ by call."""
    message = _message(trial.result)
    for value in sorted(map(str, (trial.call.arguments or {}).values()), key=len, reverse=True):
        quoted = rf"(['\"`]){re.escape(value)}\1"
        message = re.sub(quoted, "…", message)
        if len(value) > 1:
            message = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", message)
    return message


def _message(result: str) -> str:
    """Return the message in the result of a failed call."""
    try:
        data = json.loads(result)
    except ValueError:
        return result.strip().rsplit("\n", 1)[-1]
    if isinstance(data, Mapping):
        inner = data.get("error") or data.get("message") or data.get("detail") or data
        data = inner.get("message", inner) if isinstance(inner, Mapping) else inner
    return data if isinstance(data, str) else _json(data)


def _names(sentence: str, value: str) -> bool:
    """Return whether a sentence has a value, written as JSON, as a word of its own."""
    text = value.strip('"')
    return bool(text) and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", sentence) is not None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
