"""The family PREF, where preferences need not be transitive: policies that play against themselves.

All of it is in worlds of a few arms, where the optimum is known; see :mod:`claims.arms`. Half of
the figures are of exact updates, with all pairs of arms weighted by how often they meet, and half
of updates from verdicts that are drawn, as each claim says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.special import log_softmax

from backtalk.feedback.case import Case
from backtalk.stats.nash import exploitability, nash
from claims.arms import Array, Bench, Table, bench, by_rewards, divergence, every_pair
from claims.claim import Expected, claim

MUNOS = "Munos et al. (2023), Nash learning from human feedback"
HU = "Hu et al. (2024), New desiderata for direct preference optimization"
FRESH = 100
"""Settings and worlds were chosen on the seeds from 0 on; measured are those from here on."""


def ring(seed: int, arms: int = 3, *, strength: float = 0.35, noise: float = 0.1) -> Array:
    """Return preferences in which each arm beats those shortly before it, with some noise.

    Parameters
    ----------
    seed
        Of the noise.
    arms
        How many there are, an odd number.
    strength
        By how much more than half of the time.
    noise
        The standard deviation of what is added to that.
    """
    rng = np.random.default_rng([seed, arms])
    steps = (np.arange(arms)[:, None] - np.arange(arms)[None, :]) % arms
    wins = np.where(steps == 0, 0.0, np.where(steps <= arms // 2, strength, -strength))
    drawn = rng.normal(scale=noise, size=(arms, arms))
    return np.asarray(np.clip(0.5 + wins + (drawn - drawn.T) / math.sqrt(2), 0.01, 0.99))


def first(seed: int, arms: int, *, spread: float = 1.0) -> Array:
    """Return the log-probabilities of a first policy, shape ``(1, arms)``."""
    rng = np.random.default_rng([seed, arms, 1])
    return np.asarray(log_softmax(rng.normal(scale=spread, size=(1, arms)), axis=1))


def mixture(one: Array, other: Array, weight: float) -> Array:
    """Return the log-probabilities of ``one ** (1 - weight) * other ** weight``."""
    return np.asarray(log_softmax((1 - weight) * one + weight * other, axis=1))


def of_logs(logs: Array) -> Array:
    """Return the probabilities of the arms of the only prompt."""
    return np.exp(logs[0])


def nash_md_path(at: Bench, game: Array, base: Array, *, tau: float, steps: int) -> list[Array]:
    """Return the policies of exact Nash-MD with the paper's steps, ``2 / (tau (t + 2))``."""
    near = at.policy(base).id
    path = [base]
    for step in range(steps):
        weight = 2 / (step + 2)
        opponent = mixture(path[-1], base, weight)
        cases = every_pair(game[None], np.exp(opponent))
        learned = at.learned("nash-md", path[-1], cases, eta=tau / weight, tau=tau, base=near)
        path.append(learned)
    return path


def nash_mp_path(at: Bench, game: Array, base: Array, *, beta: float, steps: int) -> list[Array]:
    """Return the policies of exact Nash-MP after each two proximal steps."""
    near = at.policy(base).id
    path = [base]
    for _ in range(steps):
        now = path[-1]
        half = at.learned("nash-mp", now, every_pair(game[None], np.exp(now)), beta=beta, base=near)
        cases = every_pair(game[None], np.exp(half))
        path.append(at.learned("nash-mp", half, cases, beta=beta, base=near, reference=now))
    return path


TAU = 0.1


