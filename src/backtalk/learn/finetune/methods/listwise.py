"""Methods that learn from ranked or scored lists of responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from backtalk.feedback.views import RankingView, ScoreView
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.finetune.tree_builders import (
    comparable_scores,
    list_trees,
    ordered_list_trees,
)
from backtalk.learn.finetune.trees import PromptTree
from backtalk.learn.requirements import FeedbackRequirement
from backtalk.learn.training_set import TrainingSet

MakeTrees = Callable[[Encoder, Sequence[RankingView | ScoreView]], list[PromptTree]]


def register_list_method(name: str, trees: MakeTrees = list_trees) -> None:
    """Register the method that trains by an objective over lists.

    Feedback with scores is used with its scores, feedback with an order alone by its order.
    """
    objective = get_objective(name)

    async def plan(context: MethodContext, **options: Any) -> BuildTasks:
        bound = objective.bind(**options)

        def build(encoder: Encoder) -> list[TrainingTask]:
            lists: dict[str, Sequence[RankingView | ScoreView]] = {
                **context.feedback.by_kind(RankingView),
                **context.feedback.by_kind(ScoreView),
            }
            return [
                TrainingTask(kind, bound, trees(encoder, views)) for kind, views in lists.items()
            ]

        return build

    training_method(
        name,
        needs=[RankingView],
        alternatives=[ScoreView],
        requires=[
            FeedbackRequirement("two answers to one prompt of which one is better", has_order)
        ],
        objective=name,
    )(plan)


def has_order(feedback: TrainingSet) -> bool:
    """Return whether a training set has a list of answers of which one is better than another."""
    return any(len(ranking.tiers) > 1 for ranking in feedback.views(RankingView)) or any(
        scores[0].score > scores[-1].score
        for scores in comparable_scores(feedback.views(ScoreView)).values()
    )


for _name in ("lipo", "rank-softmax", "pro", "nca", "infonca"):
    register_list_method(_name)
register_list_method("plackett-luce-dpo", ordered_list_trees)
