"""Views of policies: recipe, changes, lineage, evaluations, and the verdict of the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backtalk.evaluate.judges import PolicyOrigin
from backtalk.evaluate.result import Evaluation, Measure, headline
from backtalk.policy import Policy, diff
from backtalk.promotion import Gate, PromotionRecord
from backtalk.stats import Estimate


@dataclass(frozen=True)
class IntervalView:
    """Interval with the ends of its scale."""

    label: str
    estimate: Estimate
    minimum: float
    maximum: float
    reference: float
    """Value of no difference: one half for a win rate, 0 for a difference."""
    signed: bool = False


@dataclass(frozen=True)
class EvaluationView:
    """Evaluation with the verdict of the gate."""

    evaluation: Evaluation
    headline: str
    against: str
    """Label of the baseline."""
    intervals: Sequence[IntervalView]
    reasons: Sequence[str]
    """Reasons of the gate to refuse; empty if it does not."""
    fitted_on: str = ""
    """Feedback that the judge was fitted on; empty if it is no learned reward or is unknown."""


def evaluation_view(
    evaluation: Evaluation,
    labels: Mapping[str, str],
    *,
    served: str | None,
    origin: PolicyOrigin | None = None,
) -> EvaluationView:
    """Return the view of an evaluation, with the gate's verdict on promoting its candidate now.

    Parameters
    ----------
    evaluation : Evaluation
        Evaluation.
    labels : Mapping[str, str]
        Labels of policies by id.
    served : str or None
        Id of the active policy.
    origin : PolicyOrigin, optional
        Feedback and rewards of the candidate. Default: those that the evaluation recorded.
    """
    judge = evaluation.judge_info
    snapshot = None if judge is None else judge.fitted_on
    return EvaluationView(
        evaluation,
        headline(evaluation),
        labels.get(evaluation.baseline, evaluation.baseline[:8]),
        [*_rates(evaluation), *_differences([evaluation.value, *evaluation.guards])],
        Gate().reasons(evaluation, served=served, origin=origin),
        "" if snapshot is None else snapshot.label,
    )


def _rates(evaluation: Evaluation) -> list[IntervalView]:
    rates = {
        f"Win rate by {evaluation.judge}": evaluation.win_rate,
        "Win rate of the longer answer": evaluation.longer_wins,
    }
    return [IntervalView(label, estimate, 0.0, 1.0, 0.5) for label, estimate in rates.items()]


def _differences(measures: Sequence[Measure]) -> list[IntervalView]:
    views = []
    for measure in measures:
        if measure.difference is None:
            continue
        # Zero is in the middle, whatever the scale of the measure.
        reach = 1.2 * max(abs(measure.difference.low), abs(measure.difference.high)) or 1.0
        label = f"Difference in {measure.name}"
        views.append(IntervalView(label, measure.difference, -reach, reach, 0.0, signed=True))
    return views


def evidence_for(
    policy: Policy, evaluations: Sequence[Evaluation], served: str | None
) -> Evaluation | None:
    """Return the latest evaluation of a policy, preferably against the active policy.

    Parameters
    ----------
    policy : Policy
        Candidate.
    evaluations : sequence of Evaluation
        Evaluations of the project, oldest first.
    served : str or None
        Id of the active policy.
    """
    all_ = [item for item in evaluations if item.candidate == policy.id]
    preferred = [item for item in all_ if served is None or item.baseline == served] or all_
    return preferred[-1] if preferred else None


def changes(before: Policy | None, after: Policy) -> list[str] | None:
    """Return the differences between two policies, ``None`` if there is only one."""
    return None if before is None or before.id == after.id else diff(before, after)


def recipe(policy: Policy) -> list[tuple[str, str]]:
    """Return the fields of a recipe without the system prompt, as name and value."""
    return [
        row
        for part, fields in (
            ("model", policy.model.to_dict()),
            ("decoder", policy.decoder.to_dict()),
        )
        for row in [(f"kind of {part}", str(fields["kind"])), *_fields(part, fields)]
    ]


def origin(policy: Policy) -> list[tuple[str, str]]:
    """Return the fields of the lineage of a policy, as name and value."""
    lineage = policy.lineage
    rows = [("method", lineage.method)]
    rows += [(f"option {name}", str(value)) for name, value in lineage.options.items()]
    if lineage.seed is not None:
        rows.append(("seed", str(lineage.seed)))
    if lineage.snapshot is not None:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in lineage.snapshot.counts.items())
        rows.append((f"learned from the {lineage.snapshot.split} prompts", counts))
    rows += [("optimises", reward.name) for reward in lineage.rewards or ()]
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


def history_rows(
    history: Sequence[PromotionRecord], labels: Mapping[str, str]
) -> list[tuple[PromotionRecord, str, str]]:
    """Return the promotions, latest first, with the labels of the new and the old policy."""
    return [
        (
            entry,
            label_or_nothing(entry.promotion.policy, labels),
            label_or_nothing(entry.promotion.previous, labels),
        )
        for entry in reversed(history)
    ]


def label_or_nothing(id_: str | None, labels: Mapping[str, str]) -> str:
    """Return the label of a policy, the beginning of its id without one, "nothing" for none."""
    return "nothing" if id_ is None else labels.get(id_, id_[:8])
