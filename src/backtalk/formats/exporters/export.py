"""Export of cases to a file, with the reasons for what could not be written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from backtalk.errors import UnknownName
from backtalk.feedback.aspects import on_aspect, other_aspects
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import Case, prompt_key
from backtalk.feedback.conversions import conversions_to
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.split import split_for
from backtalk.formats.exporters.files import open_writer
from backtalk.formats.exporters.format import Dropped, ExportFormat, get_export_format
from backtalk.formats.exporters.reasoning import REASONING_LEFT_OUT, move_reasoning

ExportSplit = Literal["train", "held-out", "all"]
"""Prompts that are written."""


@dataclass(frozen=True)
class ExportResult:
    """Counts of what was written and what was not.

    A case that makes no row is left out. A case that makes rows may still have feedback that the
    layout cannot represent, such as a tie among preferences; that feedback is dropped.
    """

    rows: int
    """Number of rows written."""
    cases: int
    """Number of cases that made at least one row."""
    left_out: int
    """Number of cases that made no row."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Number of cases left out, by reason, the most frequent first."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Number of feedback items dropped, also from cases left out, by reason."""
    aspect: str = OVERALL
    """Aspect of the judgements that were written."""
    other_aspects: dict[str, int] = field(default_factory=dict)
    """Number of judgements on other aspects, which were left out, by aspect."""
    split: ExportSplit = "all"
    """Split of the prompts that were written."""
    other_split: int = 0
    """Number of cases with prompts of the other split, which are not counted in ``left_out``."""


def default_split(format: str) -> ExportSplit:  # noqa: A002 - the usual name of the option
    """Return the split that is safe to export: for training layouts, all but held-out prompts.

    A model that is trained on held-out prompts elsewhere cannot be evaluated on them here.

    Raises
    ------
    UnknownName
        If there is no such format.
    """
    return "all" if get_export_format(format).view is None else "train"


def export(
    cases: Iterable[Case],
    path: Path | str,
    format: str,  # noqa: A002 - the usual name of the option
    *,
    aspect: str = OVERALL,
    split: ExportSplit = "all",
    system_feedback: Iterable[AnyFeedback] = (),
    reasoning: bool = False,
) -> ExportResult:
    """Write feedback to a file, in constant memory.

    Parameters
    ----------
    cases : iterable of Case
        Cases to write.
    path : Path or str
        A file whose name ends in ``.jsonl``, ``.jsonl.gz``, ``.jsonl.zst`` or ``.parquet``, or
        ``"-"`` for JSON lines on standard output. An existing file is replaced.
    format : str
        Name of the export format, one of ``EXPORTS``.
    aspect : str, default "overall"
        Aspect of the judgements to write; those of others are left out and counted. Backtalk's own
        layout holds all aspects, whatever is asked for.
    split : {"train", "held-out", "all"}, default "all"
        Prompts to write. One fifth of all prompts is held out from learning, for evaluation.
    system_feedback : iterable of feedback, default ()
        Feedback that is not about an interaction; only Backtalk's own layout can hold it.
    reasoning : bool, default False
        If true, write reasoning of the assistant as ``reasoning_content`` of its messages, for
        trainers whose chat template reads it. By default it is left out and counted. Backtalk's own
        layout holds it, whatever is asked for.

    Raises
    ------
    UnknownName
        If there is no such format, or there are judgements but none on the aspect that is asked
        for by name.
    BacktalkError
        If the file name has another ending, or the folder does not exist.
    """
    layout = get_export_format(format)
    rows = written_cases = 0
    reasons: Counter[str] = Counter()
    dropped: Dropped = Counter()
    aspects = _Aspects(layout, aspect)
    other_split = 0
    with open_writer(path, layout) as file:
        for whole in cases:
            if split not in {"all", split_for(prompt_key(whole.interaction.prompt))}:
                other_split += 1
                continue
            case = aspects.select(whole)
            dropped_here: Dropped = Counter()
            count = 0
            for row in layout.rows(case, dropped_here):
                if layout.view is not None:
                    left_out = move_reasoning(row, include=reasoning and layout.holds_reasoning)
                    if left_out:
                        dropped_here[REASONING_LEFT_OUT] += left_out
                problem = file.write(row)
                if problem is None:
                    count += 1
                else:
                    dropped_here[problem] += 1
            rows += count
            if count:
                written_cases += 1
            else:
                reason = aspects.reason or "; ".join(dropped_here)
                reasons[reason or _reason_left_out(case, layout)] += 1
            dropped.update(dropped_here)
        for item in system_feedback:
            if layout.view is None:
                file.write({"feedback": [item]})
                rows += 1
            else:
                dropped["feedback that is not about an interaction"] += 1
        aspects.check()
    return ExportResult(
        rows,
        written_cases,
        reasons.total(),
        dict(reasons.most_common()),
        dict(dropped.most_common()),
        aspect,
        dict(aspects.others.most_common()),
        split,
        other_split,
    )


class _Aspects:
    """Selection of the judgements of one aspect, with the counts of the others."""

    def __init__(self, layout: ExportFormat, aspect: str) -> None:
        self.aspect = aspect
        self.kinds = (
            frozenset()
            if layout.view is None
            else {conversion.source for conversion in conversions_to(layout.view)}
        )
        self.others: Counter[str] = Counter()
        self.reason = ""
        """Reason why the last case has no feedback left; empty if it has."""
        self._seen = False

    def select(self, case: Case) -> Case:
        if not self.kinds:
            return case
        others = other_aspects(case.feedback, self.aspect, self.kinds)
        self.others += others
        selected = on_aspect(case, self.aspect)
        self._seen = self._seen or bool(selected.feedback)
        self.reason = "" if selected.feedback else _reason_other_aspects(others)
        return selected

    def check(self) -> None:
        """Raise ``UnknownName`` if there are judgements, but none on the aspect asked for."""
        if self.aspect != OVERALL and self.kinds and self.others and not self._seen:
            raise UnknownName.among("judgement on the aspect", self.aspect, sorted(self.others))


def _reason_other_aspects(others: Counter[str]) -> str:
    return f"only judgements on {', '.join(sorted(others))}" if others else ""


def _reason_left_out(case: Case, layout: ExportFormat) -> str:
    kinds = sorted({item.kind for item in case.feedback})
    if not kinds:
        return "no feedback"
    conditions = (
        {conversion.source: conversion.condition for conversion in conversions_to(layout.view)}
        if layout.view
        else {}
    )
    if not any(kind in conditions for kind in kinds):
        return f"no conversion from {', '.join(kinds)} to {layout.name}"
    unmet = (
        f"{kind} does not meet the condition: {conditions[kind]}"
        for kind in kinds
        if conditions.get(kind)
    )
    return "; ".join(unmet)
