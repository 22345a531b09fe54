"""Method ``system-feedback``: criteria of critiques as lines of the prompt, and as metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from backtalk.feedback.views import CritiqueView
from backtalk.learn.method import Paper
from backtalk.learn.prompt.criteria import MIN_CRITIQUES, find_criteria
from backtalk.learn.prompt.criterion_metrics import store_metrics
from backtalk.learn.prompt.optimiser import Search, optimiser
from backtalk.learn.prompt.proposers.criteria import CriteriaProposer
from backtalk.learn.prompt.protocol import Proposer
from backtalk.learn.requirements import FeedbackRequirement


@optimiser(
    "system-feedback",
    paper=Paper(
        "System-level natural language feedback",
        "Yuan et al.",
        2024,
        "https://arxiv.org/abs/2306.13588",
    ),
    formula="criteria = clusters of critiques; prompt = instruction + criteria; metric_c(x, y) = "
    "P(y is not criticised for c)",
    example="-o criteria=8",
    requires=[
        FeedbackRequirement(
            f"{MIN_CRITIQUES} critiques",
            lambda feedback: len(feedback.on_aspect(None).views(CritiqueView)) >= MIN_CRITIQUES,
        )
    ],
)
async def system_feedback(
    search: Search,
    *,
    criteria: Annotated[int, Field(ge=1)] = 8,
    metrics: bool = True,
) -> Sequence[Proposer]:
    """Turn critiques of single answers into criteria of the system: a prompt, and metrics.

    Critiques are grouped by their words without those of the instance. The criteria become lines of
    the prompt, of which the search keeps those that help. Each criterion also becomes a metric, a
    reward that ``backtalk evaluate --judge reward:NAME`` shows; the lineage names them with their
    agreement with people. A critique of one answer, sent after it, is followed beside the criteria.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    criteria : int, default 8
        Maximum number of criteria.
    metrics : bool, default True
        If true, the metrics are stored.
    """
    reviews = search.signal.known.reviews
    groups = (await find_criteria(reviews, general=True))[:criteria]
    if metrics:
        enough = [one for one in groups if len(one.examples) >= MIN_CRITIQUES]
        stored = await store_metrics(search.context, enough, reviews, search.embedder)
        measured = {metric.criterion.text for metric in stored}
        search.notes["criteria"] = [
            *(metric.summary for metric in stored),
            *(
                f"{one.text} ({len(one.examples)} critiques, no metric that agrees with people)"
                for one in enough
                if one.text not in measured
            ),
        ]
    return [CriteriaProposer(search.writer, groups)]
