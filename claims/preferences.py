"""The family PREF: learning from preferences, in the weights of a world's language model.

Where nothing else is said, prompts, drafts, feedback and the number of epochs are the same for what
is compared, options are the methods' defaults, and figures are of samples at temperature 1 for
prompts that nothing was learned on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from backtalk.embedders.registry import embedder_for_pairs
from backtalk.feedback import Interaction, Preference
from backtalk.feedback.case import Case
from backtalk.feedback.views import Pair
from backtalk.learn.finetune import Batch, get_objective
from backtalk.learn.finetune.objective import BoundObjective
from backtalk.learn.finetune.trees import PairLabel, PromptTree, ResponseTokens
from backtalk.learn.online.feedback_sources import InMemoryTrainingSet, RewardJudge
from backtalk.learn.online.loop import OnlineConfig
from backtalk.models import Request, Sampling
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, load_policy
from backtalk.rewards import BradleyTerryReward, learn_reward
from backtalk.worlds.annotators import Person
from backtalk.worlds.skills import comparison_prompt, parse_verdict
from backtalk.worlds.train.curriculum import GUIDANCE
from backtalk.worlds.utility import TrueUtility
from claims.claim import Expected, above, below, claim
from claims.decisions import ACTIONS, STATES, Process
from claims.learning import Trial, trial

Array = NDArray[np.float64]
PROMPTS = 400
"""How many prompts there are preferences on."""
TWICE = {"epochs": 2.0}


def _preferences(bench: Trial, prompts: int = PROMPTS, **manner: float) -> InMemoryTrainingSet:
    """Return preferences between two samples of the policy for each prompt."""
    return bench.feedback(bench.answered(prompts, 2), "preference", **manner)


def _reward(feedback: InMemoryTrainingSet, *, seed: int) -> BradleyTerryReward:
    """Return a reward learned from preferences."""
    pairs = feedback.views(Pair)
    learned = run_sync(learn_reward(pairs, embedder_for_pairs("hashed", pairs), seed=seed))
    return learned.reward


# ---------------------------------------------------------------------------------- noise


@claim(
    system="rDPO",
    paper="Ray Chowdhury et al. (2024), Provably robust DPO, section 6",
    method="rdpo",
    world="lists",
    says="Where three preferences in ten are turned round, the de-biased loss beats DPO.",
    expected=[
        above("over_dpo", "true utility: rDPO less DPO, a flip rate of 0.3, known to rDPO; beta "
               "0.5"),
        above("over_cdpo", "the same, rDPO less conservative DPO"),
        above("over_base", "the same, rDPO less the policy before"),
        Expected(
            "over_dpo_soft",
            "rDPO less DPO with beta 0.1, where both losses are nearly linear: no worse",
            size=(-0.02, 0.2),
        ),
    ],
)  # fmt: skip
def rdpo(seed: int) -> Mapping[str, float]:
    """Train four epochs on preferences of which three in ten are wrong, at random.

    With the usual beta of 0.1 the losses are too far from saturation for a wrong label to weigh
    more than a right one, and the two methods are the same; so both were tried.
    """
    with trial("lists", seed) as bench:
        noisy = _preferences(bench, noise=0.3)

        def value(method: str, **options: float) -> float:
            return bench.utility(bench.learned(method, noisy, epochs=4.0, **options))

        robust = value("rdpo", flip_rate=0.3, beta=0.5)
        return {
            "over_dpo": robust - value("dpo", beta=0.5),
            "over_cdpo": robust - value("cdpo", label_smoothing=0.3, beta=0.5),
            "over_base": robust - bench.utility(bench.policy),
            "over_dpo_soft": value("rdpo", flip_rate=0.3) - value("dpo"),
        }


# --------------------------------------------------------------------------------- online


@claim(
    system="OAIF",
    paper="Guo et al. (2024), Direct language model alignment from online AI feedback, section 4",
    method="dpo, online",
    world="lists",
    says="DPO on samples of the current policy beats DPO on as many labels that were there before.",
    expected=[
        Expected(
            "win_rate",
            "win rate by true utility, ties half: online over offline, 600 compared pairs each",
            above=0.5,
            paper="online over offline DPO: 63 % of human judgements on TL;DR, ties apart",
            bounds=(0.0, 1.0),
        ),
        above("gain", "true utility: online less offline"),
    ],
)
def oaif(seed: int) -> Mapping[str, float]:
    """Compare two samples a prompt: all from the first policy, or from the current one of six."""
    with trial("lists", seed) as bench:
        judge = TrueUtility("lists")
        interactions = bench.answered(600, 2)
        cases = run_sync(RewardJudge(judge, pair_selection="two").give(interactions, seed=seed))
        offline = bench.learned("dpo", bench.training_set(cases))
        plan = OnlineConfig(rounds=6, prompts_per_round=100, num_samples=2, until_flat=False)
        *_, online = bench.online("dpo", judge, plan, prompts=600, pairing="two")
        return {
            "win_rate": bench.win_rate(online, offline),
            "gain": bench.utility(online) - bench.utility(offline),
        }


@claim(
    system="Iterative DPO / multi-step RSO",
    paper="Xiong et al. (2024), Iterative preference learning from human feedback, section 6",
    method="dpo, online with --pair-selection best-worst",
    world="lists",
    says="Iterative DPO, best against worst of the current policy, beats offline DPO and one step "
    "of rejection sampling with as many pairs.",
    expected=[
        above("over_dpo", "true utility: three rounds less offline DPO on pairs drawn at random"),
        above("over_one_step", "true utility: three rounds less one step of best against worst"),
    ],
)
def iterative_dpo(seed: int) -> Mapping[str, float]:
    """Learn from 390 pairs: of two samples, of the ends of four, or of the ends in three rounds."""
    with trial("lists", seed) as bench:
        judge = TrueUtility("lists")
        interactions = bench.answered(390, 4)

        def labelled(pairing: str) -> InMemoryTrainingSet:
            return bench.training_set(
                run_sync(RewardJudge(judge, pair_selection=pairing).give(interactions, seed=seed))
            )

        offline = bench.learned("dpo", labelled("two"))
        once = bench.learned("dpo", labelled("best-worst"))
        plan = OnlineConfig(rounds=3, prompts_per_round=130, num_samples=4, until_flat=False)
        *_, last = bench.online("dpo", judge, plan, prompts=390)
        value = bench.utility(last)
        return {
            "over_dpo": value - bench.utility(offline),
            "over_one_step": value - bench.utility(once),
        }


@claim(
    system="RLHF Workflow",
    paper="Dong et al. (2024), RLHF workflow: from reward modeling to online RLHF, section 5",
    method="dpo, online with a learned reward as judge",
    world="lists",
    says="A preference model learned from people's comparisons, put in their place in online "
    "rounds, gets more out of them than offline DPO.",
    expected=[
        above("over_offline", "true utility: three online rounds less DPO on the comparisons"),
        above("over_base", "true utility: three online rounds less the policy before"),
    ],
)
def rlhf_workflow(seed: int) -> Mapping[str, float]:
    """Spend 400 comparisons on DPO, or on a reward that judges three rounds of best and worst."""
    with trial("lists", seed) as bench:
        human = _preferences(bench)
        proxy = _reward(human, seed=seed)
        plan = OnlineConfig(rounds=3, prompts_per_round=200, num_samples=4, until_flat=False)
        *_, online = bench.online("dpo", proxy, plan, prompts=600)
        value = bench.utility(online)
        return {
            "over_offline": value - bench.utility(bench.learned("dpo", human, **TWICE)),
            "over_base": value - bench.utility(bench.policy),
        }


@claim(
    system="UPO",
    paper="Wang et al. (2024), Uncertainty-enhanced preference optimization, section 4",
    method="dpo, online with --pair-selection certain",
    world="lists",
    says="Pairs whose order is certain hold less noise than pairs picked by the reward's score, "
    "and what is learned from them is better.",
    expected=[
        below("noise", "share of chosen pairs that are truly the other way round: certain less "
               "best against worst"),
        above("gain", "true utility after a round: certain pairs less best against worst"),
    ],
)  # fmt: skip
def upo(seed: int) -> Mapping[str, float]:
    """Choose a pair of four samples by a reward that 150 noisy comparisons taught."""
    with trial("lists", seed) as bench:
        proxy = _reward(_preferences(bench, 150, noise=0.2), seed=seed)
        interactions = bench.answered(PROMPTS, 4)
        noise, value = {}, {}
        for pairing in ("certain", "best-worst"):
            cases = run_sync(
                RewardJudge(proxy, pair_selection=pairing).give(interactions, seed=seed)
            )
            noise[pairing] = _turned_round(bench, cases)
            value[pairing] = bench.utility(bench.learned("dpo", bench.training_set(cases)))
        return {
            "noise": noise["certain"] - noise["best-worst"],
            "gain": value["certain"] - value["best-worst"],
        }


def _turned_round(bench: Trial, cases: Sequence[Case]) -> float:
    """Return the share of pairs in which what is truly worse was preferred; ties are half."""
    wrong = []
    for pair in bench.training_set(cases).views(Pair):
        better, worse = (
            bench.world.score(pair.prompt, text).utility for text in (pair.chosen, pair.rejected)
        )
        wrong.append(0.5 if better == worse else float(better < worse))
    return float(np.mean(wrong))


# ---------------------------------------------------------------------------- other losses


@claim(
    system="SLiC-HF",
    paper="Zhao et al. (2023), SLiC-HF: sequence likelihood calibration with human feedback, 4.2",
    method="slic-hf",
    world="lists",
    says="Calibration on preferences improves on fine-tuning, also with preferences between the "
    "answers of another model.",
    expected=[
        above("over_base", "true utility: SLiC-HF less the fine-tuned policy that it starts from",
               "86 % of wins against the reference summaries, the fine-tuned model's 45 %"),
        above("over_sft", "the same, less fine-tuning on the preferred answers"),
        above("off_policy", "true utility: SLiC-HF on preferences between another model's answers "
               "less the policy before"),
        above("sample_rank", "true utility: SLiC-HF on the ends of four samples, ranked by a "
               "reward that the same preferences taught, less the policy before"),
    ],
)  # fmt: skip
def slic_hf(seed: int) -> Mapping[str, float]:
    """Learn from preferences between own samples, and between those of the world's writer."""
    with trial("lists", seed) as bench:
        own = _preferences(bench)
        writer = Policy(model=NamedSpec(name="writer", options={"world": "lists"}), name="writer")
        other = bench.feedback(bench.answered(PROMPTS, 2, policy=writer), "preference")
        base = bench.utility(bench.policy)
        slic = bench.utility(bench.learned("slic-hf", own, **TWICE))
        sft = bench.utility(bench.learned("sft", bench.preferred(own), **TWICE))
        off_policy = bench.utility(bench.learned("slic-hf", other, **TWICE))
        ranked = RewardJudge(_reward(own, seed=seed)).give(bench.answered(PROMPTS, 4), seed=seed)
        of_ranked = bench.learned("slic-hf", bench.training_set(run_sync(ranked)), **TWICE)
        return {
            "over_base": slic - base,
            "over_sft": slic - sft,
            "off_policy": off_policy - base,
            "sample_rank": bench.utility(of_ranked) - base,
        }


