"""Writing cases to a file, and saying what could not be written and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from backtalk.feedback.conversions import conversions_to
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.views import Case
from backtalk.formats.exporters.files import writer
from backtalk.formats.exporters.format import Dropped, Export, named


@dataclass(frozen=True)
class Exported:
    """What was written, and what was not.

    A case is left out where it makes no row at all. A case that makes rows may still hold
    something that the layout has no place for, a tie among preferences: that is dropped.
    """

    rows: int
    cases: int
    """How many cases made at least one row."""
    left_out: int
    """How many cases made none."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why cases were left out: for each reason how many, the most frequent first."""
    dropped: dict[str, int] = field(default_factory=dict)
    """What was dropped, of cases left out too: for each reason how often."""


def export(
    cases: Iterable[Case],
    to: Path | str,
    format: str,  # noqa: A002 - as it is called everywhere
    *,
    loose: Iterable[AnyFeedback] = (),
) -> Exported:
    """Write feedback to a file, at flat memory.

    Parameters
    ----------
    cases : Iterable[Case]
        What to write.
    to : Path | str
        A file whose name ends in ``.jsonl``, ``.jsonl.gz``, ``.jsonl.zst`` or ``.parquet``, or
        ``"-"`` for JSON lines to standard output. It is replaced if it is there.
    format : str
        The name of a layout, as ``EXPORTS`` lists them.
    loose : Iterable[AnyFeedback], default ()
        Feedback that is about no interaction; only Backtalk's own layout has a place for it.

    Raises
    ------
    UnknownName
        If there is no such layout.
    BacktalkError
        If the file's name has another ending.
    """
    layout = named(format)
    rows = written = 0
    reasons: Counter[str] = Counter()
    dropped: Dropped = Counter()
    with writer(to, layout) as file:
        for case in cases:
            unfit: Dropped = Counter()
            count = 0
            for row in layout.rows(case, unfit):
                refused = file.write(row)
                if refused is None:
                    count += 1
                else:
                    unfit[refused] += 1
            rows += count
            if count:
                written += 1
            else:
                reasons["; ".join(unfit) or _why(case, layout)] += 1
            dropped.update(unfit)
        for item in loose:
            if layout.view is None:
                file.write({"feedback": [item]})
                rows += 1
            else:
                dropped["feedback that is about no interaction"] += 1
    return Exported(
        rows, written, reasons.total(), dict(reasons.most_common()), dict(dropped.most_common())
    )


def _why(case: Case, layout: Export) -> str:
    """Return why the feedback of a case cannot be seen as what the layout holds."""
    kinds = sorted({item.kind for item in case.feedback})
    if not kinds:
        return "no feedback"
    needed = (
        {way.source: way.condition for way in conversions_to(layout.view)} if layout.view else {}
    )
    if not any(kind in needed for kind in kinds):
        return f"no way from {', '.join(kinds)} to {layout.name}"
    unmet = (f"{kind} does not fulfil: {needed[kind]}" for kind in kinds if needed.get(kind))
    return "; ".join(unmet)