@claim(
    system="Nash-MD (NLHF)",
    paper=f"{MUNOS}, section 5, theorem 1",
    method="nash-md",
    world="arms",
    says=(
        "On preferences that run in a circle the last policy of Nash-MD is near the regularised "
        "Nash policy; that of self-play without the mixture runs away."
    ),
    expected=[
        Expected(
            "exploitability",
            "share of wins above a half of the best response in the regularised game, after 100 "
            "exact steps",
            below=0.02,
            bounds=(0.0, 0.5),
        ),
        Expected("bound", "KL divergence from the Nash policy over the theorem's bound", below=1.0),
        Expected(
            "over_self_play",
            "exploitability in the game itself: the last 20 of 100 policies of self-play, in steps "
            "of size 1 without the mixture, less the last one of Nash-MD",
            above=0.0,
        ),
        Expected(
            "self_play",
            "that of the last 20 policies of self-play, share of wins above a half",
            above=0.1,
            bounds=(0.0, 0.5),
        ),
    ],
    seeds=10,
)
def nash_md(seed: int) -> Mapping[str, float]:
    """Play a noisy ring of three arms from an uneven start."""
    seed += FRESH
    steps = 100
    game, base = ring(seed), first(seed, 3)
    with bench(seed) as at:
        last = nash_md_path(at, game, base, tau=TAU, steps=steps)[-1]
        alone = [base]
        for _ in range(steps):
            cases = every_pair(game[None], np.exp(alone[-1]))
            alone.append(at.learned("nash-md", alone[-1], cases, eta=1.0, tau=0.0))
    target = nash(game, reference=of_logs(base), tau=TAU)
    away = divergence(np.log(target)[None], last)
    own = exploitability(game, of_logs(last))
    lost = float(np.mean([exploitability(game, of_logs(each)) for each in alone[-20:]]))
    return {
        "exploitability": exploitability(game, of_logs(last), reference=of_logs(base), tau=TAU),
        "bound": away / (8 / (TAU**2 * (steps + 1))),
        "over_self_play": lost - own,
        "self_play": lost,
    }


BETA = 0.1


