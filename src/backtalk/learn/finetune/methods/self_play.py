"""Methods in which a policy plays against itself: towards what no other policy wins against.

They learn from comparisons of the policy's own answers, as rounds give them; from a store, they
take the answers that were compared for those of the policy. A preference that is not certain counts
both ways, as often as each verdict would be given, and so does a tie. Preferences need not be
transitive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from scipy.special import expit

from backtalk.errors import BacktalkError
from backtalk.feedback import Interaction
from backtalk.feedback.merge import prompt_key
from backtalk.feedback.views import Pair
from backtalk.learn.context import Count, named_policy
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Chat, Encoder, Text
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.objectives.common import Beta, Weight
from backtalk.learn.finetune.registration import MethodContext, training_method
from backtalk.learn.finetune.tree_builders import kept, pair_trees
from backtalk.learn.finetune.trees import PromptTree, ResponseTokens
from backtalk.learn.method import OnlineDefaults, Paper
from backtalk.models import ContextTooLong, Scorer, load_model
from backtalk.policy import Policy

Share = Annotated[float, Field(ge=0, le=1)]
Answered = tuple[str, str]
"""A prompt's key, and a response's text."""

NASH_MD = Paper(
    "Nash learning from human feedback",
    "Munos et al.",
    2023,
    "https://arxiv.org/abs/2312.00886",
)
NASH_MP = Paper(
    "Accelerating Nash learning from human feedback via mirror prox",
    "Tiapkin et al.",
    2025,
    "https://arxiv.org/abs/2505.19731",
)


@training_method(
    "sppo",
    needs=[Pair],
    paper=find_objective("sppo").paper,
    rounds=OnlineDefaults(update_reference_every=1, pairs="mutual"),
)
async def sppo(work: MethodContext, *, beta: Beta = 1e-3) -> BuildTasks:
    """Self-play preference optimisation: each log-ratio is drawn to how often the response wins.

    Wu et al. (2024), algorithm 1. How often a response beats the policy of this round is estimated
    by how often it beats the other answers that were drawn for its prompt; of a pair alone, the
    better one always wins.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    beta : Beta, default 0.001
        The inverse of the paper's eta: the log-ratio of a response that always wins is drawn to
        ``1 / (2 beta)`` nats.
    """
    bound = find_objective("sppo").bind(beta=beta)

    def trees(encoder: Encoder, pairs: Sequence[Pair]) -> list[PromptTree]:
        rates = win_rates(pairs)
        return pair_trees(
            encoder,
            both_ways(pairs),
            text=lambda prompt, text: Text(text, rates[prompt_key(prompt), text]),
        )

    by_kind = work.feedback.by_kind(Pair)
    return lambda encoder: [
        TrainingTask(kind, bound, trees(encoder, own)) for kind, own in by_kind.items()
    ]


@training_method(
    "dno",
    needs=[Pair],
    paper=find_objective("dno").paper,
    rounds=OnlineDefaults(update_reference_every=1, pairs="mutual"),
)
async def dno(
    work: MethodContext,
    *,
    eta: Beta = 0.1,
    gap: Share = 0.5,
    labels: Literal["hard", "soft"] = "hard",
) -> BuildTasks:
    """Direct Nash optimisation: answers that win often are set against such that seldom do.

    Rosset et al. (2024). The win rate of an answer is how often it beats the other answers that
    were drawn for its prompt, those of a teacher (``--teacher``) among them.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    eta : Beta, default 0.1
        How strongly the policy is held near that of this round.
    gap : Share, default 0.5
        The least difference of win rates of two answers that are set against each other.
    labels : {"hard", "soft"}, default "hard"
        ``"hard"`` takes the more winning one for better, as the paper's algorithm 2; ``"soft"``
        for better with the probability ``sigmoid`` of the difference of win rates, as its
        algorithm 1, whose least gap is 0.
    """
    bound = find_objective("dno").bind(eta=eta)
    by_kind = {
        kind: by_win_rate(own, gap=gap, soft=labels == "soft")
        for kind, own in work.feedback.by_kind(Pair).items()
    }
    return lambda encoder: [
        TrainingTask(kind, bound, pair_trees(encoder, own)) for kind, own in by_kind.items()
    ]


@training_method(
    "inpo",
    needs=[Pair],
    paper=find_objective("inpo").paper,
    rounds=OnlineDefaults(update_reference_every=1, pairs="mutual"),
)
async def inpo(
    work: MethodContext, *, eta: Beta = 0.0075, tau: Weight = 0.0025, base: str | None = None
) -> BuildTasks:
    """Iterative Nash policy optimisation: a step against oneself, held near two policies.

    Zhang et al. (2024), algorithm 1: ``pi`` becomes the one of the largest
    ``P(pi > pi_t) - tau KL(pi, base) - (eta - tau) KL(pi, pi_t)``.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    eta : Beta, default 0.0075
        How strongly the policy is held in a step, to both policies together.
    tau : Weight, default 0.0025
        How strongly it is held near the base.
    base : str, optional
        The policy, by name or id, that it is to stay near; the reference if left out. In rounds,
        the first policy.
    """
    return await _step(work, eta=eta, tau=tau, base=base)


@training_method(
    "nash-md",
    needs=[Pair],
    paper=NASH_MD,
    rounds=OnlineDefaults(update_reference_every=1, sampling="mixture", pairs="mutual"),
)
async def nash_md(
    work: MethodContext, *, eta: Beta = 0.064, tau: Weight = 0.008, base: str | None = None
) -> BuildTasks:
    """Nash-MD: a step against a geometric mixture of oneself and the first policy.

    Munos et al. (2023), section 5: ``pi`` becomes the one of the largest
    ``P(pi > mu) - eta KL(pi, mu)``, where the opponent ``mu`` is ``pi_t ** (1 - tau/eta) base **
    (tau/eta)``. The answers that are compared have to be the opponent's, as rounds draw them token
    by token (``--sampling mixture``, with ``--mixing`` of tau/eta, 0.125 by default); then the
    loss of INPO on them has its least value at this ``pi``. With ``--sampling average`` the
    opponent is the moving average of past policies in its place, as in Nash-EMA.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    eta : Beta, default 0.064
        How strongly the policy is held in a step: the inverse of the paper's learning rate.
    tau : Weight, default 0.008
        How strongly it is held near the base.
    base : str, optional
        As for ``inpo``.
    """
    return await _step(work, eta=eta, tau=tau, base=base)


@training_method(
    "nash-mp",
    needs=[Pair],
    paper=NASH_MP,
    rounds=OnlineDefaults(update_reference_every=2, pairs="mutual"),
)
async def nash_mp(work: MethodContext, *, beta: Beta = 0.01, base: str | None = None) -> BuildTasks:
    """Nash mirror prox: a step to find out where one would go, then one from where one was.

    Tiapkin et al. (2025). One round is one proximal step,
    ``argmax P(pi > mu) - beta KL(pi, base) - 1/2 KL(pi, target)``. In the first of two rounds the
    opponent ``mu`` is the target itself, and in the second one what the first has made; then the
    target moves, slowly, to what the second has made. In the paper's variant for language models
    it moves a little after each step, as an average of weights.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    beta : Beta, default 0.01
        How strongly the policy is held near the base.
    base : str, optional
        As for ``inpo``.
    """
    return await _step(work, eta=beta + 0.5, tau=beta, base=base)


@training_method(
    "spac",
    needs=[Pair],
    paper=find_objective("spac").paper,
    rounds=OnlineDefaults(update_reference_every=1, pairs="mutual"),
)
async def spac(
    work: MethodContext, *, beta: Beta = 0.1, fit: Weight = 1.0, samples: Count = 2
) -> BuildTasks:
    """Self-play with an adversarial critic: what the labels do not show to be good counts as bad.

    After Ji et al. (2024). One call is one iteration; the policy's own answers are drawn for it and
    need no feedback. Preferences may stay the same from one to the next.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    beta : Beta, default 0.1
        How strongly the policy is held near that of this round.
    fit : Weight, default 1.0
        How much the labels count against the distrust in one's own answers.
    samples : Count, default 2
        How many own answers are drawn for each prompt.
    """
    bound = find_objective("spac").bind(beta=beta, fit=fit)
    by_kind = work.feedback.by_kind(Pair)
    own = await _drawn(work, [pair for pairs in by_kind.values() for pair in pairs], samples)
    return lambda encoder: [
        TrainingTask(kind, bound, marked_trees(encoder, pairs, own))
        for kind, pairs in by_kind.items()
    ]


@training_method(
    "xpo",
    needs=[Pair],
    paper=find_objective("xpo").paper,
    rounds=OnlineDefaults(sampling="first", pairs="mutual"),
)
async def xpo(
    work: MethodContext, *, beta: Beta = 0.1, alpha: Weight = 1e-5, samples: Count = 1
) -> BuildTasks:
    """Exploratory preference optimisation: DPO with a bonus for leaving what the reference says.

    Xie et al. (2024), algorithm 1. Where a prompt has answers of the reference, as in rounds, it is
    these that the bonus leads away from, and only pairs of one of them with another answer count;
    for other prompts the reference answers now.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    beta : Beta, default 0.1
        As for DPO.
    alpha : Weight, default 1e-05
        The weight of the bonus.
    samples : Count, default 1
        How many answers of the reference are drawn for a prompt that has none.
    """
    bound = find_objective("xpo").bind(beta=beta, alpha=alpha)
    reference = named_policy(work, work.reference)
    interactions = [case.interaction for case in work.feedback.cases()]
    given = {interaction.id: _answers_of(reference, interaction) for interaction in interactions}
    known: dict[str, list[str]] = defaultdict(list)
    for interaction in interactions:
        known[prompt_key(interaction.prompt)] += given[interaction.id]
    by_kind = {
        kind: own if reference.id == work.policy.id else _across(own, given)
        for kind, own in work.feedback.by_kind(Pair).items()
    }
    everything = [pair for own in by_kind.values() for pair in own]
    lacking = [pair for pair in everything if not known[prompt_key(pair.prompt)]]
    known |= await _drawn(work, lacking, samples, policy=reference)
    return lambda encoder: [
        TrainingTask(kind, bound, marked_trees(encoder, own, known))
        for kind, own in by_kind.items()
    ]


def both_ways(pairs: Sequence[Pair]) -> list[Pair]:
    """Return certain pairs that say on average what these say, ties and doubts included.

    A pair that is right with probability p becomes one of weight p and, turned round, one of
    weight 1 - p.
    """
    results = []
    for pair in pairs:
        sure = pair.model_copy(
            update={"tie": False, "probability": 1.0, "weight": pair.weight * pair.probability}
        )
        results.append(sure)
        if pair.probability < 1:
            turned = {
                "chosen": pair.rejected,
                "rejected": pair.chosen,
                "weight": pair.weight * (1 - pair.probability),
            }
            results.append(sure.model_copy(update=turned))
    return results


def win_rates(pairs: Sequence[Pair]) -> dict[Answered, float]:
    """Return how often each response beats those that it was compared with, in [0, 1].

    The mean of its probability to be the better one, by the weights of the comparisons. Where the
    others are samples of a policy that are independent of it, this is an unbiased estimate of its
    win rate against the policy; the paper of SPPO also counts the response against itself.
    """
    won: dict[Answered, float] = defaultdict(float)
    played: dict[Answered, float] = defaultdict(float)
    for pair in pairs:
        key = prompt_key(pair.prompt)
        for text, odds in (
            (pair.chosen, pair.probability),
            (pair.rejected, 1 - pair.probability),
        ):
            won[key, text] += pair.weight * odds
            played[key, text] += pair.weight
    return {answer: won[answer] / played[answer] for answer in played}


def by_win_rate(pairs: Sequence[Pair], *, gap: float, soft: bool) -> list[Pair]:
    """Return pairs of all answers of a prompt whose win rates are far enough apart.

    Parameters
    ----------
    pairs : sequence of Pair
        The comparisons that the win rates are estimated from.
    gap : float
        The least difference; equal ones say nothing and are left out unless ``soft``.
    soft : bool
        Whether the more winning one is better with probability ``sigmoid`` of the difference, and
        not for certain. Then all pairs count that are far enough apart.
    """
    rates = win_rates(pairs)
    prompts = {prompt_key(pair.prompt): pair.prompt for pair in pairs}
    answers: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for (key, text), rate in rates.items():
        answers[key].append((rate, text))
    return [
        Pair(
            prompt=prompts[key],
            chosen=one,
            rejected=other,
            probability=float(expit(high - low)) if soft else 1.0,
        )
        for key, own in answers.items()
        for high, one in own
        for low, other in own
        if one != other and (high > low or (soft and high == low and one < other))
        if high - low >= gap - _SAME
    ]


_SAME = 1e-9


async def base_margins(
    base: Policy, pairs: Sequence[Pair], work: MethodContext
) -> Callable[[Pair], Mapping[str, float]]:
    """Return what says of a pair by how many nats the base finds the chosen one more probable.

    Each answer is scored once. A pair of which one answer does not fit into the base's context
    window gets nothing.

    Raises
    ------
    BacktalkError
        If the base's model does not say how probable an answer is.
    """
    model = load_model(base.model, work.feedback.store.artifacts)
    if not isinstance(model, Scorer):
        raise BacktalkError(
            f"The base {base.label} does not say how probable it finds an answer",
            "Name a policy with a local model: -o base=POLICY",
        )
    wanted = {
        (prompt_key(pair.prompt), text): (base.messages(pair.prompt), text)
        for pair in pairs
        for text in (pair.chosen, pair.rejected)
    }
    with work.run.task("asking the base", len(wanted)):
        said = await _log_probabilities(model, list(wanted.values()))
    known = dict(zip(wanted, said, strict=True))

    def margin(pair: Pair) -> Mapping[str, float]:
        key = prompt_key(pair.prompt)
        one, other = known[key, pair.chosen], known[key, pair.rejected]
        return {} if one is None or other is None else {"base_margin": one - other}

    return margin


async def _log_probabilities(
    model: Scorer, texts: Sequence[tuple[Chat, str]]
) -> list[float | None]:
    """Return the log-probability of each answer, ``None`` where it is too long."""
    try:
        return [float(np.sum(values)) for values in await model.score(texts)]
    except ContextTooLong:
        if len(texts) == 1:
            return [None]
        half = len(texts) // 2
        first = await _log_probabilities(model, texts[:half])
        return [*first, *await _log_probabilities(model, texts[half:])]


async def _step(work: MethodContext, *, eta: float, tau: float, base: str | None) -> BuildTasks:
    """Return what makes the parts of a proximal step: INPO's loss on the pairs that there are."""
    bound = find_objective("inpo").bind(eta=eta, tau=tau)
    by_kind = {kind: both_ways(own) for kind, own in work.feedback.by_kind(Pair).items()}
    facts: Callable[[Pair], Mapping[str, float]] = _unknown
    reference = named_policy(work, work.reference)
    near = reference if base is None else named_policy(work, base)
    if near.id != reference.id:
        facts = await base_margins(near, [pair for own in by_kind.values() for pair in own], work)
    return lambda encoder: [
        TrainingTask(kind, bound, pair_trees(encoder, own, facts=facts))
        for kind, own in by_kind.items()
    ]


