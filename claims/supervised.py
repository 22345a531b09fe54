"""Claims of the family SFT: imitation of responses selected, edited, labelled or explained.

Unless a claim states otherwise, compared methods start from the same policy, use the same prompts
and the same number of steps and trees per step, and run with their default options. Figures are of
samples at temperature 1 for held-out prompts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np

from backtalk import prompts as wording
from backtalk.decode import Sample
from backtalk.feedback import Annotator, Critique, Interaction, Label, Message
from backtalk.feedback.case import Case, prompt_key
from backtalk.feedback.conversions import views
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import CritiqueView, LabelView, Pair, SFTExample
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.methods.critiques import group_by_difficulty
from backtalk.learn.finetune.prompt_conditioning import with_system_suffix
from backtalk.learn.online.feedback_sources import InMemoryTrainingSet
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, load_policy, save_policy
from backtalk.rewards import Reward, load_reward
from backtalk.run import Run
from backtalk.stats.validation import Floats
from backtalk.worlds.lists.layout import CLOSING, OPENING
from backtalk.worlds.world import ErrorRates, Rule, Split
from claims.claim import Control, Expected, above, below, claim
from claims.learning import Trial, open_trial
from claims.simulation import LABEL_NOISE, best_of

Example = tuple[Prompt, str]
"""Prompt with a response."""

PROMPTS = 200
"""Number of prompts with feedback."""
SAME: dict[str, Any] = {"epochs": 100.0, "max_steps": 16}
"""Training of 16 steps, of 32 trees each, for all compared methods."""
LONG: dict[str, Any] = {"epochs": 100.0, "max_steps": 32}
"""Training of 32 steps."""
HALF: dict[str, Any] = {"epochs": 100.0, "max_steps": 8}
"""Training of 8 steps."""
SLOW: dict[str, Any] = {"epochs": 100.0, "max_steps": 64}
"""Training of 64 steps, for conditions whose words are new to the small model."""


def _cases_without_feedback(prompts: Iterable[Prompt]) -> list[Case]:
    """Return cases of prompts without responses and feedback."""
    return [Case(Interaction(prompt=prompt)) for prompt in prompts]


def _demonstrations(trial: Trial, examples: Iterable[Example]) -> InMemoryTrainingSet:
    """Return a training set of demonstrations; empty responses are left out."""
    return trial.training_set(
        [SFTExample(prompt=prompt, completion=text).records() for prompt, text in examples if text]
    )


def _writer_examples(trial: Trial, prompts: Sequence[Prompt]) -> list[Example]:
    """Return the writer's response to each prompt; the small model was trained on that writer."""
    texts = trial.sample(_writer(trial.world.name), prompts, 1, seed=trial.seed)
    return [(prompt, text) for prompt, (text,) in zip(prompts, texts, strict=True)]


def _writer(world: str, **error_rates: float) -> Policy:
    options: dict[str, Any] = {"world": world, **error_rates}
    return Policy(model=NamedSpec(name="writer", options=options), name="writer")


def _ideal_examples(trial: Trial, prompts: Iterable[Prompt]) -> list[Example]:
    """Return a faultless response to each prompt."""
    return [(prompt, trial.world.ideal(trial.world.parse_prompt(prompt))) for prompt in prompts]


def _utilities(trial: Trial, policies: Mapping[str, Policy]) -> dict[str, float]:
    """Return the mean true utility of each policy, and of the initial policy as ``"base"``."""
    with_base = {"base": trial.policy, **policies}
    return {name: trial.utility(policy) for name, policy in with_base.items()}


# ------------------------------------------------------------------------ weak supervision


CARELESS = {"wrong_facts": 0.6, "omissions": 0.5, "irrelevant": 0.7, "style": 0.6}
"""Error rates twice as high as those of the writer that the small model was trained on."""


@claim(
    system="Weak-to-strong generalisation",
    paper="Burns et al. (2023), Weak-to-strong generalization, sections 4.2 and 4.3.2",
    method="weak-to-strong",
    world="lists",
    says="A strong model that learns from a weak one's answers is better than the weak one, and "
    "the confidence loss recovers more of the gap to what true answers would make of it.",
    expected=[
        above(
            "recovered",
            "performance gap recovered by plain imitation: 0 is as good as the weak supervisor, "
            "1 as good as the same model taught true answers",
            paper="GPT-4 taught by a GPT-2-level model: about half of the gap on NLP tasks",
        ),
        above(
            "confidence",
            "performance gap recovered with the confidence loss, less that of plain imitation",
            paper="about 80 % recovered with the loss, on the NLP tasks of the largest gaps",
        ),
    ],
    controls=[Control("before", "the strong model before it learns", "recovered")],
)
def weak_to_strong(seed: int) -> Mapping[str, float]:
    """Learn from a writer with twice the error rates of the one that the small model learned from.

    Students decode greedily, as the paper takes the most probable label.
    """
    with open_trial("lists", seed) as trial:
        weak = _writer("lists", **CARELESS)
        save_policy(trial.store, weak)
        prompts = trial.world.prompts("train", PROMPTS, seed=seed)
        selected = trial.training_set(_cases_without_feedback(prompts))
        ideal = _demonstrations(trial, _ideal_examples(trial, prompts))
        students = {
            "plain": trial.learn("weak-to-strong", selected, teacher="writer", alpha=0.0, **SAME),
            "confident": trial.learn("weak-to-strong", selected, teacher="writer", **SAME),
            "ceiling": trial.learn("sft", ideal, **SAME),
            "before": trial.policy,
        }
        value = {
            name: trial.utility(_greedy(policy), prompts=300, samples=1)
            for name, policy in students.items()
        }
        floor = trial.utility(weak, prompts=300, samples=1)
        gap = value["ceiling"] - floor
        return {
            "recovered": (value["plain"] - floor) / gap,
            "confidence": (value["confident"] - value["plain"]) / gap,
            "before": (value["before"] - floor) / gap,
        }


