"""What an evaluation found, as a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import TypeAdapter

from backtalk.errors import NotFound
from backtalk.evaluate.examples import Example
from backtalk.evaluate.result import Evaluation, headline
from backtalk.policy.diff import diff
from backtalk.policy.policy import Policy
from backtalk.promotion.gate import Gate
from backtalk.reports.plots import curve_plot, interval_plot
from backtalk.reports.report import Block, Figure, Report, LabelledText, SideBySide, Table, Paragraph, estimate_table
from backtalk.stats.estimate import Estimate
from backtalk.store import Store

_EXHIBITS = TypeAdapter(list[Example])
_TRAINING = TypeAdapter(list[dict[str, float]])
_POINTS = 60
"""The most points of a curve of training: each is a mean over a stretch of steps."""


def save_examples(store: Store, evaluation: Evaluation, examples: Sequence[Example]) -> None:
    """Keep examples of answers with the evaluation that they are from."""
    body = _EXHIBITS.dump_json(list(examples)).decode()
    store.documents.put("exhibits", evaluation.id, body)


def read_examples(store: Store, evaluation: Evaluation) -> list[Example]:
    """Return the examples that were kept with an evaluation; none where there were none."""
    try:
        return _EXHIBITS.validate_json(store.documents.get("exhibits", evaluation.id))
    except NotFound:
        return []


def read_training(store: Store, policy: Policy) -> list[dict[str, float]]:
    """Return what each step measured in which a policy's weights were trained; none if none were.

    Raises
    ------
    NotFound
        If it was kept as an artifact that is not in the store.
    """
    kept = policy.lineage.notes.get("history")
    if not isinstance(kept, str):
        return []
    return _TRAINING.validate_json(store.artifacts.read(kept)["training.json"])


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
        What was found.
    candidate, baseline : Policy
        The policies that were compared.
    gate : Gate, optional
        What a promotion asks for; the default gate, if left out.
    examples : sequence of Example, default ()
        Answers to show side by side.
    training : Sequence[Mapping[str, float]], default ()
        What each step of the candidate's training measured; see :func:`read_training`.
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
    report = report.with_section("Result", *result_blocks(evaluation, baseline, gate))
    if evaluation.choices:
        report = report.with_section(
            "Its choice among samples, beside simple rules", *choice_blocks(evaluation)
        )
    report = report.with_section("What changed", *change_blocks(candidate, baseline))
    if training:
        report = report.with_section("How it was trained", *training_blocks(training))
    if examples:
        report = report.with_section(
            "Answers, from the greatest gain to the greatest loss",
            *example_blocks(examples, candidate, baseline),
        )
    return report


def result_blocks(
    evaluation: Evaluation, baseline: Policy, gate: Gate | None = None
) -> list[Block]:
    """Return the win rate with its interval, the measures, and what the gate says."""
    reasons = (gate or Gate()).reasons(evaluation, served=baseline.id)
    verdict = (
        Paragraph("The gate refuses it. " + ". ".join(reasons) + ".", "verdict bad")
        if reasons
        else Paragraph("It passes the gate.", "verdict good")
    )
    rates = {
        f"wins by {evaluation.judge}": evaluation.win_rate,
        "wins if the longer answer wins": evaluation.longer_wins,
    }
    measures = [evaluation.value, *evaluation.guards]
    blocks: list[Block] = [
        verdict,
        Figure(
            interval_plot(rates, reference=0.5),
            "How often the candidate wins. At one half, marked by the line, neither is better.",
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
                f"It was chosen among {evaluation.chosen_of} candidates on other prompts than "
                f"these. On the prompts that it was chosen on, the choice flatters its value by "
                f"about {evaluation.optimism:.3f}.",
                "note",
            )
        )
    if not evaluation.complete:
        blocks.append(Paragraph("The budget ended before all prompts were answered.", "note"))
    return blocks


def choice_blocks(evaluation: Evaluation) -> list[Block]:
    """Return how much better the candidate chooses than simple rules do."""
    return [
        Paragraph(
            "The candidate draws several samples and chooses one. This is by how much its choice "
            "beats what a simple rule would have taken from the same samples."
        ),
        Figure(
            interval_plot(
                {choice.rule: choice.difference for choice in evaluation.choices},
                reference=0.0,
                percent=False,
            ),
            f"The value of its choice minus that of the rule's, by {evaluation.judge}.",
        ),
        Table(
            ("rule", "value of its choice", "the candidate's lead"),
            (
                *(
                    (choice.rule, _number(choice.value), _number(choice.difference, signed=True))
                    for choice in evaluation.choices
                ),
                ("the best sample", _number(evaluation.ceiling), ""),
            ),
            numbers=(1, 2),
        ),
    ]


def change_blocks(candidate: Policy, baseline: Policy) -> list[Block]:
    """Return what the candidate does differently, and where it comes from."""
    lineage = candidate.lineage
    rows = [("method", lineage.method)]
    rows += [(f"option {name}", str(value)) for name, value in lineage.options.items()]
    if lineage.seed is not None:
        rows.append(("seed", str(lineage.seed)))
    if lineage.snapshot is not None:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in lineage.snapshot.counts.items())
        rows.append((f"learned from the {lineage.snapshot.split} prompts", counts))
    rows += [(name, str(value)) for name, value in lineage.notes.items()]
    rows += [("candidate", candidate.id), ("baseline", baseline.id)]
    return [
        *(Paragraph(sentence + ".") for sentence in diff(baseline, candidate)),
        Table(("", ""), tuple(rows)),
    ]


def training_blocks(training: Sequence[Mapping[str, float]]) -> list[Block]:
    """Return the curves of a training."""
    blocks: list[Block] = []
    for key, what in _CURVES.items():
        lines = {
            name: _curve([step.get(name) for step in training])
            for name in training[0]
            if name == key or name.endswith(f"/{key}")
        }
        if lines:
            plot = curve_plot(lines, x_label="steps", y_label=key)
            blocks.append(Figure(plot, f"{what}, by step of the training."))
    return blocks


_CURVES = {
    "loss": "The mean loss",
    "accuracy": "How often the chosen answer has the higher implicit reward",
    "reward margin": "By how much, in nats times beta",
    "kl": "How far the policy is from the reference on the answers it learns from, in nats",
    "gradient share": "How much of the gradient comes from each kind of feedback",
}


def _curve(values: Sequence[float | None]) -> tuple[list[float], list[float]]:
    """Return the means over stretches of steps, with the last step of each."""
    known = [(step, value) for step, value in enumerate(values, 1) if value is not None]
    stretches = np.array_split(np.array(known, dtype=float), min(len(known), _POINTS))
    return (
        [float(part[-1, 0]) for part in stretches],
        [float(part[:, 1].mean()) for part in stretches],
    )


def example_blocks(examples: Sequence[Example], candidate: Policy, baseline: Policy) -> list[Block]:
    """Return answers side by side."""
    return [
        SideBySide(
            example.prompt,
            LabelledText(candidate.label, example.candidate, f"{example.candidate_value:.2f}"),
            LabelledText(baseline.label, example.baseline, f"{example.baseline_value:.2f}"),
        )
        for example in examples
    ]


def _number(estimate: Estimate | None, *, signed: bool = False) -> str:
    if estimate is None:
        return "the same everywhere"
    sign = "+" if signed else ""
    return f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"
