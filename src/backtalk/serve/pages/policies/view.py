"""A policy as its page shows it: what it changes, what was found about it, what the gate says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backtalk.evaluate.result import Evaluation, Measure, headline
from backtalk.policy import Policy, diff
from backtalk.promotion import Gate, PromotionRecord
from backtalk.stats import Estimate


@dataclass(frozen=True)
class Drawn:
    """An interval with the ends of the scale that it is drawn on."""

    label: str
    estimate: Estimate
    least: float
    most: float
    at: float
    """Where nothing is better than anything: one half for a win rate, 0 for a difference."""
    signed: bool = False


@dataclass(frozen=True)
class EvaluationView:
    """An evaluation and what the gate says to it."""

    evaluation: Evaluation
    headline: str
    against: str
    """What to call the baseline."""
    drawn: Sequence[Drawn]
    reasons: Sequence[str]
    """Why the gate refuses, empty where it does not."""


def evaluation_view(
    evaluation: Evaluation, labels: Mapping[str, str], *, served: str | None
) -> EvaluationView:
    """Return an evaluation with the gate's verdict on promoting its candidate now.

    Parameters
    ----------
    evaluation : Evaluation
        The evidence.
    labels : Mapping[str, str]
        What policies are called, by id.
    served : str or None
        The id of what is served now.
    """
    return EvaluationView(
        evaluation,
        headline(evaluation),
        labels.get(evaluation.baseline, evaluation.baseline[:8]),
        [*_rates(evaluation), *_differences([evaluation.value, *evaluation.guards])],
        Gate().reasons(evaluation, served=served),
    )


def _rates(evaluation: Evaluation) -> list[Drawn]:
    rates = {
        f"Wins by {evaluation.judge}": evaluation.win_rate,
        "Wins if the longer answer wins": evaluation.longer_wins,
    }
    return [Drawn(label, estimate, 0.0, 1.0, 0.5) for label, estimate in rates.items()]


def _differences(measures: Sequence[Measure]) -> list[Drawn]:
    results = []
    for measure in measures:
        if measure.difference is None:
            continue
        # Zero stands in the middle, whatever the measure's own scale.
        reach = 1.2 * max(abs(measure.difference.low), abs(measure.difference.high)) or 1.0
        label = f"Difference in {measure.name}"
        results.append(Drawn(label, measure.difference, -reach, reach, 0.0, signed=True))
    return results


def evidence_for(
    policy: Policy, evaluations: Sequence[Evaluation], served: str | None
) -> Evaluation | None:
    """Return the latest evaluation of a policy, one against what is served before any other."""
    own = [item for item in evaluations if item.candidate == policy.id]
    fitting = [item for item in own if served is None or item.baseline == served] or own
    return fitting[-1] if fitting else None


def changes(before: Policy | None, after: Policy) -> list[str] | None:
    """Return what one policy does differently from another, ``None`` where there is no other."""
    return None if before is None or before.id == after.id else diff(before, after)


def recipe(policy: Policy) -> list[tuple[str, str]]:
    """Return the parts of a recipe, a name and a value each, but for the system prompt."""
    return [
        row
        for part, fields in (
            ("model", policy.model.to_dict()),
            ("decoder", policy.decoder.to_dict()),
        )
        for row in [(f"kind of {part}", str(fields["kind"])), *_fields(part, fields)]
    ]


def origin(policy: Policy) -> list[tuple[str, str]]:
    """Return how a policy came about, a name and a value each."""
    lineage = policy.lineage
    rows = [("method", lineage.method)]
    rows += [(f"option {name}", str(value)) for name, value in lineage.options.items()]
    if lineage.seed is not None:
        rows.append(("seed", str(lineage.seed)))
    if lineage.snapshot is not None:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in lineage.snapshot.counts.items())
        rows.append((f"learned from the {lineage.snapshot.split} prompts", counts))
    return rows + [(name, str(value)) for name, value in lineage.notes.items()]


def _fields(part: str, fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in fields.items():
        if name == "kind":
            continue
        label = part if name == part else f"{part} {name.replace('_', ' ')}"
        if isinstance(value, dict):
            rows += _fields(label, value)
        else:
            rows.append((label, str(value)))
    return rows


def past(
    history: Sequence[PromotionRecord], labels: Mapping[str, str]
) -> list[tuple[PromotionRecord, str, str]]:
    """Return what was served, the latest first, with the names of what came and of what went."""

    def name(id_: str | None) -> str:
        return "nothing" if id_ is None else labels.get(id_, id_[:8])

    return [
        (entry, name(entry.promotion.policy), name(entry.promotion.previous))
        for entry in reversed(history)
    ]
