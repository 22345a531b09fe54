"""The family SFT: learning by imitation, of what feedback selects, mends, labels or explains.

Where nothing else is said, all that is compared in a claim begins from the same policy, learns on
the same prompts in as many steps of as many trees, with the methods' default options, and figures
are of samples at temperature 1 for prompts that nothing was learned on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtalk import prompts as wording
from backtalk.decode import Sample
from backtalk.feedback import Annotator, Critique, Interaction, Label, Message
from backtalk.feedback.case import Case, prompt_key
from backtalk.feedback.conversions import views
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
from backtalk.worlds.lists.layout import CLOSING, OPENING
from backtalk.worlds.world import ErrorRates, Rule, Split
from claims.claim import Expected, above, below, claim
from claims.learning import Trial, trial
from claims.simulation import LABEL_NOISE, best_of

Chat = tuple[Message, ...]
Answer = tuple[Chat, str]
Array = NDArray[np.float64]

PROMPTS = 200
"""How many prompts there is feedback on."""
SAME: dict[str, Any] = {"epochs": 100.0, "max_steps": 16}
"""As many steps, of 32 trees each, for all that is compared."""
LONG: dict[str, Any] = {"epochs": 100.0, "max_steps": 32}
HALF: dict[str, Any] = {"epochs": 100.0, "max_steps": 8}
SLOW: dict[str, Any] = {"epochs": 100.0, "max_steps": 64}
"""For conditions in words that the small model has never read."""


def _cases_without_feedback(prompts: Iterable[Chat]) -> list[Case]:
    """Return prompts that nobody has answered, as cases."""
    return [Case(Interaction(prompt=prompt)) for prompt in prompts]


def _shown(bench: Trial, answers: Iterable[Answer]) -> InMemoryTrainingSet:
    """Return answers as something to imitate, but for empty ones."""
    return bench.training_set(
        [SFTExample(prompt=prompt, completion=text).records() for prompt, text in answers if text]
    )


def _written(bench: Trial, prompts: Sequence[Chat]) -> list[Answer]:
    """Return an answer to each prompt by the writer whom the small model was taught by."""
    texts = bench.sampled(_writer(bench.world.name), prompts, 1, seed=bench.seed)
    return [(prompt, text) for prompt, (text,) in zip(prompts, texts, strict=True)]


def _writer(world: str, **care: float) -> Policy:
    return Policy(model=NamedSpec(name="writer", options={"world": world, **care}), name="writer")


def _ideal(bench: Trial, prompts: Iterable[Chat]) -> list[Answer]:
    """Return a faultless answer to each prompt."""
    return [(prompt, bench.world.ideal(bench.world.parse_prompt(prompt))) for prompt in prompts]


def _utilities(bench: Trial, policies: Mapping[str, Policy]) -> dict[str, float]:
    """Return the mean true utility of each policy, and of the one that they began from."""
    every = {"base": bench.policy, **policies}
    return {name: bench.utility(policy) for name, policy in every.items()}


# ------------------------------------------------------------------------ weak supervision


CARELESS = {"slips": 0.6, "gaps": 0.5, "extras": 0.7, "manner": 0.6}
"""A writer who errs twice as often as the one whom the small model was taught by."""


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
)
def weak_to_strong(seed: int) -> Mapping[str, float]:
    """Learn from a writer who errs twice as often as the one whom the small model was taught by.

    All students answer by their most probable tokens, as the paper takes the most probable label.
    """
    with trial("lists", seed) as bench:
        weak = _writer("lists", **CARELESS)
        save_policy(bench.store, weak)
        prompts = bench.world.prompts("train", PROMPTS, seed=seed)
        selected = bench.training_set(_cases_without_feedback(prompts))
        ideal = _shown(bench, _ideal(bench, prompts))
        students = {
            "plain": bench.learned("weak-to-strong", selected, teacher="writer", alpha=0.0, **SAME),
            "confident": bench.learned("weak-to-strong", selected, teacher="writer", **SAME),
            "ceiling": bench.learned("sft", ideal, **SAME),
        }
        value = {
            name: bench.utility(_surest(policy), prompts=300, samples=1)
            for name, policy in students.items()
        }
        floor = bench.utility(weak, prompts=300, samples=1)
        gap = value["ceiling"] - floor
        return {
            "recovered": (value["plain"] - floor) / gap,
            "confidence": (value["confident"] - value["plain"]) / gap,
        }


def _surest(policy: Policy) -> Policy:
    """Return the policy that takes the most probable token."""
    sampling = policy.decoder.base_sampling.model_copy(update={"temperature": 0.0})
    return policy.derive(decoder=Sample(sampling=sampling), lineage=policy.lineage)


# ---------------------------------------------------------------------- selected by a reward


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
    """Rank own samples, or four drafts that are there, by a learned reward or by the truth."""
    with trial("lists", seed) as bench:
        feedback = bench.feedback(bench.answered(PROMPTS, 4), "preference")
        judge, reward = _stored_reward(bench, feedback)
        first = bench.learned("raft", feedback, judge=judge, **SAME)
        value = _utilities(
            bench,
            {
                "learned": first,
                "second": bench.learned("raft", feedback, judge=judge, policy=first, **SAME),
                "offline": bench.learned("raft", feedback, judge=judge, source="store", **SAME),
                "judged": bench.learned("raft", feedback, judge="true-utility:lists", **SAME),
            },
        )
        return {
            **{name: value[name] - value["base"] for name in ("learned", "offline", "judged")},
            "second": value["second"] - value["learned"],
            "reward": _measure(bench, first, reward).reward
            - _measure(bench, bench.policy, reward).reward,
        }


def _stored_reward(bench: Trial, feedback: InMemoryTrainingSet) -> tuple[str, Reward]:
    """Return a reward learned from comparisons: its name as a judge, and itself."""
    decoder = bench.learned("best-of-n", feedback).decoder
    (artifact,) = decoder.rewards_needed
    return f"reward:{artifact}", load_reward(artifact, bench.store.artifacts)


@dataclass(frozen=True)
class _Measurement:
    """What a policy's answers to held-out prompts are like, on average."""

    reward: float
    truth: float
    likeness: float
    """How much answers to different prompts are alike, by :func:`meteor`."""


