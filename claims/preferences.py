"""Claims of the family PREF: fine-tuning on preferences.

Unless a claim states otherwise, compared methods share prompts, responses, feedback and the number
of epochs, and run with their default options. Figures are of samples at temperature 1 for held-out
prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from backtalk.embedders.registry import embedder_for_pairs
from backtalk.feedback import Interaction, Preference
from backtalk.feedback.case import Case
from backtalk.feedback.views import Pair, SFTExample
from backtalk.learn.finetune import Batch, get_objective
from backtalk.learn.finetune.objective import BoundObjective
from backtalk.learn.finetune.trees import PairLabel, PromptTree, ResponseTokens
from backtalk.learn.online.feedback_sources import InMemoryTrainingSet, RewardJudge
from backtalk.learn.online.loop import OnlineConfig
from backtalk.models import Request, Sampling
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, load_policy, save_policy
from backtalk.rewards import BradleyTerryReward, learn_reward
from backtalk.stats.validation import Floats
from backtalk.worlds.annotators import Person
from backtalk.worlds.skills import comparison_prompt, parse_verdict
from backtalk.worlds.train.curriculum import GUIDANCE
from backtalk.worlds.utility import TrueUtility
from claims.claim import Control, Expected, above, below, claim
from claims.controls import rotation, shuffled
from claims.decisions import ACTIONS, STATES, Process
from claims.learning import Trial, open_trial

PROMPTS = 400
"""Number of prompts with preferences."""
TWICE = {"epochs": 2.0}
SHUFFLED_LABELS = "labels shuffled between prompts"


def _preferences(
    trial: Trial, prompts: int = PROMPTS, **person_options: float
) -> InMemoryTrainingSet:
    """Return preferences between two samples of the policy for each prompt."""
    return trial.feedback(trial.sample_interactions(prompts, 2), "preference", **person_options)


def _reward(feedback: InMemoryTrainingSet, *, seed: int) -> BradleyTerryReward:
    """Return a reward learned from preferences."""
    pairs = feedback.views(Pair)
    learned = run_sync(learn_reward(pairs, embedder_for_pairs("hashed", pairs), seed=seed))
    return learned.reward


def _shuffled(trial: Trial, feedback: InMemoryTrainingSet) -> InMemoryTrainingSet:
    """Return the feedback with that of each prompt moved to the answers to another prompt."""
    return trial.training_set(shuffled(feedback.every_case(), seed=trial.seed))


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
    """Train four epochs on preferences of which a random 30 % are flipped.

    With the default beta of 0.1 both losses are far from saturation. A wrong label then has no more
    weight than a right one, and the two methods agree. Therefore both values are measured.
    """
    with open_trial("lists", seed) as trial:
        noisy = _preferences(trial, noise=0.3)

        def value(method: str, **options: float) -> float:
            return trial.utility(trial.learn(method, noisy, epochs=4.0, **options))

        robust = value("rdpo", flip_rate=0.3, beta=0.5)
        return {
            "over_dpo": robust - value("dpo", beta=0.5),
            "over_cdpo": robust - value("cdpo", label_smoothing=0.3, beta=0.5),
            "over_base": robust - trial.utility(trial.policy),
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
    """Compare two samples per prompt: of the initial policy, or of the current one of six."""
    with open_trial("lists", seed) as trial:
        judge = TrueUtility("lists")
        interactions = trial.sample_interactions(600, 2)
        cases = run_sync(RewardJudge(judge, pair_selection="two").give(interactions, seed=seed))
        offline = trial.learn("dpo", trial.training_set(cases))
        config = OnlineConfig(rounds=6, prompts_per_round=100, num_samples=2, until_flat=False)
        *_, online = trial.learn_online("dpo", judge, config, prompts=600, pair_selection="two")
        return {
            "win_rate": trial.win_rate(online, offline),
            "gain": trial.utility(online) - trial.utility(offline),
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
    """Learn from 390 pairs: two samples, best and worst of four, or the latter in three rounds."""
    with open_trial("lists", seed) as trial:
        judge = TrueUtility("lists")
        interactions = trial.sample_interactions(390, 4)

        def labelled(pair_selection: str) -> InMemoryTrainingSet:
            return trial.training_set(
                run_sync(
                    RewardJudge(judge, pair_selection=pair_selection).give(interactions, seed=seed)
                )
            )

        offline = trial.learn("dpo", labelled("two"))
        once = trial.learn("dpo", labelled("best-worst"))
        config = OnlineConfig(rounds=3, prompts_per_round=130, num_samples=4, until_flat=False)
        *_, last = trial.learn_online("dpo", judge, config, prompts=390)
        value = trial.utility(last)
        return {
            "over_dpo": value - trial.utility(offline),
            "over_one_step": value - trial.utility(once),
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
    """Use 400 comparisons for DPO, or for a reward that judges three best-worst rounds."""
    with open_trial("lists", seed) as trial:
        human = _preferences(trial)
        proxy = _reward(human, seed=seed)
        config = OnlineConfig(rounds=3, prompts_per_round=200, num_samples=4, until_flat=False)
        *_, online = trial.learn_online("dpo", proxy, config, prompts=600)
        value = trial.utility(online)
        return {
            "over_offline": value - trial.utility(trial.learn("dpo", human, **TWICE)),
            "over_base": value - trial.utility(trial.policy),
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
    """Select a pair of four samples by a reward learned from 150 noisy comparisons."""
    with open_trial("lists", seed) as trial:
        proxy = _reward(_preferences(trial, 150, noise=0.2), seed=seed)
        interactions = trial.sample_interactions(PROMPTS, 4)
        noise, value = {}, {}
        for pair_selection in ("certain", "best-worst"):
            cases = run_sync(
                RewardJudge(proxy, pair_selection=pair_selection).give(interactions, seed=seed)
            )
            noise[pair_selection] = _flip_rate(trial, cases)
            value[pair_selection] = trial.utility(trial.learn("dpo", trial.training_set(cases)))
        return {
            "noise": noise["certain"] - noise["best-worst"],
            "gain": value["certain"] - value["best-worst"],
        }


def _flip_rate(trial: Trial, cases: Sequence[Case]) -> float:
    """Return the share of pairs with the truly worse response preferred; ties count half."""
    wrong = []
    for pair in trial.training_set(cases).views(Pair):
        better, worse = (
            trial.world.score(pair.prompt, text).utility for text in (pair.chosen, pair.rejected)
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
    """Learn from preferences between the policy's samples, and between those of the writer."""
    with open_trial("lists", seed) as trial:
        feedback = _preferences(trial)
        writer = Policy(model=NamedSpec(name="writer", options={"world": "lists"}), name="writer")
        writer_feedback = trial.feedback(
            trial.sample_interactions(PROMPTS, 2, policy=writer), "preference"
        )
        base = trial.utility(trial.policy)
        slic = trial.utility(trial.learn("slic-hf", feedback, **TWICE))
        sft = trial.utility(trial.learn("sft", trial.preferred_demonstrations(feedback), **TWICE))
        off_policy = trial.utility(trial.learn("slic-hf", writer_feedback, **TWICE))
        ranked = RewardJudge(_reward(feedback, seed=seed)).give(
            trial.sample_interactions(PROMPTS, 4), seed=seed
        )
        rank_policy = trial.learn("slic-hf", trial.training_set(run_sync(ranked)), **TWICE)
        return {
            "over_base": slic - base,
            "over_sft": slic - sft,
            "off_policy": off_policy - base,
            "sample_rank": trial.utility(rank_policy) - base,
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
    """Train with both losses on the same pairs.

    Also tried, on another seed: contrast weights of 1, 0.1 and 0.01, margins of 0, 10 and 30,
    temperatures of 1 and 10, and a fifth of the learning rate. None came near DPO. The gain falls
    as the weight of the contrast rises.
    """
    with open_trial("lists", seed) as trial:
        return _gains_over_dpo(trial, _preferences(trial), "pairwise-cringe", alpha=0.1)


def _gains_over_dpo(
    trial: Trial, pairs: InMemoryTrainingSet, method: str, **options: object
) -> dict[str, float]:
    """Return the gain in utility over DPO on the same feedback, and over the initial policy."""
    value = trial.utility(trial.learn(method, pairs, **TWICE, **options))
    dpo = trial.utility(trial.learn("dpo", pairs, **TWICE))
    return {"over_dpo": value - dpo, "over_base": value - trial.utility(trial.policy)}


@claim(
    system="T-REG",
    paper="Zhou et al. (2024), T-REG: preference optimization with token-level reward "
    "regularization, table 1",
    method="t-reg",
    world="mail",
    says="Token rewards that the model finds itself, by a prompt for better and one for worse "
    "answers, make DPO better.",
    expected=[
        above("over_dpo", "true utility: T-REG with its default prompts less DPO",
               "length-controlled win rate on AlpacaEval 2: up to 3.8 points more"),
        above("chosen", "the same, with a prompt that the model was trained to understand"),
        above("over_base", "true utility: T-REG less the policy before"),
    ],
)  # fmt: skip
def t_reg(seed: int) -> Mapping[str, float]:
    """Contrast the default prompts, and a prompt with the guidance of the world and one without."""
    with open_trial("mail", seed) as trial:
        good = " ".join(GUIDANCE.values())
        pairs = _preferences(trial, 200)
        value = {
            name: trial.utility(trial.learn(method, pairs, **TWICE, **options))
            for name, method, options in (
                ("default", "t-reg", {}),
                ("chosen", "t-reg", {"good": good, "bad": "Hm."}),
                ("dpo", "dpo", {}),
            )
        }
        return {
            "over_dpo": value["default"] - value["dpo"],
            "chosen": value["chosen"] - value["dpo"],
            "over_base": value["default"] - trial.utility(trial.policy),
        }


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
    """Label one sample for each of 600 prompts, and use good labels, bad labels or both."""
    with open_trial("lists", seed) as trial:
        labels = trial.feedback(
            trial.sample_interactions(600, 1), "label", acceptance_threshold=0.65
        )
        base = trial.utility(trial.policy)
        return {
            polarity: trial.utility(trial.learn("pmpo", labels, polarity=polarity, **TWICE)) - base
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
    controls=[
        Control("shuffled_harmful", SHUFFLED_LABELS, "harmful"),
        Control("shuffled_useful", SHUFFLED_LABELS, "useful"),
    ],
)  # fmt: skip
def d2o(seed: int) -> Mapping[str, float]:
    """Label one sample for each of 600 prompts as bad if its utility is below 0.5."""
    with open_trial("lists", seed) as trial:
        labels = trial.feedback(
            trial.sample_interactions(600, 1), "label", acceptance_threshold=_BAD
        )
        before = trial.utilities(trial.policy)
        results: dict[str, float] = {}
        for prefix, data in (("", labels), ("shuffled_", _shuffled(trial, labels))):
            after = trial.utilities(trial.learn("d2o", data, **TWICE))
            results[f"{prefix}harmful"] = float((after < _BAD).mean() - (before < _BAD).mean())
            results[f"{prefix}useful"] = float(after.mean() - before.mean())
        return results


_BAD = 0.5


# ---------------------------------------------------------------------------------- lists


def _ranked(trial: Trial, prompts: int = 150, size: int = 8) -> InMemoryTrainingSet:
    """Return rankings of ``size`` samples for each prompt."""
    return trial.feedback(trial.sample_interactions(prompts, size), "ranking")


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
    with open_trial("lists", seed) as trial:
        return _over_pairwise(trial, "lipo")


def _over_pairwise(trial: Trial, method: str) -> dict[str, float]:
    """Return the gains over DPO and the initial policy, each with the better of two betas."""
    ranked = _ranked(trial)

    def value(name: str) -> float:
        learned = [trial.learn(name, ranked, beta=beta, **TWICE) for beta in (0.05, 0.1)]
        return max(trial.utility(policy) for policy in learned)

    utility = value(method)
    return {
        "over_dpo": utility - value("dpo"),
        "over_base": utility - trial.utility(trial.policy),
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
    with open_trial("lists", seed) as trial:
        result = _over_pairwise(trial, "pro")
        interactions = [
            interaction.model_copy(update={"responses": interaction.responses[:2]})
            for interaction in trial.sample_interactions(150, 8)
        ]
        two = trial.learn("pro", trial.feedback(interactions, "ranking"), **TWICE)
        eight = result["over_base"] + trial.utility(trial.policy)
        return {**result, "longer": eight - trial.utility(two)}


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
    """Let the model judge two of its samples six times, three times in each order.

    The strength of a preference is the distance of the share of verdicts from 0.5, times two.
    """
    with open_trial("lists", seed) as trial:
        interactions = trial.sample_interactions(PROMPTS, 2)
        shares = _self_judged(trial, interactions, times=3)
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
        return _gains_over_dpo(trial, trial.training_set(cases), "osp")


def _self_judged(trial: Trial, interactions: Sequence[Interaction], *, times: int) -> list[float]:
    """Return the share of verdicts for the first response, of ``times`` in each order."""
    model = load_policy(trial.policy, trial.store.artifacts).model
    judge_prompts = []
    for interaction in interactions:
        texts = [response.text for response in interaction.responses]
        judge_prompts += [
            comparison_prompt(interaction.prompt, *texts),
            comparison_prompt(interaction.prompt, *texts[::-1]),
        ]
    requests = [
        Request(messages=prompt, sampling=Sampling(max_tokens=96), sample_index=i, seed=trial.seed)
        for prompt in judge_prompts
        for i in range(times)
    ]
    verdicts = [parse_verdict(completion.text) for completion in run_sync(model.generate(requests))]
    scores = {"a": 1.0, "b": 0.0}
    values = np.array([scores.get(verdict or "", 0.5) for verdict in verdicts]).reshape(
        -1, 2, times
    )
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
    """Label four samples for each of 150 sums, and inject errors into the right ones."""
    with open_trial("sums", seed) as trial:
        labels = trial.feedback(
            trial.sample_interactions(150, 4), "ranking", "label", acceptance_threshold=0.999
        )
        rise = trial.learn("rise", labels, **TWICE)
        dpo = trial.learn("dpo", labels, **TWICE)
        values = {
            name: trial.mean_aspect(policy, "correct")
            for name, policy in (("rise", rise), ("dpo", dpo), ("base", trial.policy))
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
    """Rank four samples for each of 150 sums; compare them whole, or at their first difference."""
    with open_trial("sums", seed) as trial:
        ranked = trial.feedback(trial.sample_interactions(150, 4), "ranking")
        return _gains_over_dpo(trial, ranked, "step-dpo")


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
    """Learn a reward of topics from 300 preferences, and the policy from rewritten answers."""
    with open_trial("mail", seed) as trial:
        learned = trial.learn("tpo", _preferences(trial, 300), **TWICE)
        before, after = (
            np.mean(
                [
                    sum(issue.aspect in ("facts", "relevant") for issue in assessment.issues)
                    for row in trial.assess(policy, prompts=120)
                    for assessment in row
                ]
            )
            for policy in (trial.policy, learned)
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
    controls=[
        Control("imitated_style", "as many epochs of fine-tuning on the answers in the style, "
                "without the plain ones", "style"),
        Control("imitated_disregarded", "as many epochs of fine-tuning on the plain answers, for "
                "prompts with the instruction", "disregarded"),
    ],
)  # fmt: skip
def counterfactual_dpo(seed: int) -> Mapping[str, float]:
    """Learn the first rule that holds for all prompts, or learn to disregard it."""
    with open_trial("lists", seed) as trial:
        rule = next(rule for rule in trial.world.rules if rule.scope == "all")
        prompts = trial.feedback(trial.sample_interactions(200, 1), "label")
        styled = trial.learn("counterfactual-dpo", prompts, style=rule.text, **TWICE)
        disregarding = trial.learn("counterfactual-dpo", prompts, disregard=rule.text, **TWICE)

        def with_rule(policy: Policy) -> Policy:
            return policy.model_copy(update={"system": rule.text})

        instructed = with_rule(trial.policy)
        save_policy(trial.store, instructed)
        imitating = trial.learn("sft", _answers_of(instructed, trial, prompts), **TWICE)
        plain = _answers_of(trial.policy, trial, prompts)
        imitating_plain = trial.learn("sft", plain, policy=instructed, **TWICE)
        untold, in_style = trial.compliance(trial.policy, rule), trial.compliance(instructed, rule)
        return {
            "style": trial.compliance(styled, rule) - untold,
            "disregarded": trial.compliance(with_rule(disregarding), rule) - in_style,
            "imitated_style": trial.compliance(imitating, rule) - untold,
            "imitated_disregarded": trial.compliance(imitating_plain, rule) - in_style,
        }


def _answers_of(policy: Policy, trial: Trial, prompts: InMemoryTrainingSet) -> InMemoryTrainingSet:
    """Return a demonstration for each prompt of the feedback: a sample of a policy, unless empty.

    Parameters
    ----------
    policy : Policy
        Policy that is sampled.
    trial : Trial
        Trial.
    prompts : InMemoryTrainingSet
        Feedback.
    """
    selected = prompts.prompts()
    texts = trial.sample(policy, selected, 1, seed=trial.seed + 1_000)
    return trial.training_set(
        [
            SFTExample(prompt=prompt, completion=text).records()
            for prompt, (text,) in zip(selected, texts, strict=True)
            if text
        ]
    )


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
    """Learn from 200 demonstrations, with their prompts and with corrupted ones."""
    with open_trial("mail", seed) as trial:
        texts = trial.feedback(trial.sample_interactions(200, 1), "demonstration")

        def coverage(policy: Policy) -> float:
            return (trial.mean_aspect(policy, "facts") + trial.mean_aspect(policy, "complete")) / 2

        value = coverage(trial.learn("i-orpo", texts, **TWICE))
        return {
            "over_sft": value - coverage(trial.learn("sft", texts, **TWICE)),
            "over_base": value - coverage(trial.policy),
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
    controls=[
        Control("shuffled_solved", "preferences shuffled between pairs of segments", "solved"),
        Control("shuffled_over_sft", "preferences shuffled between pairs of segments", "over_sft"),
    ],
)  # fmt: skip
def cpl(seed: int) -> Mapping[str, float]:
    """Learn a table of 24 states and 4 actions from 2,000 pairs of segments of 10 steps.

    The conservative bias is off, since all states and actions are in the data. With the default
    bias of 0.5 the policy stays half way to the random one.
    """
    process = Process.random(seed)
    states, actions = process.sample_segments(4_000, 10, seed=seed)
    first_preferred = process.sample_preferences(states, actions, seed=seed)
    best = np.exp(process.advantages() / process.temperature)
    random = process.value(np.full_like(best, 1 / best.shape[1]))

    def solved(policy: Floats) -> float:
        return (process.value(policy) - random) / (process.value(best) - random)

    cpl_objective = get_objective("cpl").bind(
        alpha=process.temperature, discount=process.discount, bias=1.0
    )
    objectives = cpl_objective, get_objective("sft").bind()
    results: dict[str, float] = {}
    order = rotation(len(first_preferred), seed=seed)
    for prefix, preferred in (("", first_preferred), ("shuffled_", first_preferred[order])):
        cpl, sft = (solved(_segment_policy(states, actions, preferred, one)) for one in objectives)
        results |= {f"{prefix}solved": cpl, f"{prefix}over_sft": cpl - sft}
    return results


def _segment_policy(
    states: Floats, actions: Floats, first_preferred: Floats, objective: BoundObjective
) -> Floats:
    """Return the probabilities of a tabular policy trained on compared segments, ``(S, A)``.

    Segments 2 i and 2 i + 1 are the responses of tree i, with actions as tokens.
    """
    trees = [
        PromptTree(
            (0,),
            tuple(
                ResponseTokens(tuple(segment), label=bool(label))
                for segment, label in zip(pair, labels, strict=True)
            ),
            pairs=(PairLabel(int(not labels[0]), int(labels[0])),),
        )
        for pair, labels in zip(
            actions.reshape(len(first_preferred), 2, -1).tolist(),
            np.stack([first_preferred, ~first_preferred], axis=1).tolist(),
            strict=True,
        )
    ]
    if objective.objective.reduction != "pair":
        trees = [
            PromptTree((0,), tuple(response for response in tree.responses if response.label))
            for tree in trees
        ]
        preferred = np.stack([first_preferred, ~first_preferred], axis=1).reshape(-1)
        states, actions = states[preferred], actions[preferred]
    logits = torch.zeros(STATES, ACTIONS, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    state_index, action_index = (torch.as_tensor(array.reshape(-1)) for array in (states, actions))
    for _ in range(300):
        batch = Batch.from_trees(trees, logits.log_softmax(1)[state_index, action_index])
        optimizer.zero_grad()
        objective(batch).losses.mean().backward()
        optimizer.step()
    return logits.detach().softmax(1).double().numpy()