def _unknown(_: Pair) -> Mapping[str, float]:
    return {}


async def _drawn(
    work: MethodContext, pairs: Sequence[Pair], count: int, *, policy: Policy | None = None
) -> dict[str, list[str]]:
    """Return new answers of a policy to the prompts of pairs, by the prompts' keys."""
    prompts = {prompt_key(pair.prompt): pair.prompt for pair in pairs}
    said = await work.sample(list(prompts.values()), count, policy=policy, seed=17)
    return dict(zip(prompts, said, strict=True))


def _answers_of(policy: Policy, interaction: Interaction) -> list[str]:
    return [
        one.text for one in interaction.responses if (one.policy or interaction.policy) == policy.id
    ]


def _across(pairs: Sequence[Pair], given: Mapping[str, Sequence[str]]) -> list[Pair]:
    """Return pairs of one answer that was given with one that was not, where some were given.

    Parameters
    ----------
    pairs : sequence of Pair
        What was compared.
    given : Mapping[str, Sequence[str]]
        Answers of somebody, by interaction.
    """
    return [
        pair
        for pair in pairs
        if not (own := given.get(pair.interaction))
        or (pair.chosen in own) != (pair.rejected in own)
    ]


def marked_trees(
    encoder: Encoder, pairs: Sequence[Pair], answers: Mapping[str, Sequence[str]]
) -> list[PromptTree]:
    """Return trees of compared responses with answers of value 1; the other responses have 0.

    An answer that is one of the compared responses is marked there; others stand beside, as often
    as they were drawn. Prompts without any that fits are left out and counted.

    Parameters
    ----------
    encoder : Encoder
        Makes them.
    pairs : sequence of Pair
        What was compared.
    answers : Mapping[str, Sequence[str]]
        The answers, by the keys of the prompts.
    """
    grouped: dict[str, list[Pair]] = defaultdict(list)
    for pair in both_ways(pairs):
        grouped[prompt_key(pair.prompt)].append(pair)
    results = []
    for key, own in grouped.items():
        alone = kept(encoder.tree(own[0].prompt, [Text(text, 1.0)]) for text in answers[key])
        if not alone:
            encoder.left_out["prompts without an answer to mark"] += 1
            continue
        marked = [branch for tree in alone for branch in tree.branches]
        results += [_with_marked(tree, marked) for tree in pair_trees(encoder, own)]
    return results


def _with_marked(tree: PromptTree, marked: Sequence[ResponseTokens]) -> PromptTree:
    branches = list(tree.branches)
    places = {branch.tokens: index for index, branch in enumerate(branches)}
    for branch in marked:
        index = places.pop(branch.tokens, None)
        if index is None:
            branches.append(branch)
        else:
            branches[index] = replace(branches[index], value=1.0)
    return replace(tree, branches=tuple(branches))
