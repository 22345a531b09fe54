"""Methods that learn from ranked or scored lists of responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from backtalk.feedback.views import RankingView, ScoreView
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.finetune.tree_builders import list_trees, ordered_list_trees
from backtalk.learn.finetune.trees import PromptTree

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

    training_method(name, needs=[RankingView], objective=name)(plan)


for _name in ("lipo", "rank-softmax", "pro", "nca", "infonca"):
    register_list_method(_name)
register_list_method("plackett-luce-dpo", ordered_list_trees)
