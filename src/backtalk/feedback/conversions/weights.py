"""What can be seen as weights on parts of a response, and as checked steps."""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import pairwise

from backtalk.feedback.conversions.provenance import provenance
from backtalk.feedback.conversions.registry import conversion
from backtalk.feedback.parts import Spans, Steps
from backtalk.feedback.views import Case, SpanWeight, SpanWeights, StepLabels
from backtalk.feedback.words import Edit


@conversion(SpanWeights, "spans")
def spans_weights(case: Case) -> list[SpanWeights]:
    """A marked span weighs its severity, negative for an error; 1 where none was given."""
    return [
        SpanWeights(
            completion=case.text(item.response),
            weights=tuple(
                SpanWeight(
                    start=span.start,
                    end=span.end,
                    value=(1 if span.good else -1)
                    * (1.0 if span.severity is None else span.severity),
                    label=span.label,
                )
                for span in item.spans
            ),
            **provenance(case, item),
        )
        for item in case.of(Spans)
    ]


@conversion(SpanWeights, "steps")
def steps_weights(case: Case) -> list[SpanWeights]:
    """A right step weighs 1, a wrong one -1, a neutral one 0."""
    value = {"right": 1.0, "wrong": -1.0, "neutral": 0.0}
    return [
        SpanWeights(
            completion=case.text(item.response),
            weights=tuple(
                SpanWeight(start=step.start, end=step.end, value=value[step.verdict])
                for step in item.steps
            ),
            **provenance(case, item),
        )
        for item in case.of(Steps)
    ]


@conversion(SpanWeights, "edit", condition="the edit took something away")
def edit_weights(case: Case) -> list[SpanWeights]:
    """What an edit took out or replaced in the original weighs -1."""
    results = []
    for item in case.of(Edit):
        original = case.text(item.response)
        weights = tuple(
            SpanWeight(start=start, end=end, value=-1.0, label="edited")
            for start, end in _removed(original, item.text)
        )
        if weights:
            results.append(
                SpanWeights(completion=original, weights=weights, **provenance(case, item))
            )
    return results


def _removed(original: str, edited: str) -> list[tuple[int, int]]:
    """Return the stretches of ``original``, in whole words, that are not in ``edited``."""
    words = _words(original)
    matcher = SequenceMatcher(None, words, _words(edited), autojunk=False)
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word))
    return [
        (starts[i], starts[j])
        for tag, i, j, _, _ in matcher.get_opcodes()
        if tag in {"delete", "replace"}
    ]


def _words(text: str) -> list[str]:
    """Split a text into words and the stretches between them; joined they are the text."""
    cuts = [0]
    cuts += [i for i in range(1, len(text)) if text[i].isalnum() != text[i - 1].isalnum()]
    return [text[i:j] for i, j in pairwise([*cuts, len(text)])]


@conversion(StepLabels, "steps")
def steps_stepwise(case: Case) -> list[StepLabels]:
    """Checked steps, with the text they are steps of."""
    return [
        StepLabels(completion=case.text(item.response), steps=item.steps, **provenance(case, item))
        for item in case.of(Steps)
    ]