@claim(
    system="Pairwise Cringe Loss",
    paper="Xu et al. (2023), Some things are more CRINGE than others, table 2",
    method="pairwise-cringe",
    world="lists",
    says="The pairwise Cringe loss beats DPO on the same pairs.",
    expected=[
        above("over_dpo", "true utility: Pairwise Cringe less DPO",
               "AlpacaFarm win rates: 54.7 % against 50.2 %"),
        above("over_base", "true utility: Pairwise Cringe less the policy before"),
    ],
)  # fmt: skip
def pairwise_cringe(seed: int) -> Mapping[str, float]:
    """Train by both losses on the same pairs.

    Tried on another seed: weights of the contrast of 1, 0.1 and 0.01, margins of 0, 10 and 30,
    temperatures of 1 and 10, a fifth of the learning rate. None came near DPO; the more the
    contrast counts, the less is gained.
    """
    with trial("lists", seed) as bench:
        return _compared(bench, _preferences(bench), "pairwise-cringe", alpha=0.1)


def _compared(
    bench: Trial, pairs: InMemoryTrainingSet, method: str, **options: object
) -> dict[str, float]:
    """Return what a method gains over DPO on the same feedback, and over the policy before."""
    value = bench.utility(bench.learned(method, pairs, **TWICE, **options))
    dpo = bench.utility(bench.learned("dpo", pairs, **TWICE))
    return {"over_dpo": value - dpo, "over_base": value - bench.utility(bench.policy)}


