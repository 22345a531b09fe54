"""Step-level DPO: only the first step in which two responses differ is trained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from backtalk.feedback.case import prompt_key
from backtalk.feedback.views import Pair, StepLabels
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.option_types import Positive
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.finetune.segments import common_prefix, mask_common_prefix, segments
from backtalk.learn.finetune.trees import PairLabel, PromptTree
from backtalk.learn.requirements import FeedbackRequirement
from backtalk.learn.training_set import TrainingSet


def has_first_difference(feedback: TrainingSet) -> bool:
    """Return whether two answers differ in a step after a common beginning."""
    return any(
        not pair.tie and _first_difference(pair) > 0 for pair in feedback.views(Pair)
    ) or any(
        position is not None and _right_steps_at(group, wrong, position)
        for group in _group_by_prompt(feedback.views(StepLabels))
        for wrong in group
        for position in [_first_wrong(wrong)]
    )


@training_method(
    "step-dpo",
    needs=[Pair],
    alternatives=[StepLabels],
    requires=[
        FeedbackRequirement(
            "two answers that share their first step and then differ", has_first_difference
        )
    ],
    objective="step-dpo",
)
async def step_dpo(context: MethodContext, *, beta: Positive = 0.4) -> BuildTasks:
    """Train on the first step in which the chosen and the rejected response differ.

    Steps are lines, or the sentences of a text of one line. Training data are pairs whose responses
    share their first steps, and responses with step labels: a wrong step against a right step of
    another response to the same prompt after the same right steps. Shared tokens have weight 0;
    later steps are dropped.

    LongDPO (Ping et al., 2025) trains on such pairs too, and finds the steps by a tree search with
    critiques, which is not part of this method.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    beta : float, default 0.4
        Coefficient of the implicit KL penalty towards the reference.
    """
    bound = get_objective("step-dpo").bind(beta=beta)

    def build(encoder: Encoder) -> list[TrainingTask]:
        return [
            *(
                TrainingTask(kind, bound, step_trees(encoder, views))
                for kind, views in context.feedback.by_kind(Pair).items()
            ),
            *(
                TrainingTask(kind, bound, checked_step_trees(encoder, views))
                for kind, views in context.feedback.by_kind(StepLabels).items()
            ),
        ]

    return build


def step_trees(encoder: Encoder, pairs: Sequence[Pair]) -> list[PromptTree]:
    """Return trees of two responses up to the first step that differs, which has all the weight.

    If one response ends there, its end-of-sequence token is the step.
    """
    results = []
    for pair in pairs:
        chosen, rejected = segments(pair.chosen), segments(pair.rejected)
        position = common_prefix(chosen, rejected)
        if pair.tie or position == max(len(chosen), len(rejected)):
            encoder.left_out["ties"] += 1
        elif position == 0:
            encoder.left_out["pairs that share no first step"] += 1
        else:
            tree = encoder.tree(
                pair.prompt,
                [text_up_to(chosen, position), text_up_to(rejected, position)],
                weight=pair.weight,
                pairs=[PairLabel(0, 1, 1.0, {"probability": pair.probability})],
            )
            results += [] if tree is None else [mask_common_prefix(tree)]
    return results


def checked_step_trees(encoder: Encoder, responses: Sequence[StepLabels]) -> list[PromptTree]:
    """Return trees of a wrong step and the right steps of other responses at the same position."""
    results = []
    for group in _group_by_prompt(responses):
        for wrong in group:
            position = _first_wrong(wrong)
            if position is None:
                continue
            right = _right_steps_at(group, wrong, position)
            if not right:
                encoder.left_out["wrong steps without a right one in their place"] += 1
                continue
            texts = [
                _labelled_text_up_to(response, position) for response in (*right.values(), wrong)
            ]
            tree = encoder.tree(
                wrong.prompt,
                texts,
                weight=wrong.weight,
                pairs=[PairLabel(i, len(right), 1 / len(right)) for i in range(len(right))],
            )
            results += [] if tree is None else [mask_common_prefix(tree)]
    return results


def _group_by_prompt(responses: Sequence[StepLabels]) -> list[list[StepLabels]]:
    grouped: dict[str, list[StepLabels]] = defaultdict(list)
    for response in responses:
        grouped[prompt_key(response.prompt)].append(response)
    return list(grouped.values())


def _first_difference(pair: Pair) -> int:
    """Return the index of the first step that differs, 0 if all are the same."""
    chosen, rejected = segments(pair.chosen), segments(pair.rejected)
    position = common_prefix(chosen, rejected)
    return 0 if position == max(len(chosen), len(rejected)) else position


def text_up_to(parts: Sequence[str], position: int) -> ResponseText:
    """Return a text up to a segment, included; it is complete if the segment is the last."""
    last = position >= len(parts) - 1
    text = "".join(parts[: position + 1])
    return ResponseText(text if last else text.rstrip(" "), is_complete=last)


def _first_wrong(response: StepLabels) -> int | None:
    verdicts = [step.verdict for step in response.steps]
    return verdicts.index("wrong") if "wrong" in verdicts else None


def _right_steps_at(
    group: Sequence[StepLabels], wrong: StepLabels, position: int
) -> dict[str, StepLabels]:
    """Return the responses with a right step at the position of a wrong one, by that step."""
    before = [text.strip() for text in wrong.texts[:position]]
    results: dict[str, StepLabels] = {}
    for response in group:
        texts = [text.strip() for text in response.texts]
        if (
            len(texts) > position
            and texts[:position] == before
            and response.steps[position].verdict == "right"
            and texts[position] != wrong.texts[position].strip()
        ):
            results.setdefault(texts[position], response)
    return results


def _labelled_text_up_to(response: StepLabels, position: int) -> ResponseText:
    end = response.steps[position].end
    last = position == len(response.steps) - 1 and not response.completion[end:].strip()
    return ResponseText(
        response.completion if last else response.completion[:end], is_complete=last
    )
