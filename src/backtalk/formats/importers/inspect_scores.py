"""Scores of a sample in inspect_ai's logs: values of one or several scorers as outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.kinds import Scale
from backtalk.formats.fields import Fields
from backtalk.formats.unusual import note_unusual

RESPONSE = "0"
"""Id of a sample's response."""
_WORDS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""Values that inspect_ai itself converts to numbers."""
_EXTREMES = {1.0: True, 0.0: False}
_MEND = (
    "Name the values with the options passed=WORD,… and failed=WORD,…, or the scorers to read "
    "with scorers=NAME,…"
)


def _scorer(name: str) -> str:
    """Return the scorer of a value ``scorer/key``."""
    return name.split("/", 1)[0]


@dataclass(frozen=True)
class ScoreOptions:
    """Options of reading scores."""

    scorers: tuple[str, ...]
    """Names of scorers, or of their values (``scorer/value``); empty for all."""
    passed: tuple[str, ...]
    failed: tuple[str, ...]
    scale: Mapping[str, Scale]
    """Scales by scorer or value; ``""`` for all others."""

    def reads(self, name: str) -> bool:
        """Return true if a value is to be read."""
        return not self.scorers or name in self.scorers or _scorer(name) in self.scorers

    def scale_of(self, name: str) -> Scale | None:
        """Return the scale of a value, ``None`` for 0 to 1."""
        return self.scale.get(name) or self.scale.get(_scorer(name)) or self.scale.get("")


@dataclass(frozen=True)
class ScoredOutcome:
    """One value of a score."""

    scorer: str
    annotator: Annotator
    passed: bool | None
    score: float
    text: str
    time: datetime | None
    metadata: dict[str, Any]


@dataclass
class Scores:
    """Outcomes of a sample, and what was left out."""

    outcomes: list[ScoredOutcome] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    """Names of the scorers without a value (``unscored``), values of scorers that were not to be
    read (``unread_scores``)."""


def read_scores(run: Fields, sample: Fields, options: ScoreOptions) -> Scores:
    """Return the outcomes of a sample.

    Parameters
    ----------
    run : Fields
        Description of the evaluation, ``eval`` in the log.
    sample : Fields
        Sample with its scores.
    options : ScoreOptions
        Options.

    Raises
    ------
    RecordError
        If a value is a word that is not known, or a number outside its scale.
    """
    result = Scores()
    unscored: list[str] = []
    unread: dict[str, Any] = {}
    scores = _scores(sample)
    for scorer in scores.data:
        score = scores.object(scorer)
        for name, value in _values(scorer, score.data.get("value")):
            if value is None:
                unscored.append(name)
                note_unusual(f"score of {name} without a value, left out")
            elif "invalidation" in sample or not options.reads(name):
                unread[name] = value
                if options.reads(name):
                    note_unusual("score of an invalidated sample, left out")
            else:
                result.outcomes.append(_outcome(run, name, score, value, options))
    if unscored:
        result.metadata["unscored"] = unscored
    if unread:
        result.metadata["unread_scores"] = unread
    return result


def _scores(sample: Fields) -> Fields:
    """Return the scores by scorer; the oldest logs have one without the scorer's name."""
    if "scores" not in sample and isinstance(sample.data.get("score"), dict):
        return Fields({"scorer": sample.data["score"]}, sample.field_path("score"))
    return sample.object("scores") if "scores" in sample else Fields({})


def _values(scorer: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values of a score with their names, ``scorer/key`` or ``scorer/index``."""
    if isinstance(value, dict):
        yield from ((f"{scorer}/{key}", item) for key, item in value.items())
    elif isinstance(value, list):
        yield from ((f"{scorer}/{index}", item) for index, item in enumerate(value))
    else:
        yield scorer, value


def _outcome(
    run: Fields, name: str, score: Fields, value: Any, options: ScoreOptions
) -> ScoredOutcome:
    passed, number = _parse_value(name, score, value, options)
    edit = _last_edit(score)
    metadata = score.select("answer", "reason")
    if not isinstance(value, bool) and value != number:
        metadata["value"] = value
    if edit is not None:
        metadata["scorer"] = name
    text = score.data.get("explanation")
    return ScoredOutcome(
        scorer=name,
        annotator=_annotator(run, name, score) if edit is None else _editor(edit),
        passed=passed,
        score=number,
        text=text if isinstance(text, str) else "",
        time=None if edit is None else edit.object("provenance").timestamp("timestamp"),
        metadata=metadata,
    )


def _parse_value(
    name: str, score: Fields, value: Any, options: ScoreOptions
) -> tuple[bool | None, float]:
    """Return whether a value means passed, if it says so, and its number in [0, 1]."""
    if isinstance(value, bool):
        return value, float(value)
    if isinstance(value, str):
        word = value.strip()
        if word in options.passed or word in options.failed:
            return word in options.passed, float(word in options.passed)
        known = _WORDS.get(word if len(word) == 1 else word.lower())
        if known is not None:
            return _EXTREMES.get(known), known
    number = _number(score, value)
    scale = options.scale_of(name) or Scale.UNIT
    if not scale.low <= number <= scale.high:
        raise score.error(
            "value",
            f"{number:g} is not on the scale {scale.low:g} to {scale.high:g}",
            f"Name its scale with the option scale={name}=LOW-HIGH, or the scorers to read with "
            "scorers=NAME,…",
        )
    passed = _EXTREMES.get(number) if scale is Scale.UNIT else None
    return passed, scale.normalise(number)


def _number(score: Fields, value: Any) -> float:
    try:
        return Fields({"value": value}).number("value")
    except RecordError:
        raise score.error("value", f"expected a score, got {value!r}", _MEND) from None


def _last_edit(score: Fields) -> Fields | None:
    """Return the last edit of a value by a person, ``None`` if the scorer's value stands."""
    edits = score.objects("history") if "history" in score else []
    for edit in reversed(edits):
        if "provenance" in edit and edit.data.get("value", "UNCHANGED") != "UNCHANGED":
            return edit
    return None


def _editor(edit: Fields) -> Annotator:
    return Annotator.human(edit.object("provenance").text("author") or "unknown")


def _annotator(run: Fields, name: str, score: Fields) -> Annotator:
    scorer = _scorer(name)
    details = score.data.get("metadata")
    grading = details.get("grading") if isinstance(details, dict) else None
    if grading is None and not scorer.startswith("model_graded"):
        return Annotator.verifier(name)
    grader = _configured_grader(run, scorer) or _last_model(grading)
    return Annotator.model(name, revision=grader)


def _configured_grader(run: Fields, scorer: str) -> str | None:
    scorers = run.data.get("scorers")
    for item in scorers if isinstance(scorers, list) else []:
        options = item.get("options") if isinstance(item, dict) else None
        if isinstance(options, dict) and item.get("name") == scorer:
            model = options.get("model")
            return model if isinstance(model, str) and model else None
    return None


def _last_model(grading: Any) -> str | None:
    messages = grading if isinstance(grading, list) else []
    models = [item.get("model") for item in messages if isinstance(item, dict)]
    return next((name for name in reversed(models) if isinstance(name, str) and name), None)