@claim(
    system="T-REG",
    paper="Zhou et al. (2024), T-REG: preference optimization with token-level reward "
    "regularization, table 1",
    method="t-reg",
    world="mail",
    says="Token rewards that the model finds itself, by a prompt for better and one for worse "
    "answers, make DPO better.",
    expected=[
        above("over_dpo", "true utility: T-REG less DPO",
               "length-controlled win rate on AlpacaEval 2: up to 3.8 points more"),
        above("over_base", "true utility: T-REG less the policy before"),
    ],
)  # fmt: skip
def t_reg(seed: int) -> Mapping[str, float]:
    """Contrast the guidance that the model understands with none."""
    with trial("mail", seed) as bench:
        good = " ".join(GUIDANCE.values())
        return _compared(bench, _preferences(bench, 200), "t-reg", good=good, bad="Hm.")


@claim(
    system="PMPO (probabilistic inference)",
    paper="Abdolmaleki et al. (2024), Preference optimization as probabilistic inference, part 5",
    method="pmpo",
    world="lists",
    says="Good answers alone, bad ones alone and both together each improve the policy.",
    expected=[
        above("good", "true utility gained from labels of good answers alone"),
        above("bad", "the same, from labels of bad answers alone"),
        above("both", "the same, from both"),
    ],
)
def pmpo(seed: int) -> Mapping[str, float]:
    """Label one sample for each of 600 prompts, and use labels of one sort or both."""
    with trial("lists", seed) as bench:
        labels = bench.feedback(bench.answered(600, 1), "label", acceptance_threshold=0.65)
        base = bench.utility(bench.policy)
        return {
            polarity: bench.utility(bench.learned("pmpo", labels, polarity=polarity, **TWICE))
            - base
            for polarity in ("good", "bad", "both")
        }


