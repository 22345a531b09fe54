"""Reading of a judge's reply: a verdict that it states, or nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, TypeVar

_THINKING = re.compile(
    r"\A.*</think(?:ing)?>|<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE
)
_OBJECT = re.compile(r"\{[^{}]*\}", re.DOTALL)
_BRACKETS = re.compile(r"\[\[\s*([^\[\]]+?)\s*\]\]")
_DECORATION = "*_`#>\"'\u201c\u201d\u2018\u2019()[] \t!:;,"
_BULLET = re.compile("[-\u2013\u2014\u2022]\\s+")
_REASON = re.compile(r"\s*\(|\s+because\b|\s+since\b|\s+[-\u2013\u2014]\s+|[.:;]\s+")
_OTHER_VERDICT = re.compile(r"\d|\b[ABC]\b|\b(?:tie|equal)", re.IGNORECASE)
_STATEMENT = re.compile(
    r"(?:(?:so|thus|therefore|hence)\W+)?"
    r"(?:(?:my|the|your|final|overall|better|best|preferred|winning)\s+)*"
    r"(?:verdict|winner|decision|choice|preference|judge?ment|score|rating|grade|answer)"
    r"(?:\s+(?:for\s+(?:this|the)\s+answer|of\s+the\s+comparison))?"
    r"\W*?(?:\s+is\b|\s*[:=\-\u2013\u2014])\W*(.+)",
    re.IGNORECASE,
)
_KEYS = (
    "verdict", "winner", "choice", "preference", "preferred", "better", "decision", "judgement",
    "judgment", "score", "rating", "grade", "answer",
)  # fmt: skip
_CHOICE = re.compile(
    r"(?:the\s+)?(?:(?:answer|response|assistant|option|model)[\s_-]*)?([abc])"
    r"(?:\s+(?:is|wins|was)(?:\s+(?:the\s+)?(?:clearly\s+|slightly\s+|much\s+)?"
    r"(?:better|best|winner)(?:\s+(?:answer|response|one))?)?)?",
    re.IGNORECASE,
)
_TIE = re.compile(
    r"(?:it(?:'s|\s+is)\s+)?(?:an?\s+)?(?:tie|tied|draw|equal|equally\s+good|same|both|neither)"
    r"(?:\s+(?:answers?|responses?))?(?:\s+are\s+equally\s+good)?",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"(?P<score>[-+]?\d+(?:[.,]\d+)?)\s*(?:(?:/|out\s+of|of)\s*(?P<high>\d+))?\s*"
    r"(?:points?|stars?)?",
    re.IGNORECASE,
)

VerdictT = TypeVar("VerdictT", str, float)


def read_choice(text: str, *, ties: bool = True) -> str | None:
    """Return ``"A"``, ``"B"`` or ``"C"`` (a tie) as a reply states it, or None.

    The last line counts, or a JSON object, or double brackets, or else the only label that lines
    of the reply state. A label in running text does not count.

    Parameters
    ----------
    text : str
        Reply.
    ties : bool, default True
        If false, a tie is no verdict.
    """

    def label(statement: str) -> str | None:
        match = _CHOICE.fullmatch(statement)
        if match is not None:
            choice = match.group(1).upper()
        elif _TIE.fullmatch(statement):
            choice = "C"
        else:
            return None
        return choice if ties or choice != "C" else None

    return _only([label(statement) for statement in _statements(text)])


def read_score(text: str, scale: tuple[int, int], *, complete: bool = True) -> float | None:
    """Return the score on a scale that a reply states, or None.

    Parameters
    ----------
    text : str
        Reply.
    scale : tuple[int, int]
        Lowest and highest score. Scores outside it, and ones out of another number, do not count.
    complete : bool, default True
        If false, the reply was cut off, and a number at its end may lack digits.
    """
    if not complete and text.rstrip()[-1:].isdigit() and scale[1] > 9:
        return None
    return _only([_score(statement, scale) for statement in _statements(text)])


def _score(statement: str, scale: tuple[int, int]) -> float | None:
    match = _NUMBER.fullmatch(statement)
    if match is None or match["high"] not in (None, str(scale[1])):
        return None
    score = float(match["score"].replace(",", "."))
    return score if scale[0] <= score <= scale[1] else None


def _only(verdicts: list[VerdictT | None]) -> VerdictT | None:
    """Return the verdict of the last statement, or the only one of all statements."""
    if not verdicts:
        return None
    if verdicts[-1] is not None:
        return verdicts[-1]
    different = {verdict for verdict in verdicts if verdict is not None}
    return different.pop() if len(different) == 1 else None


def _statements(text: str) -> list[str]:
    """Return the parts of a reply that may be a verdict, the decisive one last."""
    visible = _THINKING.sub("", text)
    statements = [_statement(line) for line in map(_strip, visible.splitlines()) if line]
    statements += [_strip(value) for value in _BRACKETS.findall(visible)]
    statements += [_strip(str(value)) for value in _json_verdicts(visible)]
    return statements


def _statement(line: str) -> str:
    """Return the verdict in a line that names it, without a reason after it; or the line."""
    match = _STATEMENT.fullmatch(line)
    if match is None:
        return line
    named = _strip(match.group(1))
    verdict, *reason = _REASON.split(named, maxsplit=1)
    if reason and _OTHER_VERDICT.search(reason[0]):
        return named
    return _strip(verdict)


def _strip(text: str) -> str:
    return _BULLET.sub("", text.strip(_DECORATION), count=1).strip(_DECORATION).rstrip(".")


def _json_verdicts(text: str) -> Iterable[Any]:
    """Yield the verdicts of all JSON objects in a reply, in order."""
    for body in _OBJECT.findall(text):
        try:
            fields = json.loads(body)
        except ValueError:
            continue
        if not isinstance(fields, dict):
            continue
        by_key = {str(key).lower().replace(" ", "_"): value for key, value in fields.items()}
        for key in _KEYS:
            if isinstance(by_key.get(key), (str, int, float)):
                yield by_key[key]
                break
