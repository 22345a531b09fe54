"""Meaning of an annotation tool's questions: words for good and bad, scales, kinds of answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from backtalk.errors import RecordError
from backtalk.feedback.base import OVERALL
from backtalk.feedback.kinds import Scale
from backtalk.formats.offsets import OffsetUnit
from backtalk.formats.options import parse_list, parse_pairs, parse_scales

_GOOD = ("yes", "good", "correct", "true", "positive", "accept", "👍")
_BAD = ("no", "bad", "incorrect", "wrong", "false", "negative", "reject", "👎")
_YES_OR_NO = {"yes", "no", "true", "false"}
"""Words whose meaning depends on the question."""
_FAULTS = re.compile(  # names of questions to which yes is, perhaps, bad
    r"(?<!un)bias|abus|(?<!un)ambig|bad|contain|contradict|danger|denigrat|discriminat|error|expos|"
    r"express|fail|false|fault|flaw|hallucinat|harm(?!less)|hate|illegal|inappropriate|incorrect|"
    r"insult|irrelevant|issue|leak|mislead|mistake|missing|nonsens|offens|problem|profan|racis|"
    r"redundan|refus|repetit|rude|sexis|sexual|spam|toxic|unsafe|untru|unhelpful|violat|violen|"
    r"vulgar|wrong|encourag|advers|plagiar|policy"
)
"""Words in the name of a question that make yes a fault."""
_OVERALL_QUESTION = re.compile(
    r"(best|better|chosen|choice|choose|comparison|compare|judgment|judgement|overall\w*|pair\w*|"
    r"pick|prefer\w*|pw|rank\w*|rate|rating|score|stars?|thumbs?|verdict|vote|which\w*|winner)"
    r"[-_ ]?\d*"
)
"""Names of questions about a response as a whole."""


def aspect_of(question: str) -> str:
    """Return the aspect that a question is about: its name, unless that means the whole response.

    >>> aspect_of("tone"), aspect_of("best"), aspect_of("rating_2")
    ('tone', 'overall', 'overall')
    """
    return OVERALL if _OVERALL_QUESTION.fullmatch(question.lower()) else question


def sounds_like_fault(question: str) -> bool:
    """Return true if the name of a question is, perhaps, that of a fault, to which yes is bad.

    >>> sounds_like_fault("hallucination"), sounds_like_fault("helpful")
    (True, False)
    """
    return _FAULTS.search(question.lower()) is not None


def _parse_offsets(text: str) -> OffsetUnit:
    if text not in get_args(OffsetUnit):
        raise ValueError(f"expected one of {', '.join(get_args(OffsetUnit))}, got {text!r}")
    return text  # type: ignore[return-value]


ANSWER_OPTIONS: dict[str, Callable[[str], Any]] = {
    "about": parse_pairs,
    "good": parse_list,
    "bad": parse_list,
    "faults": parse_list,
    "edit": parse_list,
    "demonstration": parse_list,
    "scale": parse_scales,
    "offsets": _parse_offsets,
}
"""Parsers of the options of :class:`AnswerOptions`, by name."""


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """Meaning of a tool's questions."""

    about: Mapping[str, str] = field(default_factory=dict)
    """Response that each question is about, if the names do not tell."""
    good: tuple[str, ...] = _GOOD
    """Words for good, in lower case."""
    bad: tuple[str, ...] = _BAD
    """Words for bad, in lower case."""
    faults: tuple[str, ...] = ()
    """Questions about a fault: yes is bad, no is good."""
    edit: tuple[str, ...] = ()
    """Questions whose answer is the corrected response."""
    demonstration: tuple[str, ...] = ()
    """Questions whose answer is a new response."""
    scale: Mapping[str, Scale] | Scale = field(default_factory=dict)
    """Scale of all ratings, or scales by question; default 1 to 5."""
    offsets: OffsetUnit | None = None
    """Unit of the offsets of spans; ``None`` for code points, or what a marked text shows."""

    def scale_of(self, question: str) -> Scale:
        """Return the scale of a question's ratings."""
        if isinstance(self.scale, Scale):
            return self.scale
        return self.scale.get(question) or self.scale.get("") or Scale.STARS

    def is_yes_or_no(self, word: str) -> bool:
        """Return true if the question decides whether a word means good."""
        return word in _YES_OR_NO and (self.good, self.bad) == (_GOOD, _BAD)

    def is_fault(self, question: str) -> bool:
        """Return true if yes to a question is bad.

        Raises
        ------
        RecordError
            If its name is that of a fault and no option says so.
        """
        if question in self.faults:
            return True
        if sounds_like_fault(question):
            raise RecordError(
                f"{question}: it is not clear whether yes is good or bad",
                f"If yes is bad, give the option faults={question}; otherwise name the words with "
                "good=WORD,… and bad=WORD,…",
            )
        return False