@claim(
    system="D2O",
    paper="Duan et al. (2024), Negating negatives: alignment without human positive samples, "
    "section 4",
    method="d2o",
    world="lists",
    says="Negatives alone make a policy less harmful, and its answers stay useful.",
    expected=[
        below("harmful", "share of samples as bad as those that were labelled bad: D2O less the "
               "policy before"),
        above("useful", "true utility: D2O less the policy before"),
    ],
)  # fmt: skip
def d2o(seed: int) -> Mapping[str, float]:
    """Label the bad ones among the samples for 600 prompts; bad is a utility below one half."""
    with trial("lists", seed) as bench:
        labels = bench.feedback(bench.answered(600, 1), "label", acceptance_threshold=_BAD)
        learned = bench.learned("d2o", labels, **TWICE)
        before, after = (bench.utilities(policy) for policy in (bench.policy, learned))
        return {
            "harmful": float((after < _BAD).mean() - (before < _BAD).mean()),
            "useful": float(after.mean() - before.mean()),
        }


_BAD = 0.5


# ---------------------------------------------------------------------------------- lists


def _ranked(bench: Trial, prompts: int = 150, size: int = 8) -> InMemoryTrainingSet:
    """Return rankings of so many samples for each prompt."""
    return bench.feedback(bench.answered(prompts, size), "ranking")


@claim(
    system="LiPO",
    paper="Liu et al. (2024), LiPO: listwise preference optimization through learning-to-rank, "
    "table 1",
    method="lipo",
    world="lists",
    says="On rankings of eight answers the lambda-weighted listwise loss beats DPO on their pairs.",
    expected=[
        above("over_dpo", "true utility: LiPO-lambda less DPO on all pairs, each the better of "
               "two betas",
               "proxy reward win rate over the reference on TL;DR: 67.8 % against 63.5 %"),
        above("over_base", "true utility: LiPO-lambda less the policy before"),
    ],
)  # fmt: skip
def lipo(seed: int) -> Mapping[str, float]:
    """Rank eight samples for each of 150 prompts."""
    with trial("lists", seed) as bench:
        return _over_pairwise(bench, "lipo")


