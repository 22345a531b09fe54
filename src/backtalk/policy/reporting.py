"""What an evaluation found, as a report."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter

from backtalk.errors import NotFound
from backtalk.evaluate.estimate import Estimate
from backtalk.evaluate.evaluation import Evaluation, headline
from backtalk.evaluate.exhibits import Exhibit
from backtalk.evaluate.plots import interval_plot
from backtalk.evaluate.report import (
    Block,
    Figure,
    Report,
    Side,
    Sides,
    Table,
    Text,
    estimate_table,
)
from backtalk.policy.diff import diff
from backtalk.policy.policy import Policy
from backtalk.policy.promotion import Gate
from backtalk.store import Store

_EXHIBITS = TypeAdapter(list[Exhibit])


def save_exhibits(store: Store, evaluation: Evaluation, examples: Sequence[Exhibit]) -> None:
    """Keep examples of answers with the evaluation that they are from."""
    body = _EXHIBITS.dump_json(list(examples)).decode()
    store.documents.put("exhibits", evaluation.id, body)


def read_exhibits(store: Store, evaluation: Evaluation) -> list[Exhibit]:
    """Return the examples that were kept with an evaluation; none where there were none."""
    try:
        return _EXHIBITS.validate_json(store.documents.get("exhibits", evaluation.id))
    except NotFound:
        return []


def evaluation_report(
    evaluation: Evaluation,
    candidate: Policy,
    baseline: Policy,
    *,
    gate: Gate | None = None,
    examples: Sequence[Exhibit] = (),
) -> Report:
    """Return a report on an evaluation.

    Parameters
    ----------
    evaluation
        What was found.
    candidate, baseline
        The policies that were compared.
    gate
        What a promotion asks for; the default gate, if left out.
    examples
        Answers to show side by side.
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
        Text("The gate refuses it. " + ". ".join(reasons) + ".", "verdict bad")
        if reasons
        else Text("It passes the gate.", "verdict good")
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
            Text(
                f"It was chosen among {evaluation.chosen_of} candidates on other prompts than "
                f"these. On the prompts that it was chosen on, the choice flatters its value by "
                f"about {evaluation.optimism:.3f}.",
                "note",
            )
        )
    if not evaluation.complete:
        blocks.append(Text("The budget ended before all prompts were answered.", "note"))
    return blocks


def choice_blocks(evaluation: Evaluation) -> list[Block]:
    """Return how much better the candidate chooses than simple rules do."""
    return [
        Text(
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
        *(Text(sentence + ".") for sentence in diff(baseline, candidate)),
        Table(("", ""), tuple(rows)),
    ]


def example_blocks(examples: Sequence[Exhibit], candidate: Policy, baseline: Policy) -> list[Block]:
    """Return answers side by side."""
    return [
        Sides(
            example.prompt,
            Side(candidate.label, example.candidate, f"{example.candidate_value:.2f}"),
            Side(baseline.label, example.baseline, f"{example.baseline_value:.2f}"),
        )
        for example in examples
    ]


def _number(estimate: Estimate | None, *, signed: bool = False) -> str:
    if estimate is None:
        return "the same everywhere"
    sign = "+" if signed else ""
    return f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"
