"""Criteria as metrics: a stored reward for each one, with its agreement with people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backtalk.learn.context import MethodContext
from backtalk.learn.prompt.criteria import Criterion, fit_criterion
from backtalk.learn.prompt.protocol import TextFeedback

if TYPE_CHECKING:
    from backtalk.embedders.registry import EmbedderName

_WORDS = 5
"""Number of words of a criterion in the name of its metric."""


@dataclass(frozen=True)
class CriterionMetric:
    """Stored reward that says whether answers meet a criterion."""

    criterion: Criterion
    name: str
    """Name for ``backtalk evaluate --judge reward:NAME``."""
    agreement: float
    """Probability that it ranks an answer that people criticised for this below one that they did
    not, on prompts that it was not fitted to."""

    @property
    def summary(self) -> str:
        """Criterion, number of critiques, agreement and name, in one line."""
        return (
            f"{self.criterion.text} ({len(self.criterion.examples)} critiques, agreement "
            f"{self.agreement:.2f}, reward:{self.name})"
        )


def metric_name(text: str) -> str:
    """Return the name of a criterion's metric.

    >>> metric_name("Add … after ….")
    'criterion-add-after'
    """
    words = re.findall(r"\w+", text.lower())[:_WORDS]
    return "-".join(["criterion", *words])


async def store_metrics(
    context: MethodContext,
    criteria: Sequence[Criterion],
    examples: Sequence[TextFeedback],
    embedder: EmbedderName,
) -> list[CriterionMetric]:
    """Fit a reward to each criterion, and store those that tell criticised answers from others.

    Parameters
    ----------
    context : MethodContext
        Feedback of the critiques, and run.
    criteria : sequence of Criterion
        Criteria.
    examples : sequence of TextFeedback
        All answers with critiques.
    embedder : {"hashed", "sentence"}
        Embedder of the rewards.
    """
    metrics: dict[str, CriterionMetric] = {}
    for criterion in criteria:
        name = metric_name(criterion.text)
        if name in metrics:
            name = f"{name}-{len(metrics) + 1}"
        fit = await fit_criterion(
            criterion,
            examples,
            embedder,
            seed=context.run.seed,
            fitted_on=context.feedback.snapshot,
            title=name,
        )
        agreement = None if fit is None else fit.reward.concordance
        if fit is None or agreement is None or agreement <= 0.5:
            continue
        context.feedback.store.artifacts.put(fit.reward.to_files())
        metrics[name] = CriterionMetric(criterion, name, agreement)
    return list(metrics.values())
