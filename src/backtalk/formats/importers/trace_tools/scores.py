"""Scores of traces: flags, numbers, words and comments by name, as feedback on the answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.base import OVERALL
from backtalk.feedback.interaction import Interaction
from backtalk.feedback.kinds import AnyFeedback, Critique, FeedbackT, Label, Rating, Scale
from backtalk.formats.content_ids import make_feedback
from backtalk.formats.importers.annotation_options import aspect_of, sounds_like_fault
from backtalk.formats.importers.trace_tools.join import OUTSIDE
from backtalk.formats.options import parse_list, parse_scales
from backtalk.formats.unusual import note_unusual

RESPONSE = "0"
"""Id of the answer of a trace."""

_SCALE_NOTE = "score read on the scale 0 to 1, as the file names none; another is scale=LOW-HIGH"
_GOOD_WORDS = (
    "yes, good, correct, true, positive, accept, accepted, pass, passed, up, thumb up, thumbs up, "
    "like, liked, 👍, helpful, relevant, factual, non toxic, bug free, readable"
)
_BAD_WORDS = (
    "no, bad, incorrect, wrong, false, negative, reject, rejected, fail, failed, down, thumb down, "
    "thumbs down, dislike, disliked, 👎, unhelpful, irrelevant, unrelated, hallucinated, toxic, "
    "is bug, unreadable"
)
_GOOD = frozenset(_GOOD_WORDS.split(", "))
_BAD = frozenset(_BAD_WORDS.split(", "))
_YES_OR_NO = frozenset(("yes", "no", "true", "false"))
"""Words whose meaning depends on the name of the score."""
_BY_PEOPLE = re.compile(
    r"(user|human|end_?user|customer|expert|annotator|reviewer|thumbs?)\b.*|feedback|thumbs?.*"
)
"""Names of scores that people give."""
_OF_PEOPLE = re.compile(r"(user|human|customer|end user)( (feedback|score|rating|thumbs?|vote))?")
_OVERALL_NAME = re.compile(r"feedback|note|comment|thumbs? (up|down)")
"""Names of scores of a response as a whole, besides those of annotation tools."""


@dataclass(frozen=True)
class Score:
    """One score of a trace."""

    name: str
    value: Any
    """True or false, a number, a word, an object of several values, or ``None``."""
    annotator: Annotator
    time: datetime | None = None
    comment: str | None = None
    """Reason for the value, or the comment itself if there is no value."""
    id: str | None = None
    """Id of the score in the tool, which tells equal scores apart."""
    metadata: dict[str, Any] = field(default_factory=dict)


SCORE_OPTIONS: dict[str, Callable[[str], Any]] = {
    "overall": parse_list,
    "scale": parse_scales,
    "good": parse_list,
    "bad": parse_list,
    "faults": parse_list,
    "merits": parse_list,
    "people": parse_list,
    "skip": parse_list,
}
"""Parsers of the options of :class:`ScoreOptions`, by name."""


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Meaning of scores by their names and words."""

    overall: tuple[str, ...] | None = None
    """Names of the scores of a response as a whole; ``None`` for the usual ones."""
    scale: Mapping[str, Scale] = field(default_factory=dict)
    """Scales by name of the score; the scale of ``""`` is for all others."""
    good: tuple[str, ...] = ()
    """Further words for good."""
    bad: tuple[str, ...] = ()
    """Further words for bad."""
    faults: tuple[str, ...] = ()
    """Names of scores of which yes, or more, is worse."""
    merits: tuple[str, ...] = ()
    """Names of scores that sound like faults, but of which yes, or more, is better."""
    people: tuple[str, ...] = ()
    """Names of scores that people give."""
    skip: tuple[str, ...] = ()
    """Names of scores that are left out."""
    outside: tuple[str, ...] = ()
    """Names of scores that have a number outside 0 to 1 in the same file."""

    def aspect_of(self, name: str) -> str:
        """Return the aspect of a score: its name, unless it is about the response as a whole."""
        if self.overall is not None:
            return OVERALL if name in self.overall else name
        plain = _plain(name)
        if _OVERALL_NAME.fullmatch(plain) or _OF_PEOPLE.fullmatch(plain):
            return OVERALL
        return aspect_of(name)

    def is_by_person(self, name: str) -> bool:
        """Return true if the name of a score says that a person gives it."""
        return name in self.people or _BY_PEOPLE.fullmatch(_plain(name)) is not None

    def scale_of(self, name: str) -> Scale | None:
        """Return the scale of a score, ``None`` if no option names it."""
        return self.scale.get(name) or self.scale.get("")

    def is_fault(self, name: str) -> bool:
        """Return true if yes, or more, is worse.

        Raises
        ------
        RecordError
            If the name is that of a fault and no option says so.
        """
        if name in self.faults or name in self.merits:
            return name in self.faults
        if sounds_like_fault(name):
            raise RecordError(
                f"{name}: it is not clear whether yes, or a larger number, is good or bad",
                f"If it is bad, give the option faults={name}, otherwise merits={name}",
            )
        return False

    def knows(self, word: str) -> bool:
        """Return true if the meaning of a word is known."""
        plain = _plain(word)
        return plain in _GOOD | _BAD or plain in map(_plain, (*self.good, *self.bad))

    def is_good(self, name: str, word: str) -> bool:
        """Return true if a word means good, false if it means bad.

        Raises
        ------
        RecordError
            If its meaning is not known.
        """
        plain = _plain(word)
        for words, is_good in ((self.good, True), (self.bad, False)):
            if plain in map(_plain, words):
                return is_good
        if not self.knows(word):
            raise RecordError(
                f"{name}: the meaning of {word!r} is not known",
                f"Name the words with the options good=WORD,… and bad=WORD,…, such as good={word}, "
                f"or leave the score out with skip={name}",
            )
        if plain in _YES_OR_NO:
            return (plain in _GOOD) != self.is_fault(name)
        return plain in _GOOD