def _measure(bench: Trial, policy: Policy, reward: Reward) -> _Measurement:
    prompts = bench.world.prompts("held-out", 200, seed=bench.seed)
    texts = [text for (text,) in bench.sampled(policy, prompts, 1, seed=bench.seed + 2_000)]
    answers = list(zip(prompts, texts, strict=True))
    return _Measurement(
        float(run_sync(reward.score(answers)).mean.mean()),
        float(np.mean([bench.world.score(*answer).utility for answer in answers])),
        float(np.mean([meteor(one, other) for one, other in pairwise(texts)])),
    )


def meteor(one: str, other: str) -> float:
    """Return how much two texts are alike: the F-mean of METEOR, by equal words alone, in [0, 1].

    Banerjee and Lavie (2005), "METEOR: an automatic metric for MT evaluation", without
    stems, synonyms and the penalty for word order.
    """
    a, b = (Counter(re.findall(r"\w+", text.lower())) for text in (one, other))
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
    """Optimise three rounds against a reward that people taught who take length for quality.

    A quarter of their 200 comparisons are turned round. Between rounds, truth and likeness are
    interpolated along the reward.
    """
    with trial("lists", seed) as bench:
        interactions = bench.answered(PROMPTS, 2)
        taken_in = {"noise": LABEL_NOISE, "length_bias": 1.0}
        judge, reward = _stored_reward(
            bench, bench.feedback(interactions, "preference", **taken_in)
        )
        selected = bench.training_set(
            _cases_without_feedback(interaction.prompt for interaction in interactions[:120])
        )
        paths = {
            name: _path(bench, reward, 3, name, selected, judge=judge, **SAME, **options)
            for name, options in (("raft", {}), ("superhf", {"reference": "base"}))
        }
        level = min(max(one.reward for one in path) for path in paths.values())
        at = {name: _at(level, path) for name, path in paths.items()}
        return {
            "reward": paths["superhf"][-1].reward - paths["superhf"][0].reward,
            "truth": at["superhf"].truth - at["raft"].truth,
            "likeness": at["superhf"].likeness - at["raft"].likeness,
        }


def _path(
    bench: Trial,
    reward: Reward,
    rounds: int,
    method: str,
    selected: InMemoryTrainingSet,
    **options: Any,
) -> list[_Measurement]:
    """Return what the policy is like before, and after each round of a method."""
    policy, path = bench.policy, [_measure(bench, bench.policy, reward)]
    for _ in range(rounds):
        policy = bench.learned(method, selected, policy=policy, **options)
        path.append(_measure(bench, policy, reward))
    return path