def _over_pairwise(bench: Trial, method: str) -> dict[str, float]:
    """Return what a method gains over DPO, each with the better of two betas, and over nothing."""
    ranked = _ranked(bench)

    def value(name: str) -> float:
        learned = [bench.learned(name, ranked, beta=beta, **TWICE) for beta in (0.05, 0.1)]
        return max(bench.utility(policy) for policy in learned)

    gained = value(method)
    return {
        "over_dpo": gained - value("dpo"),
        "over_base": gained - bench.utility(bench.policy),
    }


@claim(
    system="PRO (Preference Ranking Optimization)",
    paper="Song et al. (2023), Preference ranking optimization for human alignment, tables 1, 3",
    method="pro",
    world="lists",
    says="On rankings of eight answers PRO beats DPO on their pairs, and longer rankings teach "
    "more.",
    expected=[
        above("over_dpo", "true utility: PRO less DPO on all pairs, each with the better of two "
               "betas"),
        above("over_base", "true utility: PRO less the policy before"),
        above("longer", "true utility: rankings of eight less rankings of two of these",
               "reward of 3.2 points more with rankings of five than of two"),
    ],
)  # fmt: skip
def pro(seed: int) -> Mapping[str, float]:
    """Rank eight samples for each of 150 prompts, or the first two of them."""
    with trial("lists", seed) as bench:
        result = _over_pairwise(bench, "pro")
        interactions = [
            interaction.model_copy(update={"responses": interaction.responses[:2]})
            for interaction in bench.answered(150, 8)
        ]
        two = bench.learned("pro", bench.feedback(interactions, "ranking"), **TWICE)
        eight = result["over_base"] + bench.utility(bench.policy)
        return {**result, "longer": eight - bench.utility(two)}


# ---------------------------------------------------------------------- constructed pairs


@claim(
    system="OSP",
    paper="Zhai et al. (2024), Online self-preferring language models, section 4",
    method="osp",
    world="lists",
    says="How strongly the model itself prefers one of its answers is worth more than which one.",
    expected=[
        above("over_dpo", "true utility: OSP on self-judged strengths less DPO on the verdicts"),
        above("over_base", "true utility: OSP less the policy before"),
    ],
)
def osp(seed: int) -> Mapping[str, float]:
    """Let the model judge two of its own samples six times, in both orders; no one else is asked.

    The strength of a preference is how far the verdicts are from a draw.
    """
    with trial("lists", seed) as bench:
        interactions = bench.answered(PROMPTS, 2)
        shares = _self_judged(bench, interactions, times=3)
        cases = []
        for interaction, share in zip(interactions, shares, strict=True):
            strength = abs(2 * share - 1)
            preference = Preference(
                interaction=interaction.id,
                annotator=Person("self").annotator,
                a=interaction.responses[0].id,
                b=interaction.responses[1].id,
                verdict="tie" if strength == 0 else "a" if share > 0.5 else "b",
                strength=strength or None,
            )
            cases.append(Case(interaction, (preference,)))
        return _compared(bench, bench.training_set(cases), "osp")


def _self_judged(bench: Trial, interactions: Sequence[Interaction], *, times: int) -> list[float]:
    """Return the share of verdicts for the first response, so many in each order."""
    model = load_policy(bench.policy, bench.store.artifacts).model
    chats = []
    for interaction in interactions:
        texts = [one.text for one in interaction.responses]
        chats += [
            comparison_prompt(interaction.prompt, *texts),
            comparison_prompt(interaction.prompt, *texts[::-1]),
        ]
    requests = [
        Request(messages=chat, sampling=Sampling(max_tokens=96), sample_index=i, seed=bench.seed)
        for chat in chats
        for i in range(times)
    ]
    verdicts = [parse_verdict(one.text) for one in run_sync(model.generate(requests))]
    worth = {"a": 1.0, "b": 0.0}
    values = np.array([worth.get(one or "", 0.5) for one in verdicts]).reshape(-1, 2, times)
    values[:, 1] = 1 - values[:, 1]
    return values.mean(axis=(1, 2)).tolist()


