"""Comparison of kinds of feedback: each kind alone, and all kinds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backtalk.reports.plots import interval_plot
from backtalk.reports.report import (
    Block,
    Figure,
    Paragraph,
    Table,
    format_percent,
    format_points,
)
from backtalk.stats.estimate import Estimate
from backtalk.stats.validation import Floats
from backtalk.stats.win_rate import paired_difference


@dataclass(frozen=True)
class KindResult:
    """Result of a policy that was learned from one kind of feedback, or from all."""

    kind: str
    win_rate: Estimate
    wins: Floats
    """Win, half a win or no win on each prompt, shape ``(n,)``."""
    pairs: int
    """Number of pairs that the reward was fitted on."""
    accuracy: float | None
    """Share of held-out pairs that the reward orders as the annotators did."""


def kinds_blocks(together: KindResult, alone: Sequence[KindResult]) -> list[Block]:
    """Return the win rate of all kinds together, that of each kind alone, and the difference.

    Parameters
    ----------
    together : KindResult
        Result of all kinds.
    alone : sequence of KindResult
        Result of each kind, on the same prompts.
    """
    named = {"all kinds together": together, **{item.kind: item for item in alone}}
    rates = {name: item.win_rate for name, item in named.items()}
    return [
        Paragraph(
            "The same method with one kind of feedback at a time. Kinds that cannot be "
            "converted to comparisons of two responses are missing; other methods use them."
        ),
        *(Paragraph(line) for line in explain_best(together, alone)),
        Figure(
            interval_plot(rates, reference=0.5),
            "Win rate against the plain policy by true utility, on held-out requests, with "
            "95 % intervals.",
        ),
        Table(
            ("learned from", "win rate by true utility", "pairs", "accuracy on its own pairs"),
            tuple(
                (
                    name,
                    format_percent(item.win_rate),
                    f"{item.pairs:,}",
                    "" if item.accuracy is None else f"{100 * item.accuracy:.0f} %",
                )
                for name, item in named.items()
            ),
            numbers=(1, 2, 3),
        ),
    ]


def explain_best(together: KindResult, alone: Sequence[KindResult]) -> list[str]:
    """Return why all kinds together are below the best kind alone; empty if they are not.

    Parameters
    ----------
    together : KindResult
        Result of all kinds.
    alone : sequence of KindResult
        Result of each kind, on the same prompts.
    """
    best = max(alone, key=lambda item: item.win_rate.value, default=together)
    if best.win_rate.value <= together.win_rate.value:
        return []
    difference = paired_difference(together.wins, best.wins, bounds=(0.0, 1.0))
    first = (
        f"All kinds together win less often than {best.kind} alone: {format_points(difference)} "
        "percentage points on the same requests."
    )
    lines = [first]
    if difference.high >= 0:
        lines.append(
            f"The interval contains 0, so that no difference is shown. {best.kind.capitalize()} is "
            f"the best of {len(alone)} kinds on these very requests, which biases its figure "
            "upwards."
        )
    weaker = [item for item in alone if item.win_rate.value < together.win_rate.value]
    total = sum(item.pairs for item in alone)
    if weaker and total:
        share = sum(item.pairs for item in weaker) / total
        largest = max(weaker, key=lambda item: item.pairs)
        lines.append(
            f"One reward is fitted on the pairs of all kinds. {100 * share:.0f} % of them come "
            f"from kinds that alone win less than all kinds together, and "
            f"{100 * best.pairs / total:.0f} % from {best.kind}. The largest of the weaker kinds "
            f"is {largest.kind}, with {largest.pairs:,} pairs and "
            f"{100 * largest.win_rate.value:.0f} % wins alone."
        )
    return lines
