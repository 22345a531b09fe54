"""Methods of hindsight: the prompt is made to ask for what the answer turned out to be.

Good answers and bad ones are imitated alike, each behind words that say which it is, and the policy
that was learned is told the words of the best ones.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from backtalk import prompts as wording
from backtalk.feedback import Message
from backtalk.feedback.judgements import OVERALL
from backtalk.feedback.merge import prompt_key
from backtalk.feedback.views import CritiqueView, LabelView, Pair
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Chat, Encoder, Text
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.prompt_conditioning import conditioned_encoder, serve_with_prompt
from backtalk.learn.finetune.registration import MethodContext, training_method
from backtalk.learn.finetune.tree_builders import kept
from backtalk.learn.finetune.trees import PromptTree
from backtalk.learn.method import Paper
from backtalk.learn.training_set import TrainingSet

Factor = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Length = Annotated[int, Field(ge=2)]

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


@training_method("chain-of-hindsight", needs=[Pair], paper=CHAIN)
async def chain_of_hindsight(
    work: MethodContext, *, longest: Length = 2, forget: Share = 0.05
) -> BuildTasks:
    """Chain of Hindsight: good and bad answers in a chain, with words that say which is better.

    A prompt's answers become chains, from the best down or from the worst up, as the seed says.
    Before each answer the model is told whether a good or a bad one is wanted, and, from the second
    on, that it is to be better or worse than the one before; the loss is on the answers alone; Liu
    et al. (2023). Each answer of a chain is a tree of its own, whose prompt holds what came before:
    the sum of their losses is the chain's. The system prompt of each says what is wanted of that
    answer, so that the learned policy, which is told to give a good one, finds itself where good
    ones were given and never bad ones.

    The paper masks tokens of the past at random, so that an answer is not copied from the one
    before it. Here words of the answers before are left out at random, which a chat template can
    express. Its regularisation by texts of the pretraining is left out.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    longest : Length, default 2
        The most answers of a chain.
    forget : Share, default 0.05
        The share of the words of earlier answers that is left out.
    """
    goal = find_objective("sft").bind()
    by_kind = work.feedback.by_kind(Pair)

    def make(encoder: Encoder) -> list[TrainingTask]:
        rng = np.random.default_rng([work.run.seed, 5])
        results = []
        for kind, pairs in by_kind.items():
            trees: list[PromptTree | None] = []
            for best_first in chains(pairs, longest):
                chain = best_first if rng.random() < 0.5 else best_first.reversed()
                for good, prompt, text in chain.links(forget, rng):
                    own = conditioned_encoder(encoder, work.policy, wording.condition(good))
                    trees.append(own.tree(prompt, [Text(text)], weight=chain.weight))
            results.append(TrainingTask(kind, goal, kept(trees)))
        return results

    return make


@dataclass(frozen=True)
class Chain:
    """Answers to one prompt, each better than the one before, or each worse."""

    prompt: Chat
    texts: tuple[str, ...]
    falls: bool
    """Whether the best comes first."""
    weight: float

    def reversed(self) -> Chain:
        """Return the chain from its other end."""
        return Chain(self.prompt, self.texts[::-1], not self.falls, self.weight)

    def links(self, forget: float, rng: np.random.Generator) -> Iterator[tuple[bool, Chat, str]]:
        """Yield whether each answer is a good one, what comes before it, and the answer.

        Words of the answers before it are left out at random.
        """
        prompt = self.prompt
        for index, text in enumerate(self.texts):
            yield self.falls == (index == 0), prompt, text
            prompt = (
                *prompt,
                Message.assistant(_with_gaps(text, forget, rng)),
                Message.user(wording.WORSE if self.falls else wording.BETTER),
            )


def chains(pairs: Sequence[Pair], longest: int) -> Iterator[Chain]:
    """Yield the chains of each prompt's answers, the best first; each answer is in one at most.

    Answers are ordered by how often they won more than they lost. K answers make as many chains as
    are needed, and the answers of a chain stand equally far apart in the order. What is tied with
    the answer before it is left out of the chain.
    """
    grouped: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if not pair.tie and pair.chosen != pair.rejected:
            grouped[prompt_key(pair.prompt)].append(pair)
    for own in grouped.values():
        lead: dict[str, float] = defaultdict(float)
        for pair in own:
            margin = 2 * pair.probability - 1
            lead[pair.chosen] += margin
            lead[pair.rejected] -= margin
        order = sorted(lead, key=lambda text: -lead[text])
        weight = float(np.mean([pair.weight for pair in own]))
        count = -(-len(order) // longest)
        for first in range(count):
            texts: list[str] = []
            for text in order[first::count]:
                if not texts or lead[text] < lead[texts[-1]]:
                    texts.append(text)
            if len(texts) > 1:
                yield Chain(own[0].prompt, tuple(texts), True, weight)


def _with_gaps(text: str, forget: float, rng: np.random.Generator) -> str:
    words = re.findall(r"\s*\S+", text)
    left = [word for word in words if rng.random() >= forget]
    return "".join(left or words)


@training_method("hir", needs=[LabelView], paper=HIR)
async def hir(work: MethodContext, *, contrast: Factor = 0.0, aspect: str = OVERALL) -> BuildTasks:
    """Hindsight instruction relabelling: the instruction asks for what the answer in fact was.

    A good answer is learned behind the instruction to give a good one, a bad answer behind the one
    to give a bad one; Zhang et al. (2023). The paper's contrastive loss makes an answer
    less probable under the instruction that it does not follow; here that is unlikelihood, times
    ``contrast``, of the answer behind the opposite instruction. Its entropy bonus is left out: it
    keeps samples diverse between rounds, and these are the feedback's own answers.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    contrast : Factor, default 0.0
        How much the opposite instruction counts; nothing by default.
    aspect : str, default OVERALL
        Which judgements count: those of the answer as a whole by default.
    """
    contrasted = find_objective("unlikelihood")
    goal = contrasted.bind(alpha=contrast) if contrast else find_objective("sft").bind()
    by_kind = work.feedback.by_kind(LabelView)

    def make(encoder: Encoder) -> list[TrainingTask]:
        told = {
            good: conditioned_encoder(encoder, work.policy, wording.condition(good))
            for good in (True, False)
        }
        results = []
        for kind, labels in by_kind.items():
            trees: list[PromptTree | None] = []
            for one in labels:
                if one.aspect != aspect:
                    encoder.left_out["on other aspects"] += 1
                    continue
                for follows in (True, False) if contrast else (True,):
                    text = Text(one.completion, float(follows))
                    own = told[one.good == follows]
                    trees.append(own.tree(one.prompt, [text], weight=one.weight))
            results.append(TrainingTask(kind, goal, kept(trees)))
        return results

    return make


@dataclass(frozen=True)
class Remark:
    """What was said of one answer, all of it together."""

    prompt: Chat
    completion: str
    good: bool | None
    """By what most labels said; ``None`` where there are none."""
    critiques: tuple[str, ...]
    weight: float

    @property
    def words(self) -> str:
        """What asks for an answer of which this is said."""
        if self.critiques and not self.good:
            return wording.said(" ".join(self.critiques))
        return wording.PRAISED if self.good else wording.BLAMED


def remarks(feedback: TrainingSet) -> list[Remark]:
    """Return what labels and critiques say of each answer, in order of first appearance.

    An answer whose labels are even, and that nobody criticised, is left out.
    """
    labels: dict[tuple[str, str], list[LabelView]] = defaultdict(list)
    critiques: dict[tuple[str, str], list[CritiqueView]] = defaultdict(list)
    about: dict[tuple[str, str], LabelView | CritiqueView] = {}
    for view in feedback.views(LabelView):
        if view.aspect == OVERALL:
            key = prompt_key(view.prompt), view.completion
            labels[key].append(view)
            about.setdefault(key, view)
    for said in feedback.views(CritiqueView):
        key = prompt_key(said.prompt), said.completion
        critiques[key].append(said)
        about.setdefault(key, said)
    results = []
    for key, one in about.items():
        votes = sum(view.weight * (1 if view.good else -1) for view in labels[key])
        if votes == 0 and not critiques[key]:
            continue
        weights = [view.weight for view in (*labels[key], *critiques[key])]
        results.append(
            Remark(
                one.prompt,
                one.completion,
                None if votes == 0 else votes > 0,
                tuple(dict.fromkeys(view.critique for view in critiques[key])),
                float(np.mean(weights)),
            )
        )
    return results


def _behind_words(
    work: MethodContext, encoder: Encoder, said: Sequence[Remark]
) -> list[PromptTree]:
    return kept(
        conditioned_encoder(encoder, work.policy, one.words).tree(
            one.prompt, [Text(one.completion)], weight=one.weight
        )
        for one in said
    )


@training_method("faft", needs=[LabelView], paper=FAFT)
async def faft(work: MethodContext) -> BuildTasks:
    """Feedback-aware fine-tuning: each answer is learned behind what was said of it.

    Good attempts and bad ones are imitated, the good ones behind praise and the bad ones behind the
    critique of them, or behind blame where there is none; Chen et al. (2024).
    """
    goal = find_objective("sft").bind()
    said = remarks(work.feedback)

    def make(encoder: Encoder) -> list[TrainingTask]:
        return [TrainingTask("answers", goal, _behind_words(work, encoder, said))]

    return make


@training_method("dress", needs=[CritiqueView], paper=DRESS)
async def dress(work: MethodContext, *, turns: bool = True) -> BuildTasks:
    """DRESS: answers are learned behind their critiques, and refinements as a further turn.

    The critique, and what labels say, condition the answer that they are about: what the paper
    calls conditional reinforcement learning on critique feedback. A refinement is learned twice:
    as the reply to the critique, in the conversation's next turn, and as an answer behind praise;
    Chen et al. (2023).

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    turns : bool, default True
        Whether refinements are learned too.
    """
    goal = find_objective("sft").bind()
    said = remarks(work.feedback)
    refined = [one for one in work.feedback.views(CritiqueView) if one.refinement is not None]

    def make(encoder: Encoder) -> list[TrainingTask]:
        results = [TrainingTask("answers", goal, _behind_words(work, encoder, said))]
        if not turns:
            return results
        praised = conditioned_encoder(encoder, work.policy, wording.PRAISED)
        trees: list[PromptTree | None] = []
        for one in refined:
            better = [Text(one.refinement or "")]
            asked = wording.to_refine(one.prompt, one.completion, one.critique)
            trees.append(encoder.tree(asked, better, weight=one.weight))
            trees.append(praised.tree(one.prompt, better, weight=one.weight))
        return [*results, TrainingTask("refinements", goal, kept(trees))]

    return make


@training_method("leti", needs=[LabelView], paper=LETI)
async def leti(work: MethodContext, *, textual: bool = True) -> BuildTasks:
    """LeTI: reward word, prompt, answer, and what came of it where the answer failed.

    The language-modelling loss on all but the prompt: the answer behind the reward word, and, for a
    bad answer, what the run printed, as the conversation's next turn; Wang et al. (2023).
    The paper's reward is a new token; here it is the words that ask for a good answer or a bad
    one, so that the vocabulary stays. Its regularisation by texts of the pretraining is left out.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    textual : bool, default True
        Whether what the run printed is learned; without it only good or bad is.
    """
    goal = find_objective("sft").bind()
    said = [one for one in remarks(work.feedback) if one.good is not None]

    def make(encoder: Encoder) -> list[TrainingTask]:
        answers: list[PromptTree | None] = []
        printed: list[PromptTree | None] = []
        for one in said:
            own = conditioned_encoder(encoder, work.policy, wording.condition(bool(one.good)))
            answers.append(own.tree(one.prompt, [Text(one.completion)], weight=one.weight))
            if textual and not one.good and one.critiques:
                asked = wording.to_foretell(one.prompt, one.completion)
                trace = Text("\n".join(one.critiques))
                printed.append(own.tree(asked, [trace], weight=one.weight))
        return [
            TrainingTask("answers", goal, kept(answers)),
            TrainingTask("feedback", goal, kept(printed)),
        ]

    return make


for _name, _words in (
    ("chain-of-hindsight", wording.GOOD),
    ("hir", wording.GOOD),
    ("faft", wording.PRAISED),
    ("dress", wording.PRAISED),
    ("leti", wording.GOOD),
):
    serve_with_prompt(_name, _words)
