"""Methods that learn from single responses with labels, good or bad."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from backtalk.feedback.case import prompt_key
from backtalk.feedback.views import LabelView
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.option_types import Positive
from backtalk.learn.finetune.registration import register_objective_method, training_method
from backtalk.learn.finetune.tree_builders import MAX_RESPONSES, label_trees
from backtalk.learn.finetune.trees import PromptTree
from backtalk.learn.requirements import FeedbackRequirement

Count = Annotated[int, Field(gt=0, lt=MAX_RESPONSES)]

register_objective_method("kto", LabelView, partial(label_trees, anchors=True))
register_objective_method("bco", LabelView, partial(label_trees, anchors=False))

_PMPO = get_objective("pmpo")


@training_method("pmpo", needs=[LabelView], objective="pmpo")
async def pmpo(
    context: MethodContext, *, polarity: Literal["both", "good", "bad"] = "both", **options: Any
) -> BuildTasks:
    """Train on good responses, on bad ones, or on both, as probabilistic inference.

    PMPO, Abdolmaleki et al. (2024).

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    polarity : {"both", "good", "bad"}, default "both"
        Labels to use.
    **options : Any
        Options of the objective. With bad responses, ``beta`` must be above ``1 - alpha``.
    """
    bound = _PMPO.bind(**options)
    used = {"both": (True, False), "good": (True,), "bad": (False,)}[polarity]

    def build(encoder: Encoder) -> list[TrainingTask]:
        return [
            TrainingTask(
                kind,
                bound,
                label_trees(
                    encoder, [label for label in labels if label.good in used], anchors=False
                ),
            )
            for kind, labels in context.feedback.by_kind(LabelView).items()
        ]

    return build


@training_method(
    "d2o",
    needs=[LabelView],
    requires=[
        FeedbackRequirement(
            "answers judged bad",
            lambda feedback: any(not label.good for label in feedback.views(LabelView)),
        )
    ],
    objective="d2o",
)
async def d2o(
    context: MethodContext, *, beta: Positive = 0.1, alpha: Positive = 0.1, samples: Count = 4
) -> BuildTasks:
    """Train on bad responses alone, against several samples of the policy itself.

    D2O, Duan et al. (2024). Good responses are not used. Samples that equal a bad response are
    dropped.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    beta : float, default 0.1
        Coefficient of the samples' log-ratio.
    alpha : float, default 0.1
        Coefficient of the bad response's log-ratio.
    samples : int, default 4
        Number of samples for each prompt.
    """
    bad = {
        kind: labels
        for kind, views in context.feedback.by_kind(LabelView).items()
        if (labels := [label for label in views if not label.good])
    }
    prompts = {
        prompt_key(label.prompt): label.prompt for labels in bad.values() for label in labels
    }
    responses = await context.sample(list(prompts.values()), samples)
    samples_by_prompt = dict(zip(prompts, responses, strict=True))
    bound = get_objective("d2o").bind(beta=beta, alpha=alpha)

    def build(encoder: Encoder) -> list[TrainingTask]:
        return [
            TrainingTask(kind, bound, negative_trees(encoder, labels, samples_by_prompt))
            for kind, labels in bad.items()
        ]

    return build


def negative_trees(
    encoder: Encoder, bad: Sequence[LabelView], samples_by_prompt: Mapping[str, Sequence[str]]
) -> list[PromptTree]:
    """Return trees of bad responses and samples of the policy.

    Parameters
    ----------
    encoder : Encoder
        Encoder of the policy.
    bad : sequence of LabelView
        Bad responses; those of one prompt share its samples.
    samples_by_prompt : Mapping[str, Sequence[str]]
        Samples by prompt key; equal samples count as often as they were drawn.
    """
    grouped: dict[str, dict[str, LabelView]] = defaultdict(dict)
    for label in bad:
        grouped[prompt_key(label.prompt)].setdefault(label.completion, label)
    results = []
    for key, labels_by_text in grouped.items():
        sample_texts = [
            ResponseText(text, is_sample=True)
            for text in samples_by_prompt[key]
            if text not in labels_by_text
        ]
        if not sample_texts:
            encoder.left_out["prompts with no answer but the bad one"] += 1
            continue
        max_bad = MAX_RESPONSES - len(sample_texts)
        rejected = list(labels_by_text.values())
        for start in range(0, len(rejected), max_bad):
            group = rejected[start : start + max_bad]
            tree = encoder.tree(
                group[0].prompt,
                [
                    *(ResponseText(label.completion, is_sample=False) for label in group),
                    *sample_texts,
                ],
                weight=sum(label.weight for label in group),
            )
            if tree is not None:
                results.append(tree)
    return results