@claim(
    system="RISE (error-injected)",
    paper="Xu et al. (2024), Subtle errors matter: preference learning via error-injected "
    "self-editing, table 1",
    method="rise",
    world="sums",
    says="Errors put into right solutions make preference learning better than DPO at sums.",
    expected=[
        above("over_dpo", "share of samples with the right answer: RISE less DPO on the sampled "
               "pairs, the right solutions imitated as much", "GSM8K and MATH: 3.0 and 7.9 points "
               "over the model before"),
        above("over_base", "the same, RISE less the policy before"),
    ],
)  # fmt: skip
def rise(seed: int) -> Mapping[str, float]:
    """Label four samples for each of 150 sums; the right ones have errors put in."""
    with trial("sums", seed) as bench:
        labels = bench.feedback(
            bench.answered(150, 4), "ranking", "label", acceptance_threshold=0.999
        )
        rise = bench.learned("rise", labels, **TWICE)
        dpo = bench.learned("dpo", labels, **TWICE)
        values = {
            name: bench.aspect(policy, "correct")
            for name, policy in (("rise", rise), ("dpo", dpo), ("base", bench.policy))
        }
        return {
            "over_dpo": values["rise"] - values["dpo"],
            "over_base": values["rise"] - values["base"],
        }


@claim(
    system="LongDPO",
    paper="Ping et al. (2025), LongDPO: unlock better long-form generation abilities for LLMs via "
    "critique-augmented stepwise information, table 2",
    method="step-dpo",
    world="sums",
    says="Preferences between steps that go on from the same beginning teach more than those "
    "between whole answers. Of the system this is the learning; its tree search is not there yet.",
    expected=[
        above("over_dpo", "true utility: step-level less DPO on the same answers"),
        above("over_base", "true utility: step-level DPO less the policy before"),
    ],
)
def longdpo(seed: int) -> Mapping[str, float]:
    """Rank four samples for each of 150 sums; compare them whole, or where they first part."""
    with trial("sums", seed) as bench:
        ranked = bench.feedback(bench.answered(150, 4), "ranking")
        return _compared(bench, ranked, "step-dpo")


@claim(
    system="TPO topic-level overwriting",
    paper="He et al. (2024), A topic-level self-correctional approach to mitigate hallucinations "
    "in MLLMs, table 1",
    method="tpo",
    world="mail",
    says="Answers whose every topic is the best of several samples, against the worst, reduce "
    "what is made up.",
    expected=[
        Expected(
            "fewer_faults",
            "share of false or irrelevant parts per answer that is gone: 1 - after/before",
            above=0.0,
            paper="overall hallucinations reduced by 38 %",
        ),
    ],
)
def tpo(seed: int) -> Mapping[str, float]:
    """Learn the reward of topics from 300 preferences, and the policy from overwritten answers."""
    with trial("mail", seed) as bench:
        learned = bench.learned("tpo", _preferences(bench, 300), **TWICE)
        before, after = (
            np.mean(
                [
                    sum(issue.aspect in ("facts", "relevant") for issue in one.issues)
                    for row in bench.truths(policy, prompts=120)
                    for one in row
                ]
            )
            for policy in (bench.policy, learned)
        )
        return {"fewer_faults": float(1 - after / before)}


@claim(
    system="Counterfactual DPO",
    paper="Butcher (2024), Aligning large language models with counterfactual DPO, section 4",
    method="counterfactual-dpo",
    world="lists",
    says="A style that the model follows when told becomes its own; an instruction can be taught "
    "to be disregarded.",
    expected=[
        above("style", "share of answers in the style, untold: after less before"),
        below("disregarded", "share of answers in the style, told so: after less before, once it "
               "was learned to disregard it"),
    ],
)  # fmt: skip
def counterfactual_dpo(seed: int) -> Mapping[str, float]:
    """Learn the first rule that holds for all prompts, or learn to disregard it."""
    with trial("lists", seed) as bench:
        rule = next(rule for rule in bench.world.rules if rule.scope == "all")
        prompts = bench.feedback(bench.answered(200, 1), "label")
        styled = bench.learned("counterfactual-dpo", prompts, style=rule.text, **TWICE)
        deaf = bench.learned("counterfactual-dpo", prompts, disregard=rule.text, **TWICE)

        def with_rule(policy: Policy) -> Policy:
            return policy.model_copy(update={"system": rule.text})

        return {
            "style": bench.obeys(styled, rule) - bench.obeys(bench.policy, rule),
            "disregarded": bench.obeys(with_rule(deaf), rule)
            - bench.obeys(with_rule(bench.policy), rule),
        }