@claim(
    system="Nash-MP (Nash Mirror Prox)",
    paper=(
        "Tiapkin et al. (2025), Accelerating Nash learning from human feedback via mirror prox, "
        "theorem 1"
    ),
    method="nash-mp",
    world="arms",
    says=(
        "The KL divergence to the regularised Nash policy falls at least as (1 + 2 beta)^(-N/2) "
        "in N exact queries, for few arms and for many."
    ),
    expected=[
        Expected(
            "slower_3",
            "decay of log KL a query over 40 queries, plus log(1 + 2 beta) / 2; 3 arms, beta 0.1",
            below=0.0,
        ),
        Expected("slower_9", "the same with 9 arms", below=0.0),
        Expected("slower_27", "the same with 27 arms", below=0.0),
        Expected(
            "below_nash_md",
            "log of the KL divergence after 40 queries: Nash-MP less Nash-MD, 9 arms",
            below=0.0,
        ),
    ],
)
def nash_mp(seed: int) -> Mapping[str, float]:
    """Measure the rate from an uneven start on rings of several sizes."""
    seed += FRESH
    results: dict[str, float] = {}
    queries = 40
    with bench(seed) as at:
        for arms in (3, 9, 27):
            game, base = ring(seed, arms), first(seed, arms)
            target = np.log(nash(game, reference=of_logs(base), tau=BETA))[None]
            path = nash_mp_path(at, game, base, beta=BETA, steps=queries // 2)
            away = [divergence(target, each) for each in path]
            decay = (math.log(away[-1]) - math.log(away[0])) / queries
            results[f"slower_{arms}"] = decay + math.log(1 + 2 * BETA) / 2
            if arms == 9:
                other = nash_md_path(at, game, base, tau=BETA, steps=queries)[-1]
                results["below_nash_md"] = math.log(away[-1] / divergence(target, other))
    return results


ROUNDS = 30
ANSWERS = 150
BETAS = (0.1, 0.5, 2.0)


@claim(
    system="INPO",
    paper=(
        "Zhang et al. (2024), Iterative Nash policy optimization, theorem 3; table 1 has it above "
        "iterative DPO under a Bradley-Terry model"
    ),
    method="inpo",
    world="arms",
    says=(
        "Where preferences run in a circle, INPO ends nearer to a policy that nobody wins against "
        "than iterative DPO on as many verdicts."
    ),
    expected=[
        Expected(
            "less_exploitable",
            "share of wins of the best response: iterative DPO, with the best of three betas, less "
            "INPO; mean of the last ten of 30 rounds of 150 drawn verdicts",
            above=0.0,
        ),
        Expected("exploitability", "that of INPO, above a half", below=0.15, bounds=(0.0, 0.5)),
    ],
    seeds=10,
)
def inpo(seed: int) -> Mapping[str, float]:
    """Learn from drawn verdicts on one's own answers, on a ring of three arms and two poor ones."""
    seed += FRESH
    game = with_poor(ring(seed), 2)
    base = first(seed, len(game))
    judge = Table(game[None])

    def played(learn: Callable[[Array, list[Case]], Array]) -> float:
        """Return the mean exploitability of the last ten policies."""
        path = [base]
        for number in range(ROUNDS):
            now = path[-1]
            cases = at.answers([now, now], ANSWERS, seed=1000 * seed + number, judge=judge)
            path.append(learn(now, cases))
        return float(np.mean([exploitability(game, of_logs(each)) for each in path[-10:]]))

    with bench(seed) as at:
        near = at.policy(base).id
        own = played(
            lambda now, cases: at.learned("inpo", now, cases, eta=1.0, tau=0.05, base=near)
        )
        others = [
            played(
                lambda now, cases, beta=beta: at.learned(
                    "dpo", now, cases, beta=beta, reference=base, within=10.0
                )
            )
            for beta in BETAS
        ]
    return {"less_exploitable": min(others) - own, "exploitability": own}


def with_poor(game: Array, count: int) -> Array:
    """Return a game with arms that lose nine times in ten against those of another."""
    arms = len(game) + count
    result = np.full((arms, arms), 0.5)
    result[: len(game), : len(game)] = game
    result[: len(game), len(game) :] = 0.9
    result[len(game) :, : len(game)] = 0.1
    return result


@claim(
    system="DNO",
    paper=(
        "Rosset et al. (2024), Direct Nash optimization, sections 3 and 4; a model of 7B wins "
        "against its teacher and 33 % against GPT-4-Turbo"
    ),
    method="dno",
    world="arms",
    says=(
        "The mean policy of DNO comes near the Nash policy of preferences that run in a circle; "
        "from pairs with a margin of win rates it learns to win against its teacher."
    ),
    expected=[
        Expected(
            "exploitability",
            "share of wins above a half of the best response to the mean policy of 100 exact "
            "rounds, soft labels",
            below=0.05,
            bounds=(0.0, 0.5),
        ),
        Expected(
            "below_start", "that of the mean policy less that of the first one", below=0.0
        ),
        Expected(
            "over_teacher",
            "win rate over the teacher, whose answers are in the pool, after eight rounds of five "
            "answers to 60 prompts",
            above=0.5,
            bounds=(0.0, 1.0),
        ),
        Expected(
            "before", "win rate over the teacher before", below=0.5, bounds=(0.0, 1.0)
        ),
    ],
)  # fmt: skip
def dno(seed: int) -> Mapping[str, float]:
    """Play a ring of three exactly; then learn beside a teacher where some arms are better."""
    seed += FRESH
    game, base = ring(seed), first(seed, 3)
    with bench(seed) as at:
        path = [base]
        for _ in range(100):
            cases = every_pair(game[None], np.exp(path[-1]))
            path.append(at.learned("dno", path[-1], cases, eta=1.0, gap=0.0, labels="soft"))
        rewards, table, teacher = pupils(seed)
        probabilities = by_rewards(rewards)
        learned = taught(at, table, teacher, Table(probabilities), seed=seed)
    mean = np.mean([of_logs(each) for each in path[:-1]], axis=0)
    return {
        "exploitability": exploitability(game, mean),
        "below_start": exploitability(game, mean) - exploitability(game, of_logs(base)),
        "over_teacher": win_rate(learned, teacher, probabilities),
        "before": win_rate(table, teacher, probabilities),
    }


def pupils(seed: int) -> tuple[Array, Array, Array]:
    """Return rewards, a first policy and a better teacher, shape ``(prompts, arms)`` each."""
    rng = np.random.default_rng([seed, 5])
    rewards = rng.normal(scale=1.5, size=(60, 8))
    table = log_softmax(rng.normal(scale=0.5, size=rewards.shape), axis=1)
    return rewards, table, np.asarray(log_softmax(table + 0.5 * rewards, axis=1))


def taught(at: Bench, table: Array, teacher: Array, judge: Table, *, seed: int) -> Array:
    """Return a policy after eight rounds of DNO beside a teacher."""
    now = table
    for number in range(8):
        cases = at.answers([*[now] * 4, teacher], 1, seed=100 * seed + number, judge=judge)
        now = at.learned("dno", now, cases, eta=0.5, within=4.0)
    return now


def win_rate(one: Array, other: Array, probabilities: Array) -> float:
    """Return how often the answer of one table is better than that of another."""
    return float(np.einsum("pa,pab,pb->p", np.exp(one), probabilities, np.exp(other)).mean())


RARE = 1e-3
BONUS = 0.02
LABELS = 6
"""How many a prompt gets at a time."""


@claim(
    system="XPO",
    paper="Xie et al. (2024), Exploratory preference optimization, theorem 3.1 and section 3.3",
    method="xpo",
    world="arms",
    says=(
        "Where the first policy hardly ever gives the best answer, online DPO with the bonus finds "
        "it with few labels, and without the bonus stalls."
    ),
    expected=[
        Expected(
            "found",
            "share of the prompts of which 72 labels show that the best arm is the best",
            above=0.6,
            bounds=(0.0, 1.0),
        ),
        Expected(
            "found_without",
            "the same with a bonus of weight 0: online DPO",
            below=0.3,
            bounds=(0.0, 1.0),
        ),
        Expected(
            "labels_saved",
            "labels a prompt until half of the best arms are found, 72 where they never are: DPO "
            "less XPO",
            above=0.0,
        ),
    ],
)
def xpo(seed: int) -> Mapping[str, float]:
    """Learn the best of eight arms that the first policy draws once in a thousand times."""
    seed += FRESH
    rng = np.random.default_rng([seed, 9])
    prompts, arms = 12, 8
    rewards = rng.uniform(0.0, 1.0, size=(prompts, arms))
    rewards[:, -1] = 3.0
    probabilities = np.full((prompts, arms), (1 - RARE) / (arms - 1))
    probabilities[:, -1] = RARE
    judge = Table(by_rewards(rewards))
    bold, plain = (
        explored(np.log(probabilities), judge, seed=seed, alpha=alpha, rounds=12)
        for alpha in (BONUS, 0.0)
    )
    return {
        "found": bold[-1],
        "found_without": plain[-1],
        "labels_saved": LABELS * (until(plain, 0.5) - until(bold, 0.5)),
    }


def explored(base: Array, judge: Table, *, seed: int, alpha: float, rounds: int) -> list[float]:
    """Return after each round for which share of the prompts the last arm is shown to be the best.

    That is where it is the most probable one after DPO on all labels so far.
    """
    now, result = base, []
    cases: list[Case] = []
    alike = {"beta": 0.25, "within": 12.0}
    with bench(seed) as at:
        for number in range(rounds):
            cases += at.answers([now, base], LABELS, seed=1000 * seed + number, judge=judge)
            now = at.learned("xpo", now, cases, alpha=alpha, reference=base, **alike)
            shown = at.learned("dpo", base, cases, **alike)
            result.append(float((shown.argmax(axis=1) == base.shape[1] - 1).mean()))
    return result


def until(shares: Sequence[float], enough: float) -> float:
    """Return after how many rounds a share is first reached; all of them where it never is."""
    reached = [index for index, share in enumerate(shares, 1) if share >= enough]
    return float(reached[0] if reached else len(shares))


@claim(
    system="SPAC",
    paper=(
        "Ji et al. (2024), Self-play with adversarial critic, theorem 1: convergence where the "
        "labels cover one good policy"
    ),
    method="spac",
    world="arms",
    says=(
        "From labels that hardly cover the poor answers SPAC learns a better policy than DPO, and "
        "is close to it where they cover all."
    ),
    expected=[
        Expected(
            "partial",
            "mean reward: SPAC less DPO with the best of three betas, where 3 % of the answers "
            "that were compared are of the poor half",
            above=0.0,
        ),
        Expected(
            "worst",
            "the same in the worst tenth of the prompts of each",
            above=0.0,
        ),
        Expected("middle", "mean reward: SPAC less DPO, 10 %", above=0.0),
        Expected(
            "less_with_coverage",
            "what SPAC is above DPO by: at 3 % less at 50 %",
            above=0.0,
        ),
        Expected("full", "mean reward: SPAC less DPO, 50 %", size=(-0.15, 0.15)),
        Expected("gain", "mean reward of SPAC over the first policy, 3 %", above=0.0),
    ],
)
def spac(seed: int) -> Mapping[str, float]:
    """Learn from labels that were there before, with good and with poor coverage."""
    seed += FRESH
    rewards, values = zip(*(covered(seed, share) for share in (0.03, 0.1, 0.5)), strict=True)
    gains = [
        float(((np.exp(each["spac"]) - np.exp(each["dpo"])) * reward).sum(axis=1).mean())
        for reward, each in zip(rewards, values, strict=True)
    ]
    before, dpo, spac = (
        np.sort((np.exp(values[0][name]) * rewards[0]).sum(axis=1))
        for name in ("first", "dpo", "spac")
    )
    tenth = len(dpo) // 10
    return {
        "partial": gains[0],
        "worst": float((spac - dpo)[:tenth].mean()),
        "middle": gains[1],
        "less_with_coverage": gains[0] - gains[2],
        "full": gains[2],
        "gain": float((spac - before).mean()),
    }


def covered(seed: int, share: float) -> tuple[Array, dict[str, Array]]:
    """Return rewards, and the policies before and after DPO and SPAC on the same labels.

    Parameters
    ----------
    seed
        Of all that is drawn.
    share
        How many of the answers that are compared are of the second, poor half of the arms.
    """
    rng = np.random.default_rng([seed, 21])
    prompts, arms, labels = 100, 8, 40
    rewards = rng.normal(size=(prompts, arms))
    rewards[:, arms // 2 :] -= 1.5
    often = np.full((prompts, arms), (1 - share) / (arms // 2))
    often[:, arms // 2 :] = share / (arms // 2)
    base = np.log(np.full((prompts, arms), 1 / arms))
    judge = Table(by_rewards(rewards))
    with bench(seed) as at:
        cases = at.answers([np.log(often)] * 2, labels, seed=seed, judge=judge)
        others = [
            at.learned("dpo", base, cases, beta=beta, within=10.0) for beta in (0.1, 0.3, 1.0)
        ]
        spac = base
        for _ in range(3):
            spac = at.learned("spac", spac, cases, beta=0.1, fit=20.0, samples=8, within=10.0)
    dpo = max(others, key=lambda logs: float((np.exp(logs) * rewards).sum()))
    return rewards, {"first": base, "dpo": dpo, "spac": spac}


@claim(
    system="DPO-desiderata loss",
    paper=f"{HU}, theorems 1 and 2, figures 1 and 2",
    method="dpo-desiderata",
    world="arms",
    says=(
        "The loss keeps a policy that already is as people prefer and mends others at once, and "
        "goes from their preferences to the reference; DPO does neither."
    ),
    expected=[
        Expected(
            "kept", "KL divergence, in nats, from the preferred policy where the reference is it",
            below=0.05,
        ),
        Expected(
            "kept_better",
            "that of DPO less that of the loss, where DPO mends the bad prompts as much",
            above=0.0,
        ),
        Expected(
            "mended",
            "share of the KL divergence from the preferred policy that is gone where the "
            "reference is bad",
            above=0.5,
        ),
        Expected(
            "reaches_preferences",
            "least KL divergence from the preferred policy on bad prompts over all "
            "regularisations: DPO less the loss",
            above=0.0,
        ),
        Expected(
            "reaches_reference",
            "KL divergence from the reference at the strongest regularisation, on bad prompts",
            below=0.05,
        ),
    ],
)  # fmt: skip
def dpo_desiderata(seed: int) -> Mapping[str, float]:
    """Learn from drawn verdicts on prompts with a good reference and on others with a bad one."""
    seed += FRESH
    rng = np.random.default_rng([seed, 33])
    prompts, arms = 12, 8
    rewards = rng.normal(size=(prompts, arms))
    target = log_softmax(rewards, axis=1)
    good = np.arange(prompts) < prompts // 2
    base = log_softmax(np.where(good[:, None], target, rng.normal(size=(prompts, arms))), axis=1)
    judge = Table(by_rewards(rewards))

    def away(logs: Array, rows: Array) -> float:
        return divergence(target[rows], logs[rows])

    with bench(seed) as at:
        cases = at.answers([base, base], 600, seed=seed, judge=judge)
        ours = {
            weight: at.learned("dpo-desiderata", base, cases, regulariser=weight)
            for weight in STRENGTHS
        }
        theirs = {beta: at.learned("dpo", base, cases, beta=beta) for beta in STRENGTHS}
    default = ours[0.1]
    mended = away(default, ~good)
    as_much = [
        logs
        for logs in theirs.values()
        if away(logs, ~good) <= max(mended, least(theirs, away, ~good))
    ]
    return {
        "kept": away(default, good),
        "kept_better": min(away(logs, good) for logs in as_much) - away(default, good),
        "mended": 1 - mended / away(base, ~good),
        "reaches_preferences": least(theirs, away, ~good) - least(ours, away, ~good),
        "reaches_reference": divergence(base[~good], ours[max(STRENGTHS)][~good]),
    }


STRENGTHS = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
"""How strongly policies are held near the reference: beta of DPO, the other's regulariser."""


def least(
    paths: Mapping[float, Array], away: Callable[[Array, Array], float], rows: Array
) -> float:
    """Return the least divergence over all regularisations."""
    return min(away(logs, rows) for logs in paths.values())