def _greedy(policy: Policy) -> Policy:
    """Return the policy with greedy decoding."""
    sampling = policy.decoder.base_sampling.model_copy(update={"temperature": 0.0})
    return policy.derive(decoder=Sample(sampling=sampling), lineage=policy.lineage)


# ------------------------------------------------------------------- selection by a reward


@claim(
    system="RAFT",
    paper="Dong et al. (2023), RAFT: reward ranked finetuning, the results on HH-RLHF",
    method="raft",
    world="lists",
    says="The best of several samples by a reward, imitated, makes a policy better, online and "
    "offline.",
    expected=[
        above("learned", "true utility gained: best of 8 own samples by a reward that 200 people's "
              "comparisons taught"),
        above("reward", "that reward's own mean on held-out prompts: what was learned less before",
              "LLaMA-7B on HH-RLHF: the mean reward rises from 0.77 to 2.29"),
        above("offline", "true utility gained: the best of the four drafts that there were"),
        above("judged", "true utility gained: best of 8 own samples by the truth"),
        above("second", "true utility: a second round by the learned reward less the first"),
    ],
)  # fmt: skip
def raft(seed: int) -> Mapping[str, float]:
    """Rank the policy's samples, or four stored drafts, by a learned reward or the true utility."""
    with open_trial("lists", seed) as trial:
        feedback = trial.feedback(trial.sample_interactions(PROMPTS, 4), "preference")
        judge, reward = _stored_reward(trial, feedback)
        first = trial.learn("raft", feedback, judge=judge, **SAME)
        value = _utilities(
            trial,
            {
                "learned": first,
                "second": trial.learn("raft", feedback, judge=judge, policy=first, **SAME),
                "offline": trial.learn("raft", feedback, judge=judge, source="store", **SAME),
                "judged": trial.learn("raft", feedback, judge="true-utility:lists", **SAME),
            },
        )
        return {
            **{name: value[name] - value["base"] for name in ("learned", "offline", "judged")},
            "second": value["second"] - value["learned"],
            "reward": _measure(trial, first, reward).reward
            - _measure(trial, trial.policy, reward).reward,
        }


def _stored_reward(trial: Trial, feedback: InMemoryTrainingSet) -> tuple[str, Reward]:
    """Return a reward learned from comparisons, after its name as a judge."""
    decoder = trial.learn("best-of-n", feedback).decoder
    (artifact,) = decoder.rewards_needed
    return f"reward:{artifact}", load_reward(artifact, trial.store.artifacts)


@dataclass(frozen=True)
class _Measurement:
    """Means over a policy's responses to held-out prompts."""

    reward: float
    """Learned reward."""
    utility: float
    """True utility, in [0, 1]."""
    similarity: float
    """Similarity of responses to different prompts by :func:`meteor`, in [0, 1]."""


def _measure(trial: Trial, policy: Policy, reward: Reward) -> _Measurement:
    prompts = trial.world.prompts("held-out", 200, seed=trial.seed)
    texts = [text for (text,) in trial.sample(policy, prompts, 1, seed=trial.seed + 2_000)]
    examples = list(zip(prompts, texts, strict=True))
    return _Measurement(
        float(run_sync(reward.score(examples)).mean.mean()),
        float(np.mean([trial.world.score(*example).utility for example in examples])),
        float(np.mean([meteor(a, b) for a, b in pairwise(texts)])),
    )


def meteor(candidate: str, reference: str) -> float:
    """Return the F-mean of METEOR of two texts by exact matches of words, in [0, 1].

    Banerjee and Lavie (2005), "METEOR: an automatic metric for MT evaluation", without
    stems, synonyms and the penalty for word order.
    """
    a, b = (Counter(re.findall(r"\w+", text.lower())) for text in (candidate, reference))
    common = sum((a & b).values())
    precision, recall = common / max(a.total(), 1), common / max(b.total(), 1)
    return 10 * precision * recall / (recall + 9 * precision) if common else 0.0


@claim(
    system="SuperHF",
    paper="Mukobi et al. (2023), SuperHF: supervised iterative learning from human feedback, the "
    "results on reward hacking",
    method="superhf",
    world="lists",
    says="With the KL prior, filtered samples hack the reward less than without it at as high a "
    "reward.",
    expected=[
        above("truth", "true utility at the highest reward that both come to: SuperHF less RAFT, "
              "which has no prior"),
        above("reward", "the learned reward on held-out prompts: SuperHF after three rounds less "
              "the policy before", "above that of PPO"),
        below("likeness", "METEOR similarity of answers to different prompts at that reward: "
              "SuperHF less RAFT", "the prior keeps the similarity low at little cost in reward"),
    ],
)  # fmt: skip
def superhf(seed: int) -> Mapping[str, float]:
    """Optimise for three rounds a reward learned from people with a length bias.

    A quarter of their 200 comparisons are flipped. Between rounds, utility and similarity are
    interpolated linearly in the reward.
    """
    with open_trial("lists", seed) as trial:
        interactions = trial.sample_interactions(PROMPTS, 2)
        biases = {"noise": LABEL_NOISE, "length_bias": 1.0}
        judge, reward = _stored_reward(trial, trial.feedback(interactions, "preference", **biases))
        selected = trial.training_set(
            _cases_without_feedback(interaction.prompt for interaction in interactions[:120])
        )
        paths = {
            name: _path(trial, reward, 3, name, selected, judge=judge, **SAME, **options)
            for name, options in (("raft", {}), ("superhf", {"reference": "base"}))
        }
        level = min(max(measurement.reward for measurement in path) for path in paths.values())
        matched = {name: _interpolate(level, path) for name, path in paths.items()}
        return {
            "reward": paths["superhf"][-1].reward - paths["superhf"][0].reward,
            "truth": matched["superhf"].utility - matched["raft"].utility,
            "likeness": matched["superhf"].similarity - matched["raft"].similarity,
        }


