"""Claims of the family SIM: simulated feedback as a substitute for human feedback."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import spearmanr

from backtalk.embedders.registry import embedder_for_pairs
from backtalk.feedback import Interaction, Message, Preference
from backtalk.feedback.conversions import views
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import Pair
from backtalk.models import Model, Request, Sampling
from backtalk.models.run_sync import run_sync
from backtalk.rewards import BradleyTerryReward, Reward, learn_reward
from backtalk.stats.validation import Floats
from backtalk.worlds import get_world
from backtalk.worlds.annotators import Crowd, Person, give_feedback, make_crowd, variance_components
from backtalk.worlds.small import small_model
from backtalk.worlds.train.curriculum import GUIDANCE
from backtalk.worlds.utility import TrueUtility
from claims.claim import Expected, claim

MAIL = get_world("mail")
ALPACA_FARM = (
    "Dubois et al. (2023), AlpacaFarm: a simulation framework for methods that learn from human "
    "feedback"
)


def _sample_texts(
    model: Model,
    prompts: Sequence[Prompt],
    count: int,
    *,
    seed: int,
    temperature: float = 1.0,
) -> list[list[str]]:
    """Return ``count`` samples for each prompt."""
    sampling = Sampling(temperature=temperature, max_tokens=MAIL.max_tokens)
    requests = [
        Request(messages=prompt, sampling=sampling, sample_index=i, seed=seed)
        for prompt in prompts
        for i in range(count)
    ]
    texts = [completion.text for completion in run_sync(model.generate(requests))]
    return [texts[start : start + count] for start in range(0, len(texts), count)]


def _score(reward: Reward, prompts: Sequence[Prompt], texts: Sequence[Sequence[str]]) -> Floats:
    """Return the reward of each sample, shape ``(prompts, samples)``."""
    answers = [(prompt, text) for prompt, row in zip(prompts, texts, strict=True) for text in row]
    return run_sync(reward.score(answers)).mean.reshape(len(prompts), -1)


def _learn_reward(
    prompts: Sequence[Prompt], texts: Sequence[Sequence[str]], people: Crowd
) -> BradleyTerryReward:
    """Return a reward learned from people's preferences between the first two samples."""
    interactions = [
        Interaction.of(prompt, *row[:2]) for prompt, row in zip(prompts, texts, strict=True)
    ]
    pairs = [
        pair for case in people.annotate(interactions, ["preference"]) for pair in views(case, Pair)
    ]
    return run_sync(learn_reward(pairs, embedder_for_pairs("hashed", pairs))).reward


def best_of(n: int, proxy: Floats, truth: Floats) -> float:
    """Return the expected true value of the best of n samples by a proxy.

    The mean over all subsets of size n: the sample of rank i from below is the best of
    ``comb(i - 1, n - 1)`` of the ``comb(N, n)`` subsets.

    Parameters
    ----------
    n : int
        Number of samples to choose from.
    proxy, truth : Floats
        Values of the samples, shape ``(prompts, N)``, with ``N >= n``.
    """
    total = proxy.shape[1]
    order = np.argsort(proxy, axis=1, kind="stable")
    ranked = np.take_along_axis(truth, order, axis=1)
    weights = np.array([math.comb(i, n - 1) / math.comb(total, n) for i in range(total)])
    return float((ranked * weights).sum(axis=1).mean())


LABEL_NOISE = 0.25
"""Share of preferences that AlpacaFarm's annotators flip, its section 3.2."""