def read_options(row: Mapping[str, Any], options: Mapping[str, Any]) -> ScoreOptions:
    """Return the options of a row, with the names that a join of its file has added.

    Parameters
    ----------
    row : mapping of str to Any
        Row of a file.
    options : mapping of str to Any
        Options of the format.
    """
    return ScoreOptions(**options, outside=tuple(row.get(OUTSIDE, ())))


def _plain(text: str) -> str:
    """Return a name or a word in lower case with spaces: ``userFeedback``, ``thumbs-up``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return re.sub(r"[\s_.:/-]+", " ", spaced).strip().lower()


def stand_in(id: str) -> Interaction:  # noqa: A002
    """Return a stand-in of an interaction in another file, for feedback that needs its id."""
    return Interaction.model_construct(_fields_set={"id"}, id=id, prompt=())


def score_feedback(
    score: Score, interaction: Interaction, options: ScoreOptions
) -> list[AnyFeedback]:
    """Return the feedback that a score is.

    True, false and words become labels, numbers ratings, the comment a critique. An object has
    several values, each with the aspect ``name/key``.

    Parameters
    ----------
    score : Score
        Score.
    interaction : Interaction
        Interaction that the score is about; its answer has the id :data:`RESPONSE`.
    options : ScoreOptions
        Meaning of names and words.

    Raises
    ------
    RecordError
        If the meaning of the value is not clear, or there is neither value nor comment.
    """
    if score.name in options.skip:
        note_unusual(f"score {score.name}, left out as skip asks")
        return []
    comment = (score.comment or "").strip()
    if score.value is None and not comment:
        raise RecordError(f"{score.name}: neither a value nor a comment")
    items: list[AnyFeedback] = []
    if isinstance(score.value, dict):
        for key, value in score.value.items():
            if value is not None:
                items += _verdict(score, f"{score.name}/{key}", value, interaction, options)
    elif score.value is not None:
        items += _verdict(score, score.name, score.value, interaction, options)
    if comment:
        items.append(comment_feedback(score, interaction, options))
    return items


def comment_feedback(score: Score, interaction: Interaction, options: ScoreOptions) -> Critique:
    """Return the comment of a score as a critique.

    Parameters
    ----------
    score : Score
        Score with a comment.
    interaction : Interaction
        Interaction that it is about.
    options : ScoreOptions
        Meaning of names.
    """
    aspect = options.aspect_of(score.name)
    return _make(
        Critique,
        score,
        interaction,
        response=RESPONSE if _has_answer(interaction) else None,
        text=(score.comment or "").strip(),
        aspect=None if aspect == OVERALL else aspect,
    )


def _verdict(
    score: Score, name: str, value: Any, interaction: Interaction, options: ScoreOptions
) -> list[AnyFeedback]:
    if not _has_answer(interaction):
        raise RecordError(f"{name}: the trace has no output that the score could be about")
    if isinstance(value, bool):
        good = value != options.is_fault(name)
    elif isinstance(value, int | float):
        return [_rating(score, name, float(value), interaction, options)]
    elif isinstance(value, str):
        good = options.is_good(name, value)
    else:
        raise RecordError(
            f"{name}: expected true, false, a number or a word, got {value!r}",
            f"Leave the score out with the option skip={score.name}",
        )
    metadata = {"value": value} if isinstance(value, str) else {}
    return [
        _make(
            Label,
            score,
            interaction,
            metadata,
            response=RESPONSE,
            good=good,
            aspect=options.aspect_of(name),
        )
    ]


def _rating(
    score: Score, name: str, value: float, interaction: Interaction, options: ScoreOptions
) -> Rating:
    scale = options.scale_of(name) or Scale.UNIT
    is_on_scale = scale.low <= value <= scale.high
    if not is_on_scale or (name in options.outside and options.scale_of(name) is None):
        problem = "is not" if not is_on_scale else "is, but other numbers in the file are not,"
        raise RecordError(
            f"{name}: {value:g} {problem} on the scale {scale.low:g} to {scale.high:g}",
            f"Name the scale with the option scale=LOW-HIGH, or, for this score, "
            f"scale={name}=LOW-HIGH",
        )
    if options.scale_of(name) is None:
        note_unusual(_SCALE_NOTE)
    is_fault = options.is_fault(name)
    return _make(
        Rating,
        score,
        interaction,
        {"value": value} if is_fault else {},
        response=RESPONSE,
        value=scale.low + scale.high - value if is_fault else value,
        scale=scale,
        aspect=options.aspect_of(name),
    )


def _has_answer(interaction: Interaction) -> bool:
    return "responses" not in interaction.model_fields_set or bool(interaction.responses)


def _make(
    kind: type[FeedbackT],
    score: Score,
    interaction: Interaction,
    metadata: Mapping[str, Any] | None = None,
    **fields: Any,
) -> FeedbackT:
    return make_feedback(
        kind,
        interaction,
        score.annotator,
        time=score.time,
        distinct=score.id,
        metadata={**score.metadata, **(metadata or {})},
        **fields,
    )