def _path(
    trial: Trial,
    reward: Reward,
    rounds: int,
    method: str,
    selected: InMemoryTrainingSet,
    **options: Any,
) -> list[_Measurement]:
    """Return measurements of the initial policy, and of the policy after each round of a method."""
    policy, path = trial.policy, [_measure(trial, trial.policy, reward)]
    for _ in range(rounds):
        policy = trial.learn(method, selected, policy=policy, **options)
        path.append(_measure(trial, policy, reward))
    return path


def _interpolate(level: float, path: Sequence[_Measurement]) -> _Measurement:
    """Return the measurement at which the reward first reaches a level, interpolated linearly."""
    after = next(i for i, measurement in enumerate(path) if measurement.reward >= level)
    first, last = path[max(after - 1, 0)], path[after]
    share = (level - first.reward) / (last.reward - first.reward) if last is not first else 1.0
    return _Measurement(
        level,
        first.utility + share * (last.utility - first.utility),
        first.similarity + share * (last.similarity - first.similarity),
    )


# ---------------------------------------------------------------------- correct solutions


@claim(
    system="ReST-EM",
    paper="Singh et al. (2023), Beyond human data, sections 5.1 and 5.3",
    method="rest-em",
    world="sums",
    says="Imitating own samples that are right, twice, beats the base, and fine-tuning on right "
    "solutions that were written for the same problems.",
    expected=[
        above("gain", "share of right answers on held-out sums after two iterations: less before"),
        above("second", "the same, less after the first iteration"),
        above("over_written", "the same, less fine-tuning on written right solutions, as many a "
              "problem", "Hendrycks MATH, PaLM 2-L: above fine-tuning on human solutions"),
    ],
)  # fmt: skip
def rest_em(seed: int) -> Mapping[str, float]:
    """Sample 8 solutions for each of 80 sums from the policy or the writer; keep the right ones.

    The small model was trained on the writer, which takes the place of human solutions in data
    sets.
    """
    with open_trial("sums", seed) as trial:
        selected = trial.training_set(
            _cases_without_feedback(trial.world.prompts("train", 80, seed=seed))
        )
        save_policy(trial.store, _writer("sums"))

        def iteration(sampler: str) -> Policy:
            options = {"judge": "true-utility:sums/correct", "samples": 8, "cap": 8, **SAME}
            return trial.learn("rest-em", selected, sampler=sampler, **options)

        first = iteration("base")
        second = iteration(first.id)
        right = {
            name: trial.mean_aspect(policy, "correct", prompts=120)
            for name, policy in {
                "base": trial.policy, "first": first, "second": second,
                "written": iteration("writer"),
            }.items()
        }  # fmt: skip
        return {
            "gain": right["second"] - right["base"],
            "second": right["second"] - right["first"],
            "over_written": right["second"] - right["written"],
        }


@claim(
    system="Self-sampled (partially) correct solutions",
    paper="Ni et al. (2023), Learning math reasoning from self-sampled correct and partially-"
    "correct solutions, the abstract",
    method="self-sampled",
    world="sums",
    says="Right solutions that the model finds itself, and right beginnings, beside the one that "
    "is given raise pass@k over the given one alone.",
    expected=[
        above("pass_at_4", "pass@4 on held-out sums: with self-sampled solutions less the given "
              "ones alone, both by likelihood", "pass@100 on GSM8K: 44.5 % against 35.5 %"),
        above("pass_at_1", "pass@1, the same"),
        above("partial", "pass@1: with right beginnings less without them"),
    ],
)  # fmt: skip
def self_sampled(seed: int) -> Mapping[str, float]:
    """Check three sampled solutions of each of 80 sums step by step; add one right solution.

    The right solution is the writer's. With faultless solutions instead, both methods solve nearly
    every held-out sum.
    """
    with open_trial("sums", seed) as trial:
        drafts = trial.sample_interactions(80, 3)
        interactions = [
            Interaction.of(interaction.prompt, response.text)
            for interaction in drafts
            for response in interaction.responses
        ]
        examples = _demonstrations(
            trial, _references(trial, [interaction.prompt for interaction in drafts])
        )
        every = trial.training_set(
            [*examples.cases(), *trial.feedback(interactions, "outcome", "steps").every_case()]
        )
        passes = {
            name: _passes(trial, policy)
            for name, policy in {
                "given": trial.learn("sft", examples, **SAME),
                "whole": trial.learn("self-sampled", every, partial=False, **SAME),
                "partial": trial.learn("self-sampled", every, **SAME),
            }.items()
        }
        pass_at_1, pass_at_4 = (
            {name: best_of(k, result, result) for name, result in passes.items()} for k in (1, 4)
        )
        return {
            "pass_at_4": pass_at_4["partial"] - pass_at_4["given"],
            "pass_at_1": pass_at_1["partial"] - pass_at_1["given"],
            "partial": pass_at_1["partial"] - pass_at_1["whole"],
        }


def _references(trial: Trial, prompts: Sequence[Prompt]) -> list[Example]:
    """Return the writer's first right solution of each prompt, if one of 16 samples is right."""
    texts = trial.sample(_writer(trial.world.name), prompts, 16, seed=trial.seed)
    right = [
        [text for text in row if trial.world.score(prompt, text).passed]
        for prompt, row in zip(prompts, texts, strict=True)
    ]
    return [(prompt, texts[0]) for prompt, texts in zip(prompts, right, strict=True) if texts]


def _passes(trial: Trial, policy: Policy) -> Floats:
    """Return 1 for samples that pass the check, 0 for others, shape ``(80, 8)``."""
    rows = trial.assess(policy, prompts=80, samples=8)
    return np.array([[float(assessment.passed) for assessment in row] for row in rows])


