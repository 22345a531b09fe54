"""Blocks of a report for the first look: verdict, answers before and after, judge and cost."""

from __future__ import annotations

import re
from collections.abc import Sequence

from backtalk.evaluate.cost import AnswerCost
from backtalk.evaluate.examples import Example
from backtalk.evaluate.judges.check import judge_lines, judge_phrase
from backtalk.evaluate.result import Evaluation
from backtalk.policy.policy import Policy
from backtalk.promotion.gate import Gate
from backtalk.reports.report import Block, LabelledText, Paragraph, SideBySide, Table

_HASH = re.compile(r"\b(?=[0-9a-f]*\d)([0-9a-f]{8})[0-9a-f]{8,}\b")
_LONG_NUMBER = re.compile(r"-?\b\d+\.\d{4,}(?:e[-+]?\d+)?\b")


def rounded(value: object) -> str:
    """Return a value as text with the first eight digits of hashes, and four digits of numbers.

    >>> rounded(0.8123456789012345), rounded("0a" * 32), rounded({"beta": 0.1})
    ('0.8123', '0a0a0a0a', "{'beta': 0.1}")
    """
    text = _HASH.sub(r"\1", str(value))
    return _LONG_NUMBER.sub(lambda match: f"{float(match[0]):.4g}", text)


def verdict_blocks(
    evaluation: Evaluation, baseline: Policy, gate: Gate | None = None
) -> list[Block]:
    """Return the verdict of the gate.

    Parameters
    ----------
    evaluation : Evaluation
        Evaluation to report.
    baseline : Policy
        Policy that is served.
    gate : Gate, optional
        Promotion gate. Default: the default thresholds.
    """
    reasons = (gate or Gate()).reasons(evaluation, served=baseline.id)
    if not reasons:
        return [Paragraph("It passes the gate.", "verdict good")]
    text = rounded("The gate refuses it. " + ". ".join(reasons) + ".")
    return [Paragraph(text, "verdict bad")]


def judge_block(evaluation: Evaluation) -> Paragraph:
    """Return the judge, with its agreement with people and its biases if they are known."""
    lines = " ".join(judge_lines(evaluation))
    return Paragraph(rounded(f"Judge: {judge_phrase(evaluation)}. {lines}".strip()), "note")


def split_examples(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Return the largest gain, the middle and the largest loss, and the examples between them.

    >>> split_examples([])
    ([], [])
    """
    last = len(examples) - 1
    first = {0, last // 2, last}
    return (
        [example for index, example in enumerate(examples) if index in first],
        [example for index, example in enumerate(examples) if index not in first],
    )


def example_blocks(examples: Sequence[Example], candidate: Policy, baseline: Policy) -> list[Block]:
    """Return example answers side by side, the baseline's on the left.

    Parameters
    ----------
    examples : sequence of Example
        Answers to show, from the candidate's largest gain to its largest loss.
    candidate, baseline : Policy
        Policies that gave them.
    """
    return [
        SideBySide(
            example.prompt,
            LabelledText(
                f"before: {baseline.label}", example.baseline, f"{example.baseline_value:.2f}"
            ),
            LabelledText(
                f"after: {candidate.label}", example.candidate, f"{example.candidate_value:.2f}"
            ),
        )
        for example in examples
    ]


def cost_blocks(evaluation: Evaluation) -> list[Block]:
    """Return the mean cost of an answer of both policies, and the ratio; empty if unknown."""
    new, old = evaluation.candidate_cost, evaluation.baseline_cost
    if new is None or old is None:
        return []
    rows = [
        (
            name,
            f"{a:,.3g}" if a < 100 else f"{a:,.0f}",
            f"{b:,.3g}" if b < 100 else f"{b:,.0f}",
            f"{a / b:.1f}" if b else "",
        )
        for name, a, b in zip(_COSTS, _amounts(new), _amounts(old), strict=True)
        if a or b
    ]
    return [Table(("mean per answer", "candidate", "baseline", "ratio"), tuple(rows), (1, 2, 3))]


_COSTS = ("model calls", "tokens", "seconds", "seconds, samples at once", "money")


def _amounts(cost: AnswerCost) -> tuple[float, ...]:
    tokens = cost.prompt_tokens + cost.completion_tokens
    return (cost.calls, tokens, cost.seconds, cost.latency, cost.money or 0.0)