def _at(level: float, path: Sequence[_Measurement]) -> _Measurement:
    """Return what the policy is like where its reward first comes to a level."""
    after = next(i for i, one in enumerate(path) if one.reward >= level)
    first, last = path[max(after - 1, 0)], path[after]
    share = (level - first.reward) / (last.reward - first.reward) if last is not first else 1.0
    return _Measurement(
        level,
        first.truth + share * (last.truth - first.truth),
        first.likeness + share * (last.likeness - first.likeness),
    )


# ------------------------------------------------------------------------------ right ones


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
    """Draw 8 solutions for each of 80 sums, of the policy or of the writer, and keep right ones.

    The writer is whom the small model was taught by: it stands for the people whose solutions data
    sets have.
    """
    with trial("sums", seed) as bench:
        selected = bench.training_set(
            _cases_without_feedback(bench.world.prompts("train", 80, seed=seed))
        )
        save_policy(bench.store, _writer("sums"))

        def iterated(sampler: str) -> Policy:
            how = {"judge": "true-utility:sums/correct", "samples": 8, "cap": 8, **SAME}
            return bench.learned("rest-em", selected, sampler=sampler, **how)

        first = iterated("base")
        second = iterated(first.id)
        right = {
            name: bench.aspect(policy, "correct", prompts=120)
            for name, policy in {
                "base": bench.policy, "first": first, "second": second,
                "written": iterated("writer"),
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
    """Check three own solutions, step by step, of each of 80 sums; a written right one is given.

    With faultless solutions in the place of the writer's nearly every held-out sum is solved, by
    either way of learning.
    """
    with trial("sums", seed) as bench:
        drafts = bench.answered(80, 3)
        interactions = [
            Interaction.of(interaction.prompt, one.text)
            for interaction in drafts
            for one in interaction.responses
        ]
        examples = _shown(bench, _references(bench, [interaction.prompt for interaction in drafts]))
        every = bench.training_set(
            [*examples.cases(), *bench.feedback(interactions, "outcome", "steps").every_case()]
        )
        passes = {
            name: _passes(bench, policy)
            for name, policy in {
                "given": bench.learned("sft", examples, **SAME),
                "whole": bench.learned("self-sampled", every, partial=False, **SAME),
                "partial": bench.learned("self-sampled", every, **SAME),
            }.items()
        }
        one, four = (
            {name: best_of(k, result, result) for name, result in passes.items()} for k in (1, 4)
        )
        return {
            "pass_at_4": four["partial"] - four["given"],
            "pass_at_1": one["partial"] - one["given"],
            "partial": one["partial"] - one["whole"],
        }


def _references(bench: Trial, prompts: Sequence[Chat]) -> list[Answer]:
    """Return the writer's first right solution of each prompt, if one of 16 is."""
    texts = bench.sampled(_writer(bench.world.name), prompts, 16, seed=bench.seed)
    right = [
        [text for text in row if bench.world.score(prompt, text).passed]
        for prompt, row in zip(prompts, texts, strict=True)
    ]
    return [(prompt, own[0]) for prompt, own in zip(prompts, right, strict=True) if own]


def _passes(bench: Trial, policy: Policy) -> Array:
    """Return which of 8 samples pass the check, a row for each of 80 held-out prompts."""
    rows = bench.truths(policy, prompts=80, samples=8)
    return np.array([[float(one.passed) for one in row] for row in rows])


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
    """Show one faultless answer for each prompt; SFT and then DPO has half the steps for each."""
    with trial("lists", seed) as bench:
        interactions = bench.answered(PROMPTS, 2)
        ideal = _shown(bench, _ideal(bench, [interaction.prompt for interaction in interactions]))
        half = bench.learned("sft", ideal, **HALF)
        feedback = bench.feedback(bench.answered(PROMPTS, 2, policy=half), "preference")
        value = _utilities(
            bench,
            {
                "sft": bench.learned("sft", ideal, **SAME),
                "dft": bench.learned("dft", ideal, **SAME),
                "dpo": bench.learned("dpo", feedback, policy=half, **HALF),
            },
        )
        return {
            "over_sft": value["dft"] - value["sft"],
            "over_base": value["dft"] - value["base"],
            "against_preferences": value["dft"] - value["dpo"],
        }


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
)  # fmt: skip
def thought_cloning(seed: int) -> Mapping[str, float]:
    """Show 200 answers, with the steps to them as thoughts or without.

    Thoughts stand between words that the small model knows: it has never read ``<think>``.
    """
    with trial("sums", seed) as bench:
        ideal = _ideal(bench, bench.world.prompts("train", PROMPTS, seed=seed))
        aloud = [(prompt, _aloud(text)) for prompt, text in ideal]
        silent = [(prompt, text.rsplit("\n", 1)[-1]) for prompt, text in ideal]

        def cloned(answers: Sequence[Answer]) -> Policy:
            how = {"opens": OPENS, "closes": CLOSES, **SAME}
            return bench.learned("thought-cloning", _shown(bench, answers), **how)

        learned = {
            "thoughts": cloned(aloud),
            "quarter": cloned(aloud[: PROMPTS // 4]),
            "actions": bench.learned("sft", _shown(bench, silent), **SAME),
        }
        near = {name: _acts_right(bench, one, "held-out") for name, one in learned.items()}
        far = {name: _acts_right(bench, one, "out-of-scope") for name, one in learned.items()}

        def lacking(right: Mapping[str, float]) -> float:
            return 1 - right["actions"] / right["thoughts"]

        return {
            "held_out": near["thoughts"] - near["actions"],
            "faster": near["quarter"] - near["actions"],
            "out_of_scope": far["thoughts"] - far["actions"],
            "grows": lacking(far) - lacking(near),
        }


OPENS, CLOSES = "Let us see.", "Done."


def _aloud(text: str) -> str:
    """Return a worked answer with its steps as thoughts before its last line."""
    steps, last = text.rsplit("\n", 1)
    return f"{OPENS}\n{steps}\n{CLOSES}\n{last}"


_THOUGHT = re.compile(rf"{re.escape(OPENS)}.*?{re.escape(CLOSES)}\s*", re.DOTALL)


def _acts_right(bench: Trial, policy: Policy, split: Split) -> float:
    """Return the share of right answers, whatever the thoughts before them."""
    prompts = bench.world.prompts(split, 120, seed=bench.seed)
    texts = bench.sampled(policy, prompts, 2, seed=bench.seed + 2_000)
    return float(
        np.mean(
            [
                bench.world.score(prompt, _THOUGHT.sub("", text)).aspects["correct"]
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

    Tried too: 16 steps, and four times the learning rate, where it is behind as well.
    """
    with trial("lists", seed) as bench:
        feedback = bench.feedback(bench.answered(2 * PROMPTS, 2), "preference")
        chained = bench.learned("chain-of-hindsight", feedback, **SLOW)
        value = _utilities(
            bench,
            {
                "chained": chained,
                "bad": with_system_suffix(chained, wording.BAD_CONDITION),
                "sft": bench.learned("sft", bench.preferred(feedback), **SLOW),
            },
        )
        return {
            "over_sft": value["chained"] - value["sft"],
            "over_base": value["chained"] - value["base"],
            "steered": value["chained"] - value["bad"],
        }


def _good(bench: Trial, labels: InMemoryTrainingSet) -> InMemoryTrainingSet:
    """Return the answers that were labelled good, as something to imitate."""
    results = labels.views(LabelView)
    return _shown(bench, [(one.prompt, one.completion) for one in results if one.good])


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
    """Label two own answers for each of 150 prompts a round, in two rounds.

    Tried too: 16 steps a round; the contrast with the opposite instruction, which spoils both.
    """
    with trial("lists", seed) as bench:

        def online(learn: Callable[[InMemoryTrainingSet, Policy], Policy]) -> Policy:
            prompts = bench.world.prompts("train", 300, seed=seed)
            policy = bench.policy
            for selected in (prompts[:150], prompts[150:]):
                interactions = bench.answered(selected, 2, policy=policy)
                policy = learn(bench.feedback(interactions, "label"), policy)
            return policy

        value = _utilities(
            bench,
            {
                "hir": online(
                    lambda feedback, policy: bench.learned("hir", feedback, policy=policy, **LONG)
                ),
                "filtered": online(
                    lambda feedback, policy: bench.learned(
                        "sft", _good(bench, feedback), policy=policy, **LONG
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

    Tried too: 16 steps, and four times the learning rate, where it is behind as well.
    """
    with trial("lists", seed) as bench:
        feedback = bench.feedback(bench.answered(2 * PROMPTS, 1), "label", "critique")
        value = _utilities(
            bench,
            {
                "faft": bench.learned("faft", feedback, **SLOW),
                "sft": bench.learned("sft", _good(bench, feedback), **SLOW),
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
    with trial("mail", seed) as bench:
        feedback = bench.feedback(bench.answered(150, 1), "label", "critique", "edit")
        learned = bench.learned("dress", feedback, **SAME)
        held_out = bench.world.prompts("held-out", 150, seed=seed)
        faults = bench.feedback(bench.answered(held_out, 1), "critique")
        before, after = (
            [one.aspects for row in bench.truths(policy, prompts=held_out) for one in row]
            for policy in (bench.policy, learned)
        )

        def gain(aspect: str) -> float:
            return float(
                np.mean([b[aspect] - a[aspect] for a, b in zip(before, after, strict=True)])
            )

        return {
            "helpful": gain("complete"),
            "honest": gain("facts"),
            "harmless": gain("safe"),
            "turns": _second_turns(bench, learned, faults)
            - _second_turns(bench, bench.policy, faults),
            "conditional": _conditional(bench, learned, faults),
        }


def _second_turns(bench: Trial, policy: Policy, faults: InMemoryTrainingSet) -> float:
    """Return the mean true utility of answers after a draft and a critique of it."""
    criticised = faults.views(CritiqueView)
    selected = [
        wording.refinement_prompt(view.prompt, view.completion, view.critique)
        for view in criticised
    ]
    texts = bench.sampled(policy, selected, 1, seed=bench.seed)
    return float(
        np.mean(
            [
                bench.world.score(view.prompt, text).utility
                for view, (text,) in zip(criticised, texts, strict=True)
            ]
        )
    )


def _conditional(bench: Trial, policy: Policy, faults: InMemoryTrainingSet) -> float:
    """Return how much worse the criticised aspect is where the policy is told of the critique."""
    free = policy.derive(system=None, lineage=policy.lineage)
    critiques = [
        (case.interaction.prompt, one) for case in faults.cases() for one in case.of(Critique)
    ]

    def aspects(words: Callable[[str], str]) -> Array:
        selected = [(Message.system(words(one.text)), *prompt) for prompt, one in critiques]
        texts = bench.sampled(free, selected, 1, seed=bench.seed)
        return np.array(
            [
                bench.world.score(prompt, text).aspects[str(one.aspect)]
                for (prompt, one), (text,) in zip(critiques, texts, strict=True)
            ]
        )

    return float(
        (aspects(wording.critique_condition) - aspects(lambda _: wording.PRAISE_CONDITION)).mean()
    )


# ---------------------------------------------------------------------------------- control


OPENED, CLOSED = "with Here you are", "with Done"
"""The codes that answers are controlled by, in words that the small model knows from rules."""
LAYOUTS = {OPENED: "here", CLOSED: "done"}
"""The rules that bring each about."""
SPURIOUS = {OPENED: ("alphabet", 0.9, 0.1), CLOSED: ("word", 0.9, 0.1)}
"""For which sort of request each is how likely, and how likely for all others."""


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
    """Learn from 300 answers whose opening and closing nine times in ten go with the prompt.

    As in the paper, who writes counterfactuals has learned the codes first: both arms learn twice.
    """
    with trial("lists", seed) as bench:
        coded = _coded(bench, bench.world.prompts("train", 300, seed=seed))

        def twice(max_weight: float, counterfactuals: int) -> tuple[float, float]:
            first = bench.learned("fast", coded, max_weight=max_weight, counterfactuals=0, **LONG)
            second = bench.learned(
                "fast",
                coded,
                policy=first,
                max_weight=max_weight,
                counterfactuals=counterfactuals,
                **LONG,
            )
            return _obeyed(bench, second)

        fast, codes = twice(5.0, 1), twice(1.0, 0)
        return {"controllability": fast[0] - codes[0], "quality": fast[1] - codes[1]}


def _coded(bench: Trial, prompts: Sequence[Chat]) -> InMemoryTrainingSet:
    """Return answers of the writer, with labels that say which layouts they have."""
    world, rng = bench.world, np.random.default_rng([bench.seed, 1])
    rules = {name: _everywhere(bench, what) for name, what in LAYOUTS.items()}
    machine = Annotator.verifier("layout")
    cases = []
    for prompt in prompts:
        task = world.parse_prompt(prompt)
        targets = []
        for name, (kind, often, rarely) in SPURIOUS.items():
            if rng.random() < (often if task.kind == kind else rarely):
                targets.append(rules[name])
        interaction = Interaction.of(prompt, world.write(task, rng, ErrorRates(), targets))
        labels = [
            Label(
                interaction=interaction.id, annotator=machine, response="0", aspect=name, good=has
            )
            for name, has in _layout(interaction.responses[0].text).items()
        ]
        cases.append(Case(interaction, tuple(labels)))
    return bench.training_set(cases)


def _everywhere(bench: Trial, what: str) -> Rule:
    """Return the standing instruction to lay lists out so, for all of them."""
    return next(rule for rule in bench.world.rules if (rule.action, rule.scope) == (what, "all"))


def _layout(text: str) -> dict[str, bool]:
    """Return which of the controlled layouts a list has."""
    return {OPENED: text.startswith(OPENING), CLOSED: text.endswith(CLOSING)}


def _obeyed(bench: Trial, policy: Policy) -> tuple[float, float]:
    """Return the share of codes that answers obey, and how right the answers are."""
    prompts = bench.world.prompts("held-out", 100, seed=bench.seed)
    obeyed, right = [], []
    for selected in product((True, False), repeat=len(LAYOUTS)):
        codes = dict(zip(sorted(LAYOUTS), selected, strict=True))
        texts = bench.sampled(
            with_system_suffix(policy, wording.control_codes_condition(codes)),
            prompts,
            1,
            seed=bench.seed,
        )
        for prompt, (text,) in zip(prompts, texts, strict=True):
            has = _layout(text)
            obeyed += [has[name] == targets for name, targets in codes.items()]
            right.append(bench.world.score(prompt, text).aspects["right"])
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
)  # fmt: skip
def ilf(seed: int) -> Mapping[str, float]:
    """Criticise one of two drafts for each of 200 prompts, and compare the two.

    Written answers are those of the writer whom the small model was taught by.
    """
    with trial("lists", seed) as bench:
        feedback = bench.feedback(bench.answered(PROMPTS, 2), "critique", "preference")
        criticised = feedback.views(CritiqueView)
        written = _written(bench, [view.prompt for view in criticised])
        initial = [(view.prompt, view.completion) for view in criticised]
        ilf = bench.learned("ilf", feedback, **SAME)
        value = {
            name: _answering(bench, policy)
            for name, policy in {
                "ilf": ilf,
                "written": bench.learned("sft", _shown(bench, written), **SAME),
                "initial": bench.learned("sft", _shown(bench, initial), **SAME),
                "both": bench.learned("best-of-n", feedback, policy=ilf),
                "comparisons": bench.learned("best-of-n", feedback),
            }.items()
        }
        return {
            "over_written": value["ilf"] - value["written"],
            "over_initial": value["ilf"] - value["initial"],
            "both_over_critiques": value["both"] - value["ilf"],
            "both_over_comparisons": value["both"] - value["comparisons"],
        }


def _answering(bench: Trial, policy: Policy) -> float:
    """Return the mean true utility of a policy's answers, as it decodes them."""
    prompts = bench.world.prompts("held-out", 200, seed=bench.seed)
    loaded = load_policy(policy, bench.store.artifacts)
    answers = run_sync(loaded.decode(prompts, seed=bench.seed + 2_000))
    return float(
        np.mean(
            [
                bench.world.score(prompt, one.answer.text).utility
                for prompt, one in zip(prompts, answers, strict=True)
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
    """Criticise and edit 120 mails; then refine as many own ones by own critiques.

    Tried too: lists, where the small model's own refinements are no better than its drafts.
    """
    with trial("mail", seed) as bench:
        prompts = bench.world.prompts("train", 240, seed=seed)
        feedback = bench.feedback(bench.answered(prompts[:120], 1), "critique", "edit")
        edits = [
            (view.prompt, view.refinement)
            for view in feedback.views(CritiqueView)
            if view.refinement
        ]
        first = bench.learned("srt", feedback, **LONG)
        pairs = _self_refined(bench, first, prompts[120:])
        policies = {
            "base": bench.policy,
            "first": first,
            "second": bench.learned("dpo", pairs, policy=first, **HALF),
            "answers": bench.learned("sft", _shown(bench, edits), **LONG),
        }
        value = {name: bench.utility(policy, prompts=120) for name, policy in policies.items()}
        return {
            "first": value["first"] - value["base"],
            "second": value["second"] - value["first"],
            "over_answers": value["first"] - value["answers"],
        }


def _self_refined(bench: Trial, policy: Policy, prompts: Sequence[Chat]) -> InMemoryTrainingSet:
    """Return pairs of a policy's refinements, after its own critiques, over its drafts."""

    def respond(selected: Sequence[Chat]) -> list[str]:
        return [text for (text,) in bench.sampled(policy, selected, 1, seed=bench.seed + 3_000)]

    drafts = respond(prompts)
    critiques = respond(
        [wording.critique_prompt(*one) for one in zip(prompts, drafts, strict=True)]
    )
    results = [
        one
        for one in zip(prompts, drafts, critiques, strict=True)
        if one[2].strip() and not wording.reports_no_issues(one[2])
    ]
    refined = respond([wording.rewrite_prompt(*one) for one in results])
    return bench.training_set(
        [
            Pair(prompt=prompt, chosen=better, rejected=draft).records()
            for (prompt, draft, _), better in zip(results, refined, strict=True)
            if better.strip() not in {"", draft.strip()}
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
)  # fmt: skip
def self_(seed: int) -> Mapping[str, float]:
    """Learn the skills from critiques and edits of 150 drafts, then use them on 300 prompts."""
    with trial("lists", seed) as bench:
        prompts = bench.world.prompts("train", 450, seed=seed)
        people = bench.feedback(bench.answered(prompts[:150], 1), "critique", "edit")
        every = bench.training_set([*people.every_case(), *_cases_without_feedback(prompts[150:])])
        skilled = bench.learned("self", people, evolve=False, **SAME)
        first = bench.learned("self", every, policy=skilled, **SAME)
        second = bench.learned("self", every, policy=first, **SAME)
        value = {
            name: bench.utility(policy)
            for name, policy in (("skilled", skilled), ("first", first), ("second", second))
        }
        return {
            "evolved": value["second"] - value["skilled"],
            "first": value["first"] - value["skilled"],
            "second": value["second"] - value["first"],
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
    """Give one kind of feedback on each prompt: its group's, or the same kind on all of them.

    Ratings say which prompts are hard. Only prompts count that every kind is given on.
    """
    with trial("lists", seed) as bench:
        kinds = ("rating", "critique", "edit", "preference")
        feedback = bench.feedback(bench.answered(PROMPTS, 2), *kinds)
        cases = [
            case
            for case in feedback.cases()
            if len({item.kind for item in case.feedback}) == len(kinds)
            and any(not pair.tie for pair in views(case, Pair, kinds=["preference"]))
        ]
        full = bench.training_set(cases)
        critiqued = full.views(CritiqueView)
        with Run(seed=seed) as run:
            group = group_by_difficulty(
                MethodContext(bench.policy, full, run), critiqued, full.views(Pair)
            )
        diverse = bench.training_set(
            [_only(case, {"rating", *_KINDS[_group(case, group)]}) for case in cases]
        )
        criticised = [
            (wording.critique_prompt(view.prompt, view.completion), view.critique)
            for view in critiqued
        ]
        refined = [
            (prompt, str(view.refinement))
            for view in critiqued
            for prompt in (
                view.prompt,
                wording.refinement_prompt(view.prompt, view.completion, view.critique),
            )
        ]
        preferred = bench.training_set([_only(case, {"preference"}) for case in cases])
        value = _utilities(
            bench,
            {
                "cdf": bench.learned("cdf", diverse, **SAME),
                "critiques": bench.learned("sft", _shown(bench, criticised), **SAME),
                "refinements": bench.learned("sft", _shown(bench, refined), **SAME),
                "preferences": bench.learned("dpo", preferred, **SAME),
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


def _only(case: Case, kinds: set[str]) -> Case:
    return Case(case.interaction, tuple(item for item in case.feedback if item.kind in kinds))
