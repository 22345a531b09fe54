"""Step-level preference optimisation: two responses part ways, and only that step is learned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from backtalk.feedback.merge import prompt_key
from backtalk.feedback.views import Pair, StepLabels
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Encoder, Text
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.registration import MethodContext, training_method
from backtalk.learn.finetune.segments import common_prefix, mask_common_prefix, segments
from backtalk.learn.finetune.trees import PairLabel, PromptTree

Beta = Annotated[float, Field(gt=0)]


@training_method("step-dpo", needs=[Pair], paper=find_objective("step-dpo").paper)
async def step_dpo(work: MethodContext, *, beta: Beta = 0.4) -> BuildTasks:
    """Learn the first step in which the better and the worse response differ, and nothing else.

    Steps are lines, or the sentences of a text of one line. Pairs whose responses share their
    first steps are learned from, as are responses whose steps were checked: a wrong step against
    a right one that another response to the same prompt has in its place, behind the same right
    steps. The tokens that are shared have weight 0, and the steps that follow are left away.

    What LongDPO (Ping et al., 2025) trains on too; how it finds its steps, by tree search with
    critiques, is not part of this.

    Parameters
    ----------
    work : MethodContext
        Whose pairs and checked steps are learned from.
    beta : Beta, default 0.4
        How strongly the policy is held near the reference.
    """
    bound = find_objective("step-dpo").bind(beta=beta)

    def make(encoder: Encoder) -> list[TrainingTask]:
        return [
            *(
                TrainingTask(kind, bound, step_trees(encoder, own))
                for kind, own in work.feedback.by_kind(Pair).items()
            ),
            *(
                TrainingTask(kind, bound, checked_step_trees(encoder, own))
                for kind, own in work.feedback.by_kind(StepLabels).items()
            ),
        ]

    return make


def step_trees(encoder: Encoder, pairs: Sequence[Pair]) -> list[PromptTree]:
    """Return trees of two responses up to the first step that differs, which has all weight.

    Where one of them ends there, the token that ends it is the step.
    """
    results = []
    for pair in pairs:
        chosen, rejected = segments(pair.chosen), segments(pair.rejected)
        place = common_prefix(chosen, rejected)
        if pair.tie or place == max(len(chosen), len(rejected)):
            encoder.left_out["ties"] += 1
        elif place == 0:
            encoder.left_out["pairs that share no first step"] += 1
        else:
            tree = encoder.tree(
                pair.prompt,
                [up_to(chosen, place), up_to(rejected, place)],
                weight=pair.weight,
                pairs=[PairLabel(0, 1, 1.0, {"probability": pair.probability})],
            )
            results += [] if tree is None else [mask_common_prefix(tree)]
    return results


def checked_step_trees(encoder: Encoder, responses: Sequence[StepLabels]) -> list[PromptTree]:
    """Return trees of a wrong step, and the right ones that others have in its place."""
    grouped: dict[str, list[StepLabels]] = defaultdict(list)
    for one in responses:
        grouped[prompt_key(one.prompt)].append(one)
    results = []
    for own in grouped.values():
        for wrong in own:
            place = _first_wrong(wrong)
            if place is None:
                continue
            right = _right_in_place(own, wrong, place)
            if not right:
                encoder.left_out["wrong steps without a right one in their place"] += 1
                continue
            texts = [_up_to(one, place) for one in (*right.values(), wrong)]
            tree = encoder.tree(
                wrong.prompt,
                texts,
                weight=wrong.weight,
                pairs=[PairLabel(i, len(right), 1 / len(right)) for i in range(len(right))],
            )
            results += [] if tree is None else [mask_common_prefix(tree)]
    return results


def up_to(parts: Sequence[str], place: int) -> Text:
    """Return a text up to one of its pieces, that one included, or whole where it is the last."""
    last = place >= len(parts) - 1
    text = "".join(parts[: place + 1])
    return Text(text if last else text.rstrip(" "), ends=last)


def _first_wrong(one: StepLabels) -> int | None:
    verdicts = [step.verdict for step in one.steps]
    return verdicts.index("wrong") if "wrong" in verdicts else None


def _right_in_place(
    own: Sequence[StepLabels], wrong: StepLabels, place: int
) -> dict[str, StepLabels]:
    """Return the responses with a right step in the place of a wrong one, by that step."""
    before = [text.strip() for text in wrong.texts[:place]]
    results: dict[str, StepLabels] = {}
    for one in own:
        texts = [text.strip() for text in one.texts]
        if (
            len(texts) > place
            and texts[:place] == before
            and one.steps[place].verdict == "right"
            and texts[place] != wrong.texts[place].strip()
        ):
            results.setdefault(texts[place], one)
    return results


def _up_to(one: StepLabels, place: int) -> Text:
    end = one.steps[place].end
    last = place == len(one.steps) - 1 and not one.completion[end:].strip()
    return Text(one.completion if last else one.completion[:end], ends=last)