# --------------------------------------------------------------------------- demonstrations


@claim(
    system="DFT (discriminative fine-tuning)",
    paper="Guo et al. (2025), Discriminative finetuning of large language models, the abstract",
    method="dft",
    world="lists",
    says="Discriminative fine-tuning beats SFT on the same demonstrations.",
    expected=[
        above("over_sft", "true utility: DFT, two own samples for each demonstration, less SFT"),
        above("over_base", "true utility: DFT less the policy before"),
        Expected(
            "against_preferences",
            "true utility: DFT less SFT and then DPO on people's preferences between own samples",
            size=(-0.02, 1.0),
            paper="comparable to SFT and then preference optimisation, if not better",
        ),
    ],
)
def dft(seed: int) -> Mapping[str, float]:
    """Use one faultless demonstration per prompt; SFT and then DPO take half the steps each."""
    with open_trial("lists", seed) as trial:
        interactions = trial.sample_interactions(PROMPTS, 2)
        ideal = _demonstrations(
            trial, _ideal_examples(trial, [interaction.prompt for interaction in interactions])
        )
        half = trial.learn("sft", ideal, **HALF)
        feedback = trial.feedback(trial.sample_interactions(PROMPTS, 2, policy=half), "preference")
        value = _utilities(
            trial,
            {
                "sft": trial.learn("sft", ideal, **SAME),
                "dft": trial.learn("dft", ideal, **SAME),
                "dpo": trial.learn("dpo", feedback, policy=half, **HALF),
            },
        )
        return {
            "over_sft": value["dft"] - value["sft"],
            "over_base": value["dft"] - value["base"],
            "against_preferences": value["dft"] - value["dpo"],
        }


UNTRAINED = "the policy before it learns, less behavioural cloning"


