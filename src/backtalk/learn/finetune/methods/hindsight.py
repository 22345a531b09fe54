"""Hindsight methods: the prompt is changed to ask for what the response turned out to be.

Good and bad responses are imitated alike, each under a text that says which it is. The learned
policy has the text of the best responses in its system prompt.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from backtalk import prompts as prompt_texts
from backtalk.feedback import Message
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import CritiqueView, LabelView, Pair
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.option_types import NonNegative
from backtalk.learn.finetune.prompt_conditioning import conditioned_encoder
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.finetune.tree_builders import drop_none
from backtalk.learn.finetune.trees import PromptTree
from backtalk.learn.lazy_modules import np
from backtalk.learn.method import Paper
from backtalk.learn.requirements import FeedbackRequirement
from backtalk.learn.training_set import TrainingSet

Share = Annotated[float, Field(ge=0, lt=1)]
ChainLength = Annotated[int, Field(ge=2)]

CHAIN = Paper(
    "Chain of hindsight aligns language models with feedback",
    "Liu et al.",
    2023,
    "https://arxiv.org/abs/2302.02676",
)
HIR = Paper(
    "The wisdom of hindsight makes language models better instruction followers",
    "Zhang et al.",
    2023,
    "https://arxiv.org/abs/2302.05206",
)
DRESS = Paper(
    "DRESS: instructing large vision-language models to align and interact with humans via natural "
    "language feedback",
    "Chen et al.",
    2023,
    "https://arxiv.org/abs/2311.10081",
)
LETI = Paper(
    "LeTI: learning to generate from textual interactions",
    "Wang et al.",
    2023,
    "https://arxiv.org/abs/2305.10314",
)
FAFT = Paper(
    "Can we rely on LLM agents to draft long-horizon plans? Let's take TravelPlanner as an example",
    "Chen et al.",
    2024,
    "https://arxiv.org/abs/2408.06318",
)


@training_method(
    "chain-of-hindsight",
    needs=[Pair],
    objective="sft",
    paper=CHAIN,
    requires=[
        FeedbackRequirement(
            "answers to one prompt of which one is better by all comparisons",
            lambda feedback: any(
                True for pairs in feedback.by_kind(Pair).values() for _ in chains(pairs, 2)
            ),
        )
    ],
    system_prompt=prompt_texts.GOOD_CONDITION,
)
async def chain_of_hindsight(
    context: MethodContext, *, max_responses: ChainLength = 2, drop_rate: Share = 0.05
) -> BuildTasks:
    """Train on chains of good and bad responses with texts that say which one is better.

    Chain of Hindsight, Liu et al. (2023). The responses to a prompt become chains, from best to
    worst or from worst to best at random. Before each response the model is asked for a good or a
    bad one, and, from the second on, for a better or worse one than before. Only responses are
    trained. Each response of a chain is a tree of its own, whose prompt holds the earlier ones; the
    sum of their losses is the loss of the chain. The request for each response is in its system
    prompt, so that the learned policy, which is asked for a good response, was trained on good
    responses only under that system prompt.

    The paper masks random tokens of earlier responses, so that they are not copied. Here random
    words of earlier responses are dropped, which works with chat templates. The paper's
    regularisation by pretraining texts is left out.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    max_responses : int, default 2
        Maximum number of responses in a chain.
    drop_rate : float, default 0.05
        Fraction of the words of earlier responses that is dropped, in [0, 1).
    """
    goal = get_objective("sft").bind()
    by_kind = context.feedback.by_kind(Pair)

    def build(encoder: Encoder) -> list[TrainingTask]:
        rng = np.random.default_rng([context.run.seed, 5])
        results = []
        for kind, pairs in by_kind.items():
            trees: list[PromptTree | None] = []
            for chain_best_first in chains(pairs, max_responses):
                chain = chain_best_first if rng.random() < 0.5 else chain_best_first.reversed()
                for good, prompt, text in chain.links(drop_rate, rng):
                    conditioned = conditioned_encoder(
                        encoder, context.policy, prompt_texts.quality_condition(good)
                    )
                    trees.append(
                        conditioned.tree(prompt, [ResponseText(text)], weight=chain.weight)
                    )
            results.append(TrainingTask(kind, goal, drop_none(trees)))
        return results

    return build


@dataclass(frozen=True)
class Chain:
    """Responses to one prompt, each better, or each worse, than the one before."""

    prompt: Prompt
    texts: tuple[str, ...]
    best_first: bool
    """True if the best response comes first."""
    weight: float

    def reversed(self) -> Chain:
        """Return the chain in reverse order."""
        return Chain(self.prompt, self.texts[::-1], not self.best_first, self.weight)

    def links(
        self, drop_rate: float, rng: np.random.Generator
    ) -> Iterator[tuple[bool, Prompt, str]]:
        """Yield the quality, the prompt with earlier responses, and the text of each response.

        Parameters
        ----------
        drop_rate : float
            Fraction of the words of earlier responses that is dropped.
        rng : numpy.random.Generator
            Random number generator.
        """
        prompt = self.prompt
        for index, text in enumerate(self.texts):
            yield self.best_first == (index == 0), prompt, text
            prompt = (
                *prompt,
                Message.assistant(_drop_words(text, drop_rate, rng)),
                Message.user(
                    prompt_texts.WORSE_REQUEST if self.best_first else prompt_texts.BETTER_REQUEST
                ),
            )


def chains(pairs: Sequence[Pair], max_responses: int) -> Iterator[Chain]:
    """Yield the chains of responses to each prompt, best first; no response is in two chains.

    Responses are ordered by their wins minus losses. K responses give as many chains as are needed,
    and the responses of a chain are equally far apart in the order. A response that is tied with
    the one before it is left out of the chain.
    """
    grouped: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if not pair.tie and pair.chosen != pair.rejected:
            grouped[prompt_key(pair.prompt)].append(pair)
    for group in grouped.values():
        margins: dict[str, float] = defaultdict(float)
        for pair in group:
            margin = 2 * pair.probability - 1
            margins[pair.chosen] += margin
            margins[pair.rejected] -= margin
        order = sorted(margins, key=lambda text: -margins[text])
        weight = float(np.mean([pair.weight for pair in group]))
        chain_count = -(-len(order) // max_responses)
        for first in range(chain_count):
            texts: list[str] = []
            for text in order[first::chain_count]:
                if not texts or margins[text] < margins[texts[-1]]:
                    texts.append(text)
            if len(texts) > 1:
                yield Chain(group[0].prompt, tuple(texts), True, weight)


def _drop_words(text: str, drop_rate: float, rng: np.random.Generator) -> str:
    condition = re.findall(r"\s*\S+", text)
    retained = [word for word in condition if rng.random() >= drop_rate]
    return "".join(retained or condition)


@training_method(
    "hir", needs=[LabelView], objective="sft", paper=HIR, system_prompt=prompt_texts.GOOD_CONDITION
)
async def hir(
    context: MethodContext, *, contrast: NonNegative = 0.0, aspect: str = OVERALL
) -> BuildTasks:
    """Train each response under an instruction that asks for its actual quality.

    Hindsight instruction relabelling, Zhang et al. (2023). A good response is trained under the
    instruction to give a good one, a bad response under the instruction to give a bad one. The
    paper's contrastive loss makes a response less probable under the instruction that it does not
    follow; here that is the unlikelihood of the response under the opposite instruction, times
    ``contrast``. The entropy bonus is left out: it keeps samples diverse between rounds, and these
    are the feedback's own responses.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    contrast : float, default 0.0
        Weight of the unlikelihood under the opposite instruction.
    aspect : str, default "overall"
        Aspect whose labels are used; that of the training set for "overall".
    """
    unlikelihood = get_objective("unlikelihood")
    goal = unlikelihood.bind(alpha=contrast) if contrast else get_objective("sft").bind()
    selected = context.feedback.aspect if aspect == OVERALL else aspect
    by_kind = context.feedback.on_aspect(None).by_kind(LabelView)

    def build(encoder: Encoder) -> list[TrainingTask]:
        encoders = {
            good: conditioned_encoder(encoder, context.policy, prompt_texts.quality_condition(good))
            for good in (True, False)
        }
        results = []
        for kind, labels in by_kind.items():
            trees: list[PromptTree | None] = []
            for label in labels:
                if label.aspect != selected:
                    encoder.left_out["on other aspects"] += 1
                    continue
                for follows in (True, False) if contrast else (True,):
                    text = ResponseText(label.completion, label=follows)
                    conditioned = encoders[label.good == follows]
                    trees.append(conditioned.tree(label.prompt, [text], weight=label.weight))
            results.append(TrainingTask(kind, goal, drop_none(trees)))
        return results

    return build


@dataclass(frozen=True)
class ResponseFeedback:
    """All labels and critiques of one response."""

    prompt: Prompt
    completion: str
    good: bool | None
    """Majority of the labels; ``None`` if there are none or they are even."""
    critiques: tuple[str, ...]
    weight: float

    @property
    def condition(self) -> str:
        """System prompt that asks for a response with these labels and critiques."""
        if self.critiques and not self.good:
            return prompt_texts.critique_condition(" ".join(self.critiques))
        return prompt_texts.PRAISE_CONDITION if self.good else prompt_texts.BLAME_CONDITION


def response_feedback(feedback: TrainingSet) -> list[ResponseFeedback]:
    """Return the labels and critiques of each response, in order of first appearance.

    Responses with even labels and no critique are left out.
    """
    labels: dict[tuple[str, str], list[LabelView]] = defaultdict(list)
    critiques: dict[tuple[str, str], list[CritiqueView]] = defaultdict(list)
    views: dict[tuple[str, str], LabelView | CritiqueView] = {}
    for view in feedback.views(LabelView):
        if view.aspect == OVERALL:
            key = prompt_key(view.prompt), view.completion
            labels[key].append(view)
            views.setdefault(key, view)
    for critique in feedback.views(CritiqueView):
        key = prompt_key(critique.prompt), critique.completion
        critiques[key].append(critique)
        views.setdefault(key, critique)
    results = []
    for key, first in views.items():
        votes = sum(view.weight * (1 if view.good else -1) for view in labels[key])
        if votes == 0 and not critiques[key]:
            continue
        weights = [view.weight for view in (*labels[key], *critiques[key])]
        results.append(
            ResponseFeedback(
                first.prompt,
                first.completion,
                None if votes == 0 else votes > 0,
                tuple(dict.fromkeys(view.critique for view in critiques[key])),
                float(np.mean(weights)),
            )
        )
    return results


JUDGED_RESPONSES = FeedbackRequirement(
    "answers with more judgements on one side than on the other, or with critiques",
    lambda feedback: bool(response_feedback(feedback)),
)


def _conditioned_trees(
    context: MethodContext, encoder: Encoder, feedback: Sequence[ResponseFeedback]
) -> list[PromptTree]:
    return drop_none(
        conditioned_encoder(encoder, context.policy, item.condition).tree(
            item.prompt, [ResponseText(item.completion)], weight=item.weight
        )
        for item in feedback
    )


@training_method(
    "faft",
    needs=[LabelView],
    alternatives=[CritiqueView],
    requires=[JUDGED_RESPONSES],
    objective="sft",
    paper=FAFT,
    system_prompt=prompt_texts.PRAISE_CONDITION,
)
async def faft(context: MethodContext) -> BuildTasks:
    """Train each response under the feedback that it got.

    Feedback-aware fine-tuning, Chen et al. (2024). Good and bad attempts are imitated, good ones
    under praise and bad ones under their critique, or under blame without a critique.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    """
    goal = get_objective("sft").bind()
    feedback = response_feedback(context.feedback)

    def build(encoder: Encoder) -> list[TrainingTask]:
        return [TrainingTask("answers", goal, _conditioned_trees(context, encoder, feedback))]

    return build


@training_method(
    "dress",
    needs=[CritiqueView],
    alternatives=[LabelView],
    requires=[JUDGED_RESPONSES],
    objective="sft",
    paper=DRESS,
    system_prompt=prompt_texts.PRAISE_CONDITION,
)
async def dress(context: MethodContext, *, turns: bool = True) -> BuildTasks:
    """Train responses under their critiques, and refinements as a further turn.

    DRESS, Chen et al. (2023). Critiques and labels condition the response that they are about,
    which the paper calls conditional reinforcement learning on critique feedback. A refinement is
    trained twice: as the reply to the critique in the next turn of the conversation, and as a
    response under praise.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    turns : bool, default True
        If true, also train refinements.
    """
    goal = get_objective("sft").bind()
    feedback = response_feedback(context.feedback)
    refined = [view for view in context.feedback.views(CritiqueView) if view.refinement is not None]

    def build(encoder: Encoder) -> list[TrainingTask]:
        results = [TrainingTask("answers", goal, _conditioned_trees(context, encoder, feedback))]
        if not turns:
            return results
        praise_encoder = conditioned_encoder(encoder, context.policy, prompt_texts.PRAISE_CONDITION)
        trees: list[PromptTree | None] = []
        for view in refined:
            refinement = [ResponseText(view.refinement or "")]
            request = prompt_texts.refinement_prompt(view.prompt, view.completion, view.critique)
            trees.append(encoder.tree(request, refinement, weight=view.weight))
            trees.append(praise_encoder.tree(view.prompt, refinement, weight=view.weight))
        return [*results, TrainingTask("refinements", goal, drop_none(trees))]

    return build


@training_method(
    "leti",
    needs=[LabelView],
    requires=[
        FeedbackRequirement(
            "answers with more judgements on one side than on the other",
            lambda feedback: any(item.good is not None for item in response_feedback(feedback)),
        )
    ],
    objective="sft",
    paper=LETI,
    system_prompt=prompt_texts.GOOD_CONDITION,
)
async def leti(context: MethodContext, *, textual: bool = True) -> BuildTasks:
    """Train on reward text, prompt, response and, for failed responses, the output of the check.

    LeTI, Wang et al. (2023). The loss covers all but the prompt: the response under the reward
    text, and, for a bad response, the output of the run as the next turn of the conversation. The
    paper's reward is a new token; here it is the text that asks for a good or a bad response, so
    that the vocabulary stays the same. The paper's regularisation by pretraining texts is left out.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    textual : bool, default True
        If true, train the output of runs; otherwise good and bad labels only.
    """
    goal = get_objective("sft").bind()
    feedback = [item for item in response_feedback(context.feedback) if item.good is not None]

    def build(encoder: Encoder) -> list[TrainingTask]:
        answers: list[PromptTree | None] = []
        outputs: list[PromptTree | None] = []
        for item in feedback:
            conditioned = conditioned_encoder(
                encoder, context.policy, prompt_texts.quality_condition(bool(item.good))
            )
            answers.append(
                conditioned.tree(item.prompt, [ResponseText(item.completion)], weight=item.weight)
            )
            if textual and not item.good and item.critiques:
                request = prompt_texts.outcome_prompt(item.prompt, item.completion)
                trace = ResponseText("\n".join(item.critiques))
                outputs.append(conditioned.tree(request, [trace], weight=item.weight))
        return [
            TrainingTask("answers", goal, drop_none(answers)),
            TrainingTask("feedback", goal, drop_none(outputs)),
        ]

    return build
