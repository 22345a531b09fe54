"""Methods that learn from responses that are good or bad, each on its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import Field

from backtalk.feedback.merge import prompt_key
from backtalk.feedback.views import LabelView
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Encoder, Text
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.registration import (
    MethodContext,
    register_objective_method,
    training_method,
)
from backtalk.learn.finetune.tree_builders import MOST_RESPONSES, labelled_trees
from backtalk.learn.finetune.trees import PromptTree

Count = Annotated[int, Field(gt=0, lt=MOST_RESPONSES)]
Weight = Annotated[float, Field(gt=0)]

register_objective_method("kto", LabelView, partial(labelled_trees, anchors=True))
register_objective_method("bco", LabelView, partial(labelled_trees, anchors=False))

_PMPO = find_objective("pmpo")


@training_method(
    "pmpo",
    needs=[LabelView],
    paper=_PMPO.paper,
    options={**_PMPO.options, "polarity": "both"},
    types={
        **get_type_hints(_PMPO.function, include_extras=True),
        "polarity": Literal["both", "good", "bad"],
    },
)
async def pmpo(work: MethodContext, *, polarity: str, **options: Any) -> BuildTasks:
    """Learn from good responses, from bad ones, or from both, as from probabilistic inference.

    Parameters
    ----------
    work : MethodContext
        Whose labels are learned from; all may be of one sort.
    polarity : str
        Which labels to use: ``"both"``, only the ``"good"`` or only the ``"bad"`` ones.
    options
        Those of the objective: ``alpha``, how much good responses count against bad ones, and
        ``beta``, how strongly the policy is held near the reference. It has to be above
        ``1 - alpha`` where there are bad responses.
    """
    bound = _PMPO.bind(**options)
    wanted = {"both": (True, False), "good": (True,), "bad": (False,)}[polarity]

    def make(encoder: Encoder) -> list[TrainingTask]:
        return [
            TrainingTask(
                kind,
                bound,
                labelled_trees(encoder, [one for one in own if one.good in wanted], anchors=False),
            )
            for kind, own in work.feedback.by_kind(LabelView).items()
        ]

    return make


@training_method("d2o", needs=[LabelView], paper=find_objective("d2o").paper)
async def d2o(
    work: MethodContext, *, beta: Weight = 0.1, alpha: Weight = 0.1, samples: Count = 4
) -> BuildTasks:
    """Learn from bad responses alone, against several answers of the policy itself.

    Good responses are not used. Answers that are the same as a bad response are left out.

    Parameters
    ----------
    work : MethodContext
        Whose labels are learned from.
    beta : Weight, default 0.1
        The weight of the answers.
    alpha : Weight, default 0.1
        The weight of the bad response.
    samples : Count, default 4
        How many answers are drawn for each prompt.
    """
    bad = {
        kind: own
        for kind, results in work.feedback.by_kind(LabelView).items()
        if (own := [one for one in results if not one.good])
    }
    prompts = {prompt_key(one.prompt): one.prompt for own in bad.values() for one in own}
    said = await work.sample(list(prompts.values()), samples)
    drawn = dict(zip(prompts, said, strict=True))
    bound = find_objective("d2o").bind(beta=beta, alpha=alpha)

    def make(encoder: Encoder) -> list[TrainingTask]:
        return [
            TrainingTask(kind, bound, negative_trees(encoder, own, drawn))
            for kind, own in bad.items()
        ]

    return make


def negative_trees(
    encoder: Encoder, bad: Sequence[LabelView], drawn: Mapping[str, Sequence[str]]
) -> list[PromptTree]:
    """Return trees of bad responses, of value 0, and answers of the policy, of value 1.

    Parameters
    ----------
    encoder : Encoder
        Makes them.
    bad : sequence of LabelView
        The bad responses; those of one prompt share its answers.
    drawn : Mapping[str, Sequence[str]]
        Answers, by the key of the prompt; equal ones count as often as they were drawn.
    """
    grouped: dict[str, dict[str, LabelView]] = defaultdict(dict)
    for one in bad:
        grouped[prompt_key(one.prompt)].setdefault(one.completion, one)
    results = []
    for key, own in grouped.items():
        sampled = [Text(text, 1.0) for text in drawn[key] if text not in own]
        if not sampled:
            encoder.left_out["prompts with no answer but the bad one"] += 1
            continue
        room = MOST_RESPONSES - len(sampled)
        rejected = list(own.values())
        for start in range(0, len(rejected), room):
            some = rejected[start : start + room]
            tree = encoder.tree(
                some[0].prompt,
                [*(Text(one.completion) for one in some), *sampled],
                weight=sum(one.weight for one in some),
            )
            if tree is not None:
                results.append(tree)
    return results
