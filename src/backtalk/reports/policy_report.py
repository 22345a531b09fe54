"""Report of an evaluation: result, policy changes, training curves and example answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import TypeAdapter

from backtalk.errors import NotFound
from backtalk.evaluate.examples import Example
from backtalk.evaluate.result import Evaluation, headline
from backtalk.policy.diff import diff
from backtalk.policy.policy import Policy
from backtalk.policy.training_history import read_history
from backtalk.promotion.gate import Gate
from backtalk.reports.before_after import (
    cost_blocks,
    example_blocks,
    judge_block,
    rounded,
    split_examples,
    verdict_blocks,
)
from backtalk.reports.plots import curve_plot, interval_plot
from backtalk.reports.report import (
    Block,
    Figure,
    Paragraph,
    Report,
    Table,
    estimate_table,
)
from backtalk.stats.estimate import Estimate
from backtalk.store import Store

_EXAMPLES = TypeAdapter(list[Example])
_DOCUMENT = "examples"
_OLD_DOCUMENT = "exhibits"
"""Kind of the documents that examples were stored as before."""
_MAX_POINTS = 60
"""Maximum number of points of a training curve; each is a mean over several steps."""


def save_examples(store: Store, evaluation: Evaluation, examples: Sequence[Example]) -> None:
    """Save example answers of an evaluation.

    Parameters
    ----------
    store : Store
        Store of the evaluation.
    evaluation : Evaluation
        Evaluation that the answers are from.
    examples : sequence of Example
        Answers to save.
    """
    body = _EXAMPLES.dump_json(list(examples)).decode()
    store.documents.put(_DOCUMENT, evaluation.id, body)


def read_examples(store: Store, evaluation: Evaluation) -> list[Example]:
    """Return the saved examples of an evaluation; empty if there are none."""
    for kind in (_DOCUMENT, _OLD_DOCUMENT):
        try:
            return _EXAMPLES.validate_json(store.documents.get(kind, evaluation.id))
        except NotFound:
            continue
    return []


def read_training(store: Store, policy: Policy) -> list[dict[str, float]]:
    """Return the metrics of each training step of a policy; empty if it was not trained.

    Raises
    ------
    NotFound
        If the artifact with the metrics is not in the store.
    """
    return read_history(policy, store.artifacts)


def evaluation_report(
    evaluation: Evaluation,
    candidate: Policy,
    baseline: Policy,
    *,
    gate: Gate | None = None,
    examples: Sequence[Example] = (),
    training: Sequence[Mapping[str, float]] = (),
) -> Report:
    """Return a report on an evaluation.

    Parameters
    ----------
    evaluation : Evaluation
        Evaluation to report.
    candidate, baseline : Policy
        Policies that were compared.
    gate : Gate, optional
        Promotion gate. Default: the default thresholds.
    examples : sequence of Example, default ()
        Answers to show side by side.
    training : Sequence[Mapping[str, float]], default ()
        Metrics of each step of the candidate's training; see :func:`read_training`.
    """
    report = Report(
        f"{candidate.label} against {baseline.label}",
        headline(evaluation) + ".",
        numbers={
            "evaluation": evaluation.to_dict(),
            "candidate": {"id": candidate.id, **candidate.to_dict()},
            "baseline": {"id": baseline.id, **baseline.to_dict()},
        },
    )
    first, rest = split_examples(examples)
    report = report.with_section(
        "Before and after: the largest gain, the middle and the largest loss",
        *verdict_blocks(evaluation, baseline, gate),
        *example_blocks(first, candidate, baseline),
    )
    report = report.with_section("Figures", *result_blocks(evaluation))
    cost = cost_blocks(evaluation)
    if cost:
        report = report.with_section("Cost of an answer", *cost)
    if evaluation.choices:
        report = report.with_section(
            "Choice among samples, compared with simple rules", *choice_blocks(evaluation)
        )
    report = report.with_section("What changed", *change_blocks(candidate, baseline))
    if training:
        report = report.with_section("Training", *training_blocks(training))
    if rest:
        report = report.with_section("More answers", *example_blocks(rest, candidate, baseline))
    return report


def result_blocks(evaluation: Evaluation) -> list[Block]:
    """Return the win rate with its interval, the measures, and the judge."""
    rates = {
        f"win rate by {evaluation.judge}": evaluation.win_rate,
        "win rate if the longer answer always wins": evaluation.longer_wins,
    }
    measures = [evaluation.value, *evaluation.guards]
    blocks: list[Block] = [
        judge_block(evaluation),
        Figure(
            interval_plot(rates, reference=0.5),
            "Win rate of the candidate. The line marks one half, where neither policy is better.",
        ),
        estimate_table(rates.items()),
        Table(
            ("mean value", "candidate", "baseline", "difference"),
            tuple(
                (
                    measure.name,
                    _number(measure.candidate),
                    _number(measure.baseline),
                    _number(measure.difference, signed=True),
                )
                for measure in measures
            ),
            numbers=(1, 2, 3),
        ),
    ]
    if evaluation.chosen_of > 1:
        blocks.append(
            Paragraph(
                f"It was chosen from {evaluation.chosen_of} candidates, on other prompts than "
                f"these. On the prompts that it was chosen on, its value is biased upwards by "
                f"about {evaluation.optimism:.3f}.",
                "note",
            )
        )
    if not evaluation.complete:
        blocks.append(Paragraph("The budget ended before all prompts were answered.", "note"))
    return blocks


def choice_blocks(evaluation: Evaluation) -> list[Block]:
    """Return the comparison of the candidate's choices with those of simple rules."""
    return [
        Paragraph(
            "The candidate generates several samples and chooses one. This compares the value of "
            "its choice with that of a simple rule's choice from the same samples."
        ),
        Figure(
            interval_plot(
                {choice.rule: choice.difference for choice in evaluation.choices},
                reference=0.0,
                percent=False,
            ),
            f"Value of the candidate's choice minus that of the rule's, by {evaluation.judge}.",
        ),
        Table(
            ("rule", "value of its choice", "difference"),
            (
                *(
                    (choice.rule, _number(choice.value), _number(choice.difference, signed=True))
                    for choice in evaluation.choices
                ),
                ("best sample", _number(evaluation.ceiling), ""),
            ),
            numbers=(1, 2),
        ),
    ]