@claim(
    system="Thought Cloning",
    paper="Hu and Clune (2023), Thought cloning, sections 3.3 and 3.4",
    method="thought-cloning",
    world="sums",
    says="Demonstrations with thoughts teach more, and from fewer of them, than the same actions "
    "without, all the more so on problems of another sort.",
    expected=[
        above("held_out", "share of right answers on held-out sums: thought cloning less "
              "behavioural cloning of the answers alone"),
        above("faster", "the same, thought cloning on a quarter of the demonstrations"),
        above("out_of_scope", "the same as the first, on sums of a sort that nothing was shown of"),
        above("grows", "the share of what thought cloning gets right that behavioural cloning "
              "lacks: on sums of another sort less on held-out ones",
              "the advantage is the larger the further tests are from the training"),
    ],
    controls=[
        Control("before_held_out", UNTRAINED, "held_out"),
        Control("before_faster", UNTRAINED, "faster"),
        Control("before_out_of_scope", UNTRAINED, "out_of_scope"),
    ],
)  # fmt: skip
def thought_cloning(seed: int) -> Mapping[str, float]:
    """Use 200 demonstrations, with the steps of the solution as thoughts or without.

    Thoughts are delimited by words that the small model knows, since ``<think>`` is new to it.
    """
    with open_trial("sums", seed) as trial:
        ideal = _ideal_examples(trial, trial.world.prompts("train", PROMPTS, seed=seed))
        with_thoughts = [(prompt, _mark_thoughts(text)) for prompt, text in ideal]
        answers_only = [(prompt, text.rsplit("\n", 1)[-1]) for prompt, text in ideal]

        def clone(examples: Sequence[Example]) -> Policy:
            options = {"opens": OPENS, "closes": CLOSES, **SAME}
            return trial.learn("thought-cloning", _demonstrations(trial, examples), **options)

        learned = {
            "thoughts": clone(with_thoughts),
            "quarter": clone(with_thoughts[: PROMPTS // 4]),
            "actions": trial.learn("sft", _demonstrations(trial, answers_only), **SAME),
            "before": trial.policy,
        }
        near = {name: _correct_share(trial, policy, "held-out") for name, policy in learned.items()}
        far = {
            name: _correct_share(trial, policy, "out-of-scope") for name, policy in learned.items()
        }

        def relative_gap(right: Mapping[str, float]) -> float:
            return 1 - right["actions"] / right["thoughts"]

        return {
            "held_out": near["thoughts"] - near["actions"],
            "faster": near["quarter"] - near["actions"],
            "out_of_scope": far["thoughts"] - far["actions"],
            "grows": relative_gap(far) - relative_gap(near),
            "before_held_out": near["before"] - near["actions"],
            "before_faster": near["before"] - near["actions"],
            "before_out_of_scope": far["before"] - far["actions"],
        }


OPENS, CLOSES = "Let us see.", "Done."
"""Delimiters of thoughts."""


def _mark_thoughts(text: str) -> str:
    """Return a solution with its steps marked as thoughts before its last line."""
    steps, last = text.rsplit("\n", 1)
    return f"{OPENS}\n{steps}\n{CLOSES}\n{last}"


_THOUGHT = re.compile(rf"{re.escape(OPENS)}.*?{re.escape(CLOSES)}\s*", re.DOTALL)


def _correct_share(trial: Trial, policy: Policy, split: Split) -> float:
    """Return the share of right answers after thoughts are removed."""
    prompts = trial.world.prompts(split, 120, seed=trial.seed)
    texts = trial.sample(policy, prompts, 2, seed=trial.seed + 2_000)
    return float(
        np.mean(
            [
                trial.world.score(prompt, _THOUGHT.sub("", text)).aspects["correct"]
                for prompt, row in zip(prompts, texts, strict=True)
                for text in row
            ]
        )
    )


# -------------------------------------------------------------------------------- hindsight


@claim(
    system="Chain of Hindsight (CoH)",
    paper="Liu et al. (2023), Chain of hindsight aligns language models with feedback",
    method="chain-of-hindsight",
    world="lists",
    says="Good and bad answers in a chain of hindsight teach more than the good ones alone.",
    expected=[
        above("over_sft", "true utility: chain of hindsight less fine-tuning on the preferred "
              "answers", "preferred to SFT on summaries and in dialogue"),
        above("over_base", "true utility: chain of hindsight less the policy before"),
        above("steered", "true utility: told to give a good answer less told to give a bad one"),
    ],
)  # fmt: skip
def chain_of_hindsight(seed: int) -> Mapping[str, float]:
    """Compare two drafts for each of 400 prompts.

    Also tried: 16 steps, and four times the learning rate; both are behind too.
    """
    with open_trial("lists", seed) as trial:
        feedback = trial.feedback(trial.sample_interactions(2 * PROMPTS, 2), "preference")
        chained = trial.learn("chain-of-hindsight", feedback, **SLOW)
        value = _utilities(
            trial,
            {
                "chained": chained,
                "bad": with_system_suffix(chained, wording.BAD_CONDITION),
                "sft": trial.learn("sft", trial.preferred_demonstrations(feedback), **SLOW),
            },
        )
        return {
            "over_sft": value["chained"] - value["sft"],
            "over_base": value["chained"] - value["base"],
            "steered": value["chained"] - value["bad"],
        }


def _good_examples(trial: Trial, labels: InMemoryTrainingSet) -> InMemoryTrainingSet:
    """Return the responses that were labelled good as demonstrations."""
    return _demonstrations(
        trial, [(label.prompt, label.completion) for label in labels.views(LabelView) if label.good]
    )


@claim(
    system="HIR (hindsight instruction relabelling)",
    paper="Zhang et al. (2023), The wisdom of hindsight makes language models better instruction "
    "followers, the results on BigBench",
    method="hir",
    world="lists",
    says="Answers relabelled by what they were, good ones and bad ones, teach more than imitating "
    "the good ones.",
    expected=[
        above("over_filtered", "true utility after two online rounds: HIR less fine-tuning on own "
              "good answers", "above Final-Answer RL, which does that, on BigBench"),
        above("over_base", "true utility: HIR less the policy before"),
    ],
)  # fmt: skip
def hir(seed: int) -> Mapping[str, float]:
    """Label two samples for each of 150 prompts per round, in two rounds.

    Also tried: 16 steps per round, and the contrast with the opposite instruction, which makes both
    methods worse.
    """
    with open_trial("lists", seed) as trial:

        def online(learn: Callable[[InMemoryTrainingSet, Policy], Policy]) -> Policy:
            prompts = trial.world.prompts("train", 300, seed=seed)
            policy = trial.policy
            for selected in (prompts[:150], prompts[150:]):
                interactions = trial.sample_interactions(selected, 2, policy=policy)
                policy = learn(trial.feedback(interactions, "label"), policy)
            return policy

        value = _utilities(
            trial,
            {
                "hir": online(
                    lambda feedback, policy: trial.learn("hir", feedback, policy=policy, **LONG)
                ),
                "filtered": online(
                    lambda feedback, policy: trial.learn(
                        "sft", _good_examples(trial, feedback), policy=policy, **LONG
                    )
                ),
            },
        )
        return {
            "over_filtered": value["hir"] - value["filtered"],
            "over_base": value["hir"] - value["base"],
        }


@claim(
    system="FAFT (Feedback-Aware Fine-Tuning)",
    paper="Chen et al. (2024), Can we rely on LLM agents to draft long-horizon plans?",
    method="faft",
    world="lists",
    says="Good attempts and bad ones, each behind what was said of it, teach more than the good "
    "ones alone.",
    expected=[
        above("over_sft", "true utility: feedback-aware fine-tuning less fine-tuning on the good "
              "attempts"),
        above("over_base", "true utility: feedback-aware fine-tuning less the policy before"),
    ],
)  # fmt: skip
def faft(seed: int) -> Mapping[str, float]:
    """Label and criticise one draft for each of 400 prompts.

    Also tried: 16 steps, and four times the learning rate; both are behind too.
    """
    with open_trial("lists", seed) as trial:
        feedback = trial.feedback(trial.sample_interactions(2 * PROMPTS, 1), "label", "critique")
        value = _utilities(
            trial,
            {
                "faft": trial.learn("faft", feedback, **SLOW),
                "sft": trial.learn("sft", _good_examples(trial, feedback), **SLOW),
            },
        )
        return {
            "over_sft": value["faft"] - value["sft"],
            "over_base": value["faft"] - value["base"],
        }


@claim(
    system="DRESS",
    paper="Chen et al. (2023), DRESS, the abstract",
    method="dress",
    world="mail",
    says="Critiques as conditions and refinements as turns make answers more helpful, honest and "
    "harmless, and turns after a critique better.",
    expected=[
        above("helpful", "how much of what mails should say they do: DRESS less before",
              "9.76 % more helpful"),
        above("honest", "how many of the facts of mails are right: DRESS less before",
              "11.52 % more honest"),
        above("harmless", "how safe mails are: DRESS less before", "21.03 % more harmless"),
        above("turns", "true utility of second answers, after a critique of the first: DRESS less "
              "the policy before"),
        below("conditional", "the aspect that a critique is about: DRESS told that this critique "
              "will come, less told that none will"),
    ],
)  # fmt: skip
def dress(seed: int) -> Mapping[str, float]:
    """Label, criticise and edit one mail for each of 150 prompts."""
    with open_trial("mail", seed) as trial:
        feedback = trial.feedback(trial.sample_interactions(150, 1), "label", "critique", "edit")
        learned = trial.learn("dress", feedback, **SAME)
        held_out = trial.world.prompts("held-out", 150, seed=seed)
        faults = trial.feedback(trial.sample_interactions(held_out, 1), "critique")
        before, after = (
            [
                assessment.aspects
                for row in trial.assess(policy, prompts=held_out)
                for assessment in row
            ]
            for policy in (trial.policy, learned)
        )

        def gain(aspect: str) -> float:
            return float(
                np.mean([b[aspect] - a[aspect] for a, b in zip(before, after, strict=True)])
            )

        return {
            "helpful": gain("complete"),
            "honest": gain("facts"),
            "harmless": gain("safe"),
            "turns": _second_turn_utility(trial, learned, faults)
            - _second_turn_utility(trial, trial.policy, faults),
            "conditional": _condition_effect(trial, learned, faults),
        }


def _second_turn_utility(trial: Trial, policy: Policy, faults: InMemoryTrainingSet) -> float:
    """Return the mean true utility of responses to a draft and its critique."""
    criticised = faults.views(CritiqueView)
    selected = [
        wording.refinement_prompt(view.prompt, view.completion, view.critique)
        for view in criticised
    ]
    texts = trial.sample(policy, selected, 1, seed=trial.seed)
    return float(
        np.mean(
            [
                trial.world.score(view.prompt, text).utility
                for view, (text,) in zip(criticised, texts, strict=True)
            ]
        )
    )


def _condition_effect(trial: Trial, policy: Policy, faults: InMemoryTrainingSet) -> float:
    """Return the change of the criticised aspect from a praise to a critique condition."""
    unconditioned = policy.derive(system=None, lineage=policy.lineage)
    critiques = [
        (case.interaction.prompt, critique)
        for case in faults.cases()
        for critique in case.of(Critique)
    ]

    def aspects(condition: Callable[[str], str]) -> Floats:
        selected = [
            (Message.system(condition(critique.text)), *prompt) for prompt, critique in critiques
        ]
        texts = trial.sample(unconditioned, selected, 1, seed=trial.seed)
        return np.array(
            [
                trial.world.score(prompt, text).aspects[str(critique.aspect)]
                for (prompt, critique), (text,) in zip(critiques, texts, strict=True)
            ]
        )

    return float(
        (aspects(wording.critique_condition) - aspects(lambda _: wording.PRAISE_CONDITION)).mean()
    )


# ---------------------------------------------------------------------------------- control


OPENED, CLOSED = "with Here you are", "with Done"
"""Control codes, in words that the small model knows from rules."""
LAYOUTS = {OPENED: "here", CLOSED: "done"}
"""Action of the rule that corresponds to each code."""
SPURIOUS = {OPENED: ("alphabet", 0.9, 0.1), CLOSED: ("word", 0.9, 0.1)}
"""Kind of request, and the probability of each code for that kind and for other kinds."""


@claim(
    system="FAST",
    paper="Chai et al. (2022), FAST: improving controllability for text generation",
    method="fast",
    world="lists",
    says="Where codes go with prompts, weighing that out and counterfactuals make answers do as "
    "the codes say more often.",
    expected=[
        above(
            "controllability",
            "share of code words obeyed, each asked for in all combinations: "
            "FAST less training on the codes alone",
        ),
        Expected(
            "quality",
            "how right the lists are: FAST less training on the codes alone",
            size=(-0.01, 1.0),
            paper="language quality improves too",
        ),
    ],
)
def fast(seed: int) -> Mapping[str, float]:
    """Learn from 300 responses whose layout depends on the prompt in nine cases of ten.

    As in the paper, the model that writes counterfactuals has learned the codes first. Therefore
    both arms are trained twice.
    """
    with open_trial("lists", seed) as trial:
        coded = _coded_examples(trial, trial.world.prompts("train", 300, seed=seed))

        def train_twice(max_weight: float, counterfactuals: int) -> tuple[float, float]:
            first = trial.learn("fast", coded, max_weight=max_weight, counterfactuals=0, **LONG)
            second = trial.learn(
                "fast",
                coded,
                policy=first,
                max_weight=max_weight,
                counterfactuals=counterfactuals,
                **LONG,
            )
            return _controllability(trial, second)

        fast, codes = train_twice(5.0, 1), train_twice(1.0, 0)
        return {"controllability": fast[0] - codes[0], "quality": fast[1] - codes[1]}


def _coded_examples(trial: Trial, prompts: Sequence[Prompt]) -> InMemoryTrainingSet:
    """Return responses of the writer, with a label for each layout."""
    world, rng = trial.world, np.random.default_rng([trial.seed, 1])
    rules = {name: _global_rule(trial, action) for name, action in LAYOUTS.items()}
    annotator = Annotator.verifier("layout")
    cases = []
    for prompt in prompts:
        task = world.parse_prompt(prompt)
        targets = []
        for name, (kind, for_kind, for_others) in SPURIOUS.items():
            if rng.random() < (for_kind if task.kind == kind else for_others):
                targets.append(rules[name])
        interaction = Interaction.of(prompt, world.write(task, rng, ErrorRates(), targets))
        labels = [
            Label(
                interaction=interaction.id,
                annotator=annotator,
                response="0",
                aspect=name,
                good=present,
            )
            for name, present in _layout(interaction.responses[0].text).items()
        ]
        cases.append(Case(interaction, tuple(labels)))
    return trial.training_set(cases)


def _global_rule(trial: Trial, action: str) -> Rule:
    """Return the rule with an action and the scope "all"."""
    return next(rule for rule in trial.world.rules if (rule.action, rule.scope) == (action, "all"))


def _layout(text: str) -> dict[str, bool]:
    """Return true for each controlled layout that a list has, by code."""
    return {OPENED: text.startswith(OPENING), CLOSED: text.endswith(CLOSING)}


def _controllability(trial: Trial, policy: Policy) -> tuple[float, float]:
    """Return the share of codes that responses obey, and their mean aspect "right"."""
    prompts = trial.world.prompts("held-out", 100, seed=trial.seed)
    obeyed, right = [], []
    for selected in product((True, False), repeat=len(LAYOUTS)):
        codes = dict(zip(sorted(LAYOUTS), selected, strict=True))
        texts = trial.sample(
            with_system_suffix(policy, wording.control_codes_condition(codes)),
            prompts,
            1,
            seed=trial.seed,
        )
        for prompt, (text,) in zip(prompts, texts, strict=True):
            layout = _layout(text)
            obeyed += [layout[name] == target for name, target in codes.items()]
            right.append(trial.world.score(prompt, text).aspects["right"])
    return float(np.mean(obeyed)), float(np.mean(right))


# -------------------------------------------------------------------------------- critiques


@claim(
    system="ILF (imitation from language feedback)",
    paper="Scheurer et al. (2023), Training language models with language feedback at scale, "
    "the results on summaries",
    method="ilf",
    world="lists",
    says="Fine-tuning on refinements made from critiques beats fine-tuning on written answers; "
    "with comparisons too it beats either feedback alone.",
    expected=[
        above("over_written", "true utility: ILF less fine-tuning on as many written answers",
              "summaries preferred to those of fine-tuning on human summaries"),
        above("over_initial", "true utility: ILF less fine-tuning on the answers criticised"),
        above("both_over_critiques", "true utility: ILF, best of 8 by a reward that comparisons "
              "taught, less ILF", "critiques and comparisons over either: human-level summaries"),
        above("both_over_comparisons", "the same, less the best of 8 of the policy before"),
    ],
    controls=[
        Control("shuffled_over_written", "critiques shuffled between prompts", "over_written"),
        Control("shuffled_over_initial", "critiques shuffled between prompts", "over_initial"),
    ],
)  # fmt: skip
def ilf(seed: int) -> Mapping[str, float]:
    """Criticise one of two drafts for each of 200 prompts, and compare the two.

    Written answers are those of the writer that the small model was trained on.
    """
    with open_trial("lists", seed) as trial:
        feedback = trial.feedback(trial.sample_interactions(PROMPTS, 2), "critique", "preference")
        criticised = feedback.views(CritiqueView)
        written = _writer_examples(trial, [view.prompt for view in criticised])
        initial = [(view.prompt, view.completion) for view in criticised]
        ilf = trial.learn("ilf", feedback, **SAME)
        value = {
            name: _decoded_utility(trial, policy)
            for name, policy in {
                "ilf": ilf,
                "written": trial.learn("sft", _demonstrations(trial, written), **SAME),
                "initial": trial.learn("sft", _demonstrations(trial, initial), **SAME),
                "shuffled": trial.learn("ilf", trial.shuffled_critiques(criticised), **SAME),
                "both": trial.learn("best-of-n", feedback, policy=ilf),
                "comparisons": trial.learn("best-of-n", feedback),
            }.items()
        }
        return {
            "over_written": value["ilf"] - value["written"],
            "over_initial": value["ilf"] - value["initial"],
            "both_over_critiques": value["both"] - value["ilf"],
            "both_over_comparisons": value["both"] - value["comparisons"],
            "shuffled_over_written": value["shuffled"] - value["written"],
            "shuffled_over_initial": value["shuffled"] - value["initial"],
        }


def _decoded_utility(trial: Trial, policy: Policy) -> float:
    """Return the mean true utility of a policy's responses with its own decoder."""
    prompts = trial.world.prompts("held-out", 200, seed=trial.seed)
    loaded = load_policy(policy, trial.store.artifacts)
    decoded = run_sync(loaded.decode(prompts, seed=trial.seed + 2_000))
    return float(
        np.mean(
            [
                trial.world.score(prompt, result.answer.text).utility
                for prompt, result in zip(prompts, decoded, strict=True)
            ]
        )
    )


@claim(
    system="SRT (self-refinement tuning)",
    paper="Hu et al. (2024), Teaching language models to self-improve by learning from language "
    "feedback, the abstract",
    method="srt",
    world="mail",
    says="Learning to criticise and refine, then preferring own refinements to own drafts, makes a "
    "policy better in both stages.",
    expected=[
        above("first", "true utility: tuned on drafts, critiques and refinements, less before"),
        above("second", "true utility: DPO on own refinements over own drafts, less the first "
              "stage", "AlpacaEval 2: 25.8 % of wins after both, 9.6 % before"),
        above("over_answers", "true utility: the first stage less fine-tuning on the refinements "
              "alone", "without language feedback, less of it"),
    ],
)  # fmt: skip
def srt(seed: int) -> Mapping[str, float]:
    """Criticise and edit 120 mails; then let the policy refine its drafts by its own critiques.

    Also tried: lists, where the small model's refinements are no better than its drafts.
    """
    with open_trial("mail", seed) as trial:
        prompts = trial.world.prompts("train", 240, seed=seed)
        feedback = trial.feedback(trial.sample_interactions(prompts[:120], 1), "critique", "edit")
        edits = [
            (view.prompt, view.refinement)
            for view in feedback.views(CritiqueView)
            if view.refinement
        ]
        first = trial.learn("srt", feedback, **LONG)
        pairs = _self_refined(trial, first, prompts[120:])
        policies = {
            "base": trial.policy,
            "first": first,
            "second": trial.learn("dpo", pairs, policy=first, **HALF),
            "answers": trial.learn("sft", _demonstrations(trial, edits), **LONG),
        }
        value = {name: trial.utility(policy, prompts=120) for name, policy in policies.items()}
        return {
            "first": value["first"] - value["base"],
            "second": value["second"] - value["first"],
            "over_answers": value["first"] - value["answers"],
        }


def _self_refined(trial: Trial, policy: Policy, prompts: Sequence[Prompt]) -> InMemoryTrainingSet:
    """Return pairs that prefer a policy's refinements by its own critiques to its drafts."""

    def respond(selected: Sequence[Prompt]) -> list[str]:
        return [text for (text,) in trial.sample(policy, selected, 1, seed=trial.seed + 3_000)]

    drafts = respond(prompts)
    critiques = respond(
        [
            wording.critique_prompt(prompt, draft)
            for prompt, draft in zip(prompts, drafts, strict=True)
        ]
    )
    criticised = [
        (prompt, draft, critique)
        for prompt, draft, critique in zip(prompts, drafts, critiques, strict=True)
        if critique.strip() and not wording.reports_no_issues(critique)
    ]
    refinements = respond([wording.rewrite_prompt(*arguments) for arguments in criticised])
    return trial.training_set(
        [
            Pair(prompt=prompt, chosen=refinement, rejected=draft).records()
            for (prompt, draft, _), refinement in zip(criticised, refinements, strict=True)
            if refinement.strip() not in {"", draft.strip()}
        ]
    )


@claim(
    system="SELF",
    paper="Lu et al. (2023), SELF: self-evolution with language feedback, the results on GSM8K",
    method="self",
    world="lists",
    says="A policy that has learned to criticise and refine improves in every round of learning "
    "from what it refined and found right.",
    expected=[
        above("evolved", "true utility after two rounds of self-evolution less that after learning "
              "the skills"),
        above("first", "true utility: the first round less the skills"),
        above("second", "true utility: the second round less the first",
              "GSM8K rises in each of the rounds"),
    ],
    controls=[
        Control("edits_evolved", "fine-tuning on the same people's edits for as many steps",
                "evolved"),
        Control("edits_first", "fine-tuning on the same people's edits for as many steps", "first"),
    ],
)  # fmt: skip
def self_(seed: int) -> Mapping[str, float]:
    """Learn the skills from critiques and edits of 150 drafts, then apply them to 300 prompts."""
    with open_trial("lists", seed) as trial:
        prompts = trial.world.prompts("train", 450, seed=seed)
        people = trial.feedback(trial.sample_interactions(prompts[:150], 1), "critique", "edit")
        data = trial.training_set([*people.every_case(), *_cases_without_feedback(prompts[150:])])
        skilled = trial.learn("self", people, evolve=False, **SAME)
        first = trial.learn("self", data, policy=skilled, **SAME)
        second = trial.learn("self", data, policy=first, **SAME)
        edits = {
            name: trial.learn("sft", people, epochs=100.0, max_steps=rounds * SAME["max_steps"])
            for name, rounds in (("edits_first", 2), ("edits_second", 3))
        }
        value = {
            name: trial.utility(policy)
            for name, policy in {
                "skilled": skilled, "first": first, "second": second, **edits,
            }.items()
        }  # fmt: skip
        return {
            "evolved": value["second"] - value["skilled"],
            "first": value["first"] - value["skilled"],
            "second": value["second"] - value["first"],
            "edits_evolved": value["edits_second"] - value["skilled"],
            "edits_first": value["edits_first"] - value["skilled"],
        }


@claim(
    system="CDF (constructive diverse feedback)",
    paper="Yu et al. (2023), Constructive large language models alignment with diverse feedback, "
    "the abstract",
    method="cdf",
    world="lists",
    says="Critiques of easy prompts, refinements of middling ones and preferences on hard ones "
    "teach more than as much feedback of any one kind.",
    expected=[
        above("over_refinements", "true utility: CDF less refinements of all prompts"),
        above("over_critiques", "true utility: CDF less critiques of all prompts"),
        above("over_preferences", "true utility: CDF less preferences on all prompts"),
        above("over_base", "true utility: CDF less the policy before"),
    ],
)
def cdf(seed: int) -> Mapping[str, float]:
    """Use one kind of feedback for each prompt: that of its group, or the same for all prompts.

    Groups are formed by ratings. Prompts without feedback of every kind are left out.
    """
    with open_trial("lists", seed) as trial:
        kinds = ("rating", "critique", "edit", "preference")
        feedback = trial.feedback(trial.sample_interactions(PROMPTS, 2), *kinds)
        cases = [
            case
            for case in feedback.cases()
            if len({item.kind for item in case.feedback}) == len(kinds)
            and any(not pair.tie for pair in views(case, Pair, kinds=["preference"]))
        ]
        full = trial.training_set(cases)
        with_critiques = full.views(CritiqueView)
        with Run(seed=seed) as run:
            group = group_by_difficulty(
                MethodContext(trial.policy, full, run), with_critiques, full.views(Pair)
            )
        diverse = trial.training_set(
            [_select_kinds(case, {"rating", *_KINDS[_group(case, group)]}) for case in cases]
        )
        criticised = [
            (wording.critique_prompt(view.prompt, view.completion), view.critique)
            for view in with_critiques
        ]
        refined = [
            (prompt, str(view.refinement))
            for view in with_critiques
            for prompt in (
                view.prompt,
                wording.refinement_prompt(view.prompt, view.completion, view.critique),
            )
        ]
        preferred = trial.training_set([_select_kinds(case, {"preference"}) for case in cases])
        value = _utilities(
            trial,
            {
                "cdf": trial.learn("cdf", diverse, **SAME),
                "critiques": trial.learn("sft", _demonstrations(trial, criticised), **SAME),
                "refinements": trial.learn("sft", _demonstrations(trial, refined), **SAME),
                "preferences": trial.learn("dpo", preferred, **SAME),
            },
        )
        return {
            f"over_{name}": value["cdf"] - value[name]
            for name in ("critiques", "refinements", "preferences", "base")
        }


_KINDS = {
    "critique": {"critique"},
    "refinement": {"critique", "edit"},
    "preference": {"preference"},
}


def _group(case: Case, group: Mapping[str, str]) -> str:
    return group[prompt_key(case.interaction.prompt)]


def _select_kinds(case: Case, kinds: set[str]) -> Case:
    return Case(case.interaction, tuple(item for item in case.feedback if item.kind in kinds))