@claim(
    system="AlpacaFarm",
    paper=f"{ALPACA_FARM}, section 4.2",
    method="best-of-n",
    world="mail",
    says="Methods rank under simulated feedback as they rank under the judgement that counts.",
    expected=[
        Expected(
            "rank_correlation",
            "Spearman correlation of eight policies' ranks: win rates by 13 noisy simulated "
            "annotators against true utility",
            above=0.0,
            size=(0.9, 1.0),
            paper="0.98 over its methods, simulated against human feedback",
            bounds=(-1.0, 1.0),
        )
    ],
)
def alpacafarm_rankings(seed: int) -> Mapping[str, float]:
    """Rank eight policies by noisy simulated win rates, and by true utility."""
    model = small_model("mail")
    people = make_crowd("mail", 13, seed=seed, noise=LABEL_NOISE, taste=0.03)
    train_prompts = MAIL.prompts("train", 300, seed=seed)
    reward = _learn_reward(train_prompts, _sample_texts(model, train_prompts, 2, seed=seed), people)
    prompts = MAIL.prompts("held-out", 200, seed=seed)
    base = [row[0] for row in _sample_texts(model, prompts, 1, seed=seed + 1000)]
    samples = _sample_texts(model, prompts, 16, seed=seed + 2000)
    scores = _score(reward, prompts, samples)

    def choose(values: Floats, n: int) -> list[str]:
        best = values[:, :n].argmax(axis=1)
        return [row[i] for row, i in zip(samples, best, strict=True)]

    def instructed(*words: str) -> list[Prompt]:
        return [(Message.system(" ".join(words)), *prompt) for prompt in prompts]

    lengths = np.array([[len(text) for text in row] for row in samples])
    policies = {
        "hot": [row[0] for row in _sample_texts(model, prompts, 1, seed=seed, temperature=1.5)],
        "cold": [row[0] for row in _sample_texts(model, prompts, 1, seed=seed, temperature=0.3)],
        "careful": [
            row[0] for row in _sample_texts(model, instructed(*GUIDANCE.values()), 1, seed=seed)
        ],
        "to the point": [
            row[0] for row in _sample_texts(model, instructed(GUIDANCE["irrelevant"]), 1, seed=seed)
        ],
        "best of 4": choose(scores, 4),
        "best of 16": choose(scores, 16),
        "longest of 16": choose(lengths, 16),
        "shortest of 16": choose(-lengths, 16),
    }
    utility = TrueUtility("mail")
    simulated, true = [], []
    for texts in policies.values():
        interactions = [
            Interaction.of(prompt, *pair)
            for prompt, *pair in zip(prompts, texts, base, strict=True)
        ]
        verdicts = [
            preference.verdict
            for case in people.annotate(interactions, ["preference"])
            for preference in case.of(Preference)
        ]
        simulated.append((verdicts.count("a") - verdicts.count("b")) / len(verdicts))
        true.append(float(_score(utility, prompts, [[text] for text in texts]).mean()))
    return {"rank_correlation": float(spearmanr(simulated, true).statistic)}


TASTE = 0.05


@claim(
    system="AlpacaFarm",
    paper=f"{ALPACA_FARM}, sections 3.2 and 4.1",
    method="annotators",
    world="mail",
    says="Simulated annotators disagree among and with themselves as much as they are set to.",
    expected=[
        Expected(
            "agreement_error",
            "agreement of two annotators who turn a quarter of the preferences round, minus the "
            "0.625 that this makes",
            size=(-0.02, 0.02),
            paper="simulated annotators agree with people (0.65) as people with one another (0.66)",
        ),
        Expected(
            "taste_error",
            "standard deviation between annotators of what they find in an answer, recovered by "
            "an analysis of variance, over the 0.05 set, minus 1",
            size=(-0.05, 0.05),
        ),
    ],
)
def alpacafarm_annotators(seed: int) -> Mapping[str, float]:
    """Recover the flip rate and the variance of tastes that a crowd was configured with."""
    model = small_model("mail")
    prompts = MAIL.prompts("held-out", 400, seed=seed)
    texts = _sample_texts(model, prompts, 2, seed=seed)
    interactions = [
        Interaction.of(prompt, *row) for prompt, row in zip(prompts, texts, strict=True)
    ]
    flippers = make_crowd("mail", 6, seed=seed, noise=LABEL_NOISE)
    table = np.array([_signs(interactions, person) for person in flippers.people])
    compared = table[:, (table != 0).all(axis=0)]
    same = [float((compared[i] == compared[j]).mean()) for i in range(6) for j in range(i)]
    agreement = (1 - LABEL_NOISE) ** 2 + LABEL_NOISE**2
    tasters = make_crowd("mail", 12, seed=seed, taste=TASTE)
    utilities = [
        [person.perceived_utility(interaction)[0] for interaction in interactions]
        for person in tasters.people
    ]
    return {
        "agreement_error": float(np.mean(same)) - agreement,
        "taste_error": math.sqrt(variance_components(utilities).annotators_by_items) / TASTE - 1,
    }


