"""Methods that learn from lists of responses, ranked or scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

from backtalk.feedback.views import Ranked, Scored
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.objective import MakeParts, Part, find_objective
from backtalk.learn.finetune.registration import Work, trains
from backtalk.learn.finetune.tree_builders import list_trees, order_trees
from backtalk.learn.finetune.trees import Tree

MakeTrees = Callable[[Encoder, Sequence[Ranked | Scored]], list[Tree]]


def by_lists(name: str, trees: MakeTrees = list_trees) -> None:
    """Register the method that trains by an objective over lists.

    A kind of feedback that says scores is learned from by its scores, one that says only an order
    by the order.
    """
    goal = find_objective(name)

    async def plan(work: Work, **options: Any) -> MakeParts:
        bound = goal.bind(**options)

        def make(encoder: Encoder) -> list[Part]:
            lists: dict[str, Sequence[Ranked | Scored]] = {
                **work.feedback.by_kind(Ranked),
                **work.feedback.by_kind(Scored),
            }
            return [Part(kind, bound, trees(encoder, own)) for kind, own in lists.items()]

        return make

    trains(
        name,
        needs=[Ranked],
        paper=goal.paper,
        options=goal.options,
        types=get_type_hints(goal.function, include_extras=True),
        summary=goal.summary,
    )(plan)


for _name in ("lipo", "rank-softmax", "pro", "nca", "infonca"):
    by_lists(_name)
by_lists("plackett-luce-dpo", order_trees)
