"""Methods that learn from lists of responses, ranked or scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

from backtalk.feedback.views import RankingView, ScoreView
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.registration import MethodContext, training_method
from backtalk.learn.finetune.tree_builders import list_trees, order_trees
from backtalk.learn.finetune.trees import PromptTree

MakeTrees = Callable[[Encoder, Sequence[RankingView | ScoreView]], list[PromptTree]]


def by_lists(name: str, trees: MakeTrees = list_trees) -> None:
    """Register the method that trains by an objective over lists.

    A kind of feedback that says scores is learned from by its scores, one that says only an order
    by the order.
    """
    goal = find_objective(name)

    async def plan(work: MethodContext, **options: Any) -> BuildTasks:
        bound = goal.bind(**options)

        def make(encoder: Encoder) -> list[TrainingTask]:
            lists: dict[str, Sequence[RankingView | ScoreView]] = {
                **work.feedback.by_kind(RankingView),
                **work.feedback.by_kind(ScoreView),
            }
            return [TrainingTask(kind, bound, trees(encoder, own)) for kind, own in lists.items()]

        return make

    training_method(
        name,
        needs=[RankingView],
        paper=goal.paper,
        options=goal.options,
        types=get_type_hints(goal.function, include_extras=True),
        summary=goal.summary,
    )(plan)


for _name in ("lipo", "rank-softmax", "pro", "nca", "infonca"):
    by_lists(_name)
by_lists("plackett-luce-dpo", order_trees)
