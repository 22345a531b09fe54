"""Conversions to weights of text ranges, and to step labels."""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import pairwise

from backtalk.feedback.case import Case
from backtalk.feedback.conversions.provenance import completion, provenance
from backtalk.feedback.conversions.registry import conversion
from backtalk.feedback.kinds import Edit, Spans, Steps
from backtalk.feedback.views import SpanWeight, SpanWeights, StepLabels


@conversion(SpanWeights, "spans")
def spans_weights(case: Case) -> list[SpanWeights]:
    """Convert spans: the weight is the severity, 1 by default, and negative for an error."""
    return [
        SpanWeights(
            **completion(case, item.response),
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
    """Convert steps: the weight is 1 for right, -1 for wrong and 0 for neutral."""
    value = {"right": 1.0, "wrong": -1.0, "neutral": 0.0}
    return [
        SpanWeights(
            **completion(case, item.response),
            weights=tuple(
                SpanWeight(start=step.start, end=step.end, value=value[step.verdict])
                for step in item.steps
            ),
            **provenance(case, item),
        )
        for item in case.of(Steps)
    ]


@conversion(SpanWeights, "edit", condition="the edit removed something")
def edit_weights(case: Case) -> list[SpanWeights]:
    """Convert edits: text of the original that was removed or replaced has weight -1."""
    views = []
    for item in case.of(Edit):
        original = case.text(item.response)
        weights = tuple(
            SpanWeight(start=start, end=end, value=-1.0, label="edited")
            for start, end in _removed_ranges(original, item.text)
        )
        if weights:
            views.append(
                SpanWeights(
                    **completion(case, item.response), weights=weights, **provenance(case, item)
                )
            )
    return views


def _removed_ranges(original: str, edited: str) -> list[tuple[int, int]]:
    """Return the ranges of ``original``, in whole words, that are not in ``edited``."""
    words = _split_words(original)
    matcher = SequenceMatcher(None, words, _split_words(edited), autojunk=False)
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word))
    return [
        (starts[i], starts[j])
        for tag, i, j, _, _ in matcher.get_opcodes()
        if tag in {"delete", "replace"}
    ]


def _split_words(text: str) -> list[str]:
    """Split a text into words and the text between them; joined they are the text."""
    cuts = [0]
    cuts += [i for i in range(1, len(text)) if text[i].isalnum() != text[i - 1].isalnum()]
    return [text[i:j] for i, j in pairwise([*cuts, len(text)])]


@conversion(StepLabels, "steps")
def steps_step_labels(case: Case) -> list[StepLabels]:
    """Convert checked steps, with the text of the response."""
    return [
        StepLabels(**completion(case, item.response), steps=item.steps, **provenance(case, item))
        for item in case.of(Steps)
    ]