def change_blocks(candidate: Policy, baseline: Policy) -> list[Block]:
    """Return the differences between the policies, and the candidate's lineage."""
    lineage = candidate.lineage
    rows = [("method", lineage.method)]
    rows += [(f"option {name}", rounded(value)) for name, value in lineage.options.items()]
    if lineage.seed is not None:
        rows.append(("seed", str(lineage.seed)))
    if lineage.snapshot is not None:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in lineage.snapshot.counts.items())
        rows.append((f"learned from the {lineage.snapshot.split} prompts", counts))
    rows += [(name, rounded(value)) for name, value in lineage.notes.items() if name != "history"]
    rows += [("candidate", rounded(candidate.id)), ("baseline", rounded(baseline.id))]
    return [
        *(Paragraph(rounded(sentence) + ".") for sentence in diff(baseline, candidate)),
        Table(("", ""), tuple(rows)),
    ]


def training_blocks(training: Sequence[Mapping[str, float]]) -> list[Block]:
    """Return the training curves."""
    blocks: list[Block] = []
    for metric, caption in _CURVES.items():
        names = (metric, *_OLD_METRICS.get(metric, ()))
        lines = {
            key: _curve([step.get(key) for step in training])
            for key in training[0]
            if any(key == name or key.endswith(f"/{name}") for name in names)
        }
        if lines:
            plot = curve_plot(lines, x_label="step", y_label=metric)
            blocks.append(Figure(plot, f"{caption}, by training step."))
    return blocks


_CURVES = {
    "loss": "Mean loss",
    "rewards/accuracies": "Share of pairs whose chosen answer has the higher implicit reward",
    "rewards/margins": "Mean difference of the implicit rewards, in nats times beta",
    "kl": "KL divergence of the policy from the reference on the training answers, in nats",
    "grad_share": "Share of the gradient from each kind of feedback",
}
"""Captions of the metrics to plot."""
_OLD_METRICS = {
    "rewards/accuracies": ("accuracy",),
    "rewards/margins": ("reward margin",),
    "grad_share": ("gradient share",),
}
"""Other names of metrics, as in the histories of earlier versions."""


def _curve(values: Sequence[float | None]) -> tuple[list[float], list[float]]:
    """Return the last step of each group of consecutive steps, and the mean over the group."""
    known = [(step, value) for step, value in enumerate(values, 1) if value is not None]
    groups = np.array_split(np.array(known, dtype=float), min(len(known), _MAX_POINTS))
    return (
        [float(part[-1, 0]) for part in groups],
        [float(part[:, 1].mean()) for part in groups],
    )


def _number(estimate: Estimate | None, *, signed: bool = False) -> str:
    if estimate is None:
        return "constant"
    sign = "+" if signed else ""
    return f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"