def _signs(interactions: Sequence[Interaction], person: Person) -> list[int]:
    """Return 1 if a person prefers the first response, -1 the second, 0 neither."""
    signs = []
    for interaction in interactions:
        (feedback,) = give_feedback(person, "preference", interaction)
        verdict = feedback.verdict if isinstance(feedback, Preference) else ""
        signs.append({"a": 1, "b": -1}.get(verdict, 0))
    return signs


@claim(
    system="AlpacaFarm",
    paper=(
        "Stiennon et al. (2020), Learning to summarize from human feedback, section 4.3; the "
        "reference method best-of-n of AlpacaFarm, section 3.4"
    ),
    method="best-of-n",
    world="mail",
    says="With the truth as reward, the utility of best-of-n follows the mean of the maximum of n.",
    expected=[
        Expected("gain", "utility of best-of-16 over one sample", above=0.0, size=(0.05, 0.6)),
        Expected(
            "deviation",
            "largest difference over n = 2, 4, 8, 16 between the utility of drawn best-of-n and "
            "the expected maximum of n other samples",
            size=(0.0, 0.015),
        ),
    ],
)
def alpacafarm_best_of_n(seed: int) -> Mapping[str, float]:
    """Sample best-of-n, and compute its expectation from other samples."""
    prompts = MAIL.prompts("held-out", 100, seed=seed)
    samples = _sample_texts(small_model("mail"), prompts, 64, seed=seed)
    truth = _score(TrueUtility("mail"), prompts, samples)
    sampled, others = truth[:, :32], truth[:, 32:]
    deviations = []
    for n in (2, 4, 8, 16):
        mean = sampled.reshape(len(prompts), -1, n).max(axis=2).mean()
        deviations.append(abs(mean - best_of(n, others, others)))
    return {
        "gain": best_of(16, truth, truth) - float(truth.mean()),
        "deviation": max(deviations),
    }


MAX_N = 256


@claim(
    system="AlpacaFarm",
    paper=(
        f"{ALPACA_FARM}, section 4.3; the curve is that of Gao et al. (2023), Scaling laws for "
        "reward model overoptimization, figure 1"
    ),
    method="best-of-n",
    world="mail",
    says=(
        "Optimised against a reward learned from noisy preferences, the truth rises, then falls; "
        "learned from clean ones it falls less."
    ),
    expected=[
        Expected("rise", "true utility at its peak over n, minus that of one sample", above=0.0),
        Expected(
            "fall",
            "true utility at its peak over n, minus that of best-of-256, noisy preferences",
            above=0.0,
            size=(0.01, 0.3),
        ),
        Expected(
            "less_with_clean",
            "the fall with noisy preferences minus that with as many clean ones",
            above=0.0,
        ),
        Expected("proxy_rise", "the reward's own rise from one sample to 256, noisy", above=0.0),
    ],
    seeds=10,
)
def alpacafarm_over_optimisation(seed: int) -> Mapping[str, float]:
    """Choose from more and more samples by two learned rewards, and measure true utility."""
    model = small_model("mail")
    train_prompts = MAIL.prompts("train", 150, seed=seed)
    texts = _sample_texts(model, train_prompts, 2, seed=seed)
    prompts = MAIL.prompts("held-out", 32, seed=seed)
    samples = _sample_texts(model, prompts, MAX_N, seed=seed + 1000)
    truth = _score(TrueUtility("mail"), prompts, samples)
    ns = [2**k for k in range(MAX_N.bit_length())]
    falls = {}
    results: dict[str, float] = {}
    for name, noise in (("noisy", LABEL_NOISE), ("clean", 0.0)):
        people = make_crowd("mail", 13, seed=seed, noise=noise, length_bias=0.05)
        proxy = _score(_learn_reward(train_prompts, texts, people), prompts, samples)
        curve = [best_of(n, proxy, truth) for n in ns]
        falls[name] = max(curve) - curve[-1]
        if name == "noisy":
            results = {
                "rise": max(curve) - curve[0],
                "fall": falls[name],
                "proxy_rise": best_of(MAX_N, proxy, proxy) - float(proxy.mean()),
            }
    return {**results, "less_with_clean": falls["noisy"] - falls["clean"]}