@claim(
    system="Suri / I-ORPO",
    paper="Pham et al. (2024), Suri: multi-constraint instruction following for long-form text "
    "generation, section 5",
    method="i-orpo",
    world="mail",
    says="Against corrupted instructions, what is asked for finds its way into the text better "
    "than by fine-tuning alone.",
    expected=[
        above("over_sft", "share of what the notes ask for that is there and right (facts and "
               "completeness): I-ORPO less fine-tuning on the same texts"),
        above("over_base", "the same, I-ORPO less the policy before"),
    ],
)  # fmt: skip
def i_orpo(seed: int) -> Mapping[str, float]:
    """Learn from 200 texts that people wrote, under their notes and under corrupted ones."""
    with trial("mail", seed) as bench:
        texts = bench.feedback(bench.answered(200, 1), "demonstration")

        def coverage(policy: Policy) -> float:
            return (bench.aspect(policy, "facts") + bench.aspect(policy, "complete")) / 2

        value = coverage(bench.learned("i-orpo", texts, **TWICE))
        return {
            "over_sft": value - coverage(bench.learned("sft", texts, **TWICE)),
            "over_base": value - coverage(bench.policy),
        }


# ------------------------------------------------------------------------ many steps


@claim(
    system="CPL",
    paper="Hejna et al. (2023), Contrastive preference learning, table 1",
    method="cpl",
    world="a small decision process",
    says="From regret-based preferences between segments of a random agent's doings, without a "
    "reward function, a policy near the optimum is learned; imitating the preferred ones is worse.",
    expected=[
        Expected(
            "solved",
            "share of the way from acting at random to the soft optimum, by discounted reward",
            above=0.9,
        ),
        above("over_sft", "the same, CPL less imitation of the preferred segments",
               "better than SFT in 5 of 6 tasks of MetaWorld, state observations"),
    ],
)  # fmt: skip
def cpl(seed: int) -> Mapping[str, float]:
    """Learn a table of 24 states and 4 actions from 2,000 compared segments of 10 steps.

    Without the bias against what was not seen, since everything was seen; with the usual bias of
    one half the policy stays half way to the random one.
    """
    process = Process.random(seed)
    states, actions = process.segments(4_000, 10, seed=seed)
    first = process.preferred(states, actions, seed=seed)
    best = np.exp(process.advantages() / process.temperature)
    random = process.value(np.full_like(best, 1 / best.shape[1]))

    def solved(policy: Array) -> float:
        return (process.value(policy) - random) / (process.value(best) - random)

    goal = get_objective("cpl").bind(alpha=process.temperature, discount=process.discount, bias=1.0)
    cpl = solved(_segment_policy(states, actions, first, goal))
    sft = solved(_segment_policy(states, actions, first, get_objective("sft").bind()))
    return {"solved": cpl, "over_sft": cpl - sft}


def _segment_policy(states: Array, actions: Array, first: Array, goal: BoundObjective) -> Array:
    """Return the table of a softmax policy that an objective has learned from compared segments.

    Each two segments are the responses of a tree, whose tokens are the actions.
    """
    trees = [
        PromptTree(
            (0,),
            tuple(
                ResponseTokens(tuple(one), label=bool(won))
                for one, won in zip(two, wins, strict=True)
            ),
            pairs=(PairLabel(int(not wins[0]), int(wins[0])),),
        )
        for two, wins in zip(
            actions.reshape(len(first), 2, -1).tolist(),
            np.stack([first, ~first], axis=1).tolist(),
            strict=True,
        )
    ]
    if goal.objective.reduction != "pair":
        trees = [
            PromptTree((0,), tuple(one for one in tree.responses if one.label)) for tree in trees
        ]
        won = np.stack([first, ~first], axis=1).reshape(-1)
        states, actions = states[won], actions[won]
    logits = torch.zeros(STATES, ACTIONS, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    at, done = (torch.as_tensor(one.reshape(-1)) for one in (states, actions))
    for _ in range(300):
        batch = Batch.from_trees(trees, logits.log_softmax(1)[at, done])
        optimizer.zero_grad()
        goal(batch).losses.mean().backward()
        optimizer.step()
    return logits.detach().softmax(1).double().numpy()
