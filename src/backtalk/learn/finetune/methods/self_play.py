"""Self-play methods, which converge to a Nash equilibrium of the preference game.

They learn from comparisons of the policy's own responses, as online learning collects them; on a
store, the compared responses are taken for the policy's own. An uncertain preference counts both
ways with its probabilities, and so does a tie. Preferences need not be transitive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from backtalk.errors import BacktalkError
from backtalk.feedback import Interaction
from backtalk.feedback.case import prompt_key
from backtalk.feedback.views import Pair
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.option_types import Count, Fraction, NonNegative, Positive
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.finetune.tree_builders import drop_none, pair_trees
from backtalk.learn.finetune.trees import PromptTree, ResponseTokens
from backtalk.learn.log_likelihood import log_likelihoods
from backtalk.learn.method import OnlineDefaults, Paper
from backtalk.learn.requirements import FeedbackRequirement
from backtalk.learn.training_set import TrainingSet
from backtalk.models import Scorer
from backtalk.policy import Policy

ResponseKey = tuple[str, str]
"""Prompt key and response text."""

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
    objective="sppo",
    online=OnlineDefaults(update_reference_every=1, pair_selection="mutual"),
)
async def sppo(context: MethodContext, *, beta: Positive = 1e-3) -> BuildTasks:
    """Train the log-ratio of each response towards its win rate.

    Self-play preference optimisation, Wu et al. (2024), algorithm 1. The win rate of a response
    against the policy of the round is estimated by its wins over the other responses to its prompt;
    in a single pair, the chosen response always wins.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    beta : float, default 0.001
        Inverse of the paper's eta: the target log-ratio of a response that always wins is
        ``1 / (2 beta)`` nats.
    """
    bound = get_objective("sppo").bind(beta=beta)

    def trees(encoder: Encoder, pairs: Sequence[Pair]) -> list[PromptTree]:
        rates = win_rates(pairs)
        return pair_trees(
            encoder,
            resolve_probabilities(pairs),
            response_text=lambda prompt, text: ResponseText(
                text, win_rate=rates[prompt_key(prompt), text]
            ),
        )

    by_kind = context.feedback.by_kind(Pair)
    return lambda encoder: [
        TrainingTask(kind, bound, trees(encoder, own)) for kind, own in by_kind.items()
    ]


@training_method(
    "dno",
    needs=[Pair],
    requires=[
        FeedbackRequirement(
            "two answers to one prompt whose win rates differ by 0.5, or a lower -o gap",
            lambda feedback: any(
                pairs_by_win_rate(pairs, gap=0.5, soft=False)
                for pairs in feedback.by_kind(Pair).values()
            ),
            definite=False,
        )
    ],
    objective="dno",
    online=OnlineDefaults(update_reference_every=1, pair_selection="mutual"),
)
async def dno(
    context: MethodContext,
    *,
    eta: Positive = 0.1,
    gap: Fraction = 0.5,
    labels: Literal["hard", "soft"] = "hard",
) -> BuildTasks:
    """Train responses with a high win rate against responses with a low one.

    Direct Nash optimisation, Rosset et al. (2024). The win rate of a response is estimated by its
    wins over the other responses to its prompt, those of a teacher (``--teacher``) included.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    eta : float, default 0.1
        Coefficient of the KL penalty towards the policy of the round.
    gap : float, default 0.5
        Lowest difference of the win rates of a pair, in [0, 1].
    labels : {"hard", "soft"}, default "hard"
        Labels of pairs. ``"hard"``: the response with the higher win rate is better (algorithm 2).
        ``"soft"``: it is better with probability ``sigmoid`` of the difference (algorithm 1, with
        gap 0).
    """
    bound = get_objective("dno").bind(eta=eta)
    by_kind = {
        kind: pairs_by_win_rate(own, gap=gap, soft=labels == "soft")
        for kind, own in context.feedback.by_kind(Pair).items()
    }
    return lambda encoder: [
        TrainingTask(kind, bound, pair_trees(encoder, own)) for kind, own in by_kind.items()
    ]


@training_method(
    "inpo",
    needs=[Pair],
    objective="inpo",
    online=OnlineDefaults(update_reference_every=1, pair_selection="mutual"),
)
async def inpo(
    context: MethodContext,
    *,
    eta: Positive = 0.0075,
    tau: NonNegative = 0.0025,
    base: str | None = None,
) -> BuildTasks:
    """Take one mirror-descent step with KL penalties to the current and to the base policy.

    Iterative Nash policy optimisation, Zhang et al. (2024), algorithm 1: maximise
    ``P(pi > pi_t) - tau KL(pi, base) - (eta - tau) KL(pi, pi_t)``.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    eta : float, default 0.0075
        Total coefficient of both KL penalties.
    tau : float, default 0.0025
        Coefficient of the KL penalty to the base.
    base : str, optional
        Base policy, by name or id; the reference by default. In online learning, the first policy.
    """
    return await _proximal_step(context, eta=eta, tau=tau, base=base)


@training_method(
    "nash-md",
    needs=[Pair],
    objective="inpo",
    paper=NASH_MD,
    online=OnlineDefaults(update_reference_every=1, sampler="mixture", pair_selection="mutual"),
)
async def nash_md(
    context: MethodContext,
    *,
    eta: Positive = 0.064,
    tau: NonNegative = 0.008,
    base: str | None = None,
) -> BuildTasks:
    """Take one step against a geometric mixture of the current and the base policy.

    Nash-MD, Munos et al. (2023), section 5: maximise ``P(pi > mu) - eta KL(pi, mu)``, with the
    opponent ``mu = pi_t ** (1 - tau/eta) base ** (tau/eta)``. The compared responses must be
    samples of the opponent, which online learning draws token by token (sampler ``mixture`` with
    weight tau/eta, 0.125 by default); then INPO's loss on them is minimal at this policy. With the
    sampler ``average`` the opponent is the moving average of past policies instead, as in Nash-EMA.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    eta : float, default 0.064
        Coefficient of the KL penalty: inverse of the paper's learning rate.
    tau : float, default 0.008
        Coefficient of the KL penalty to the base.
    base : str, optional
        Base policy, by name or id; the reference by default. In online learning, the first policy.
    """
    return await _proximal_step(context, eta=eta, tau=tau, base=base)


@training_method(
    "nash-mp",
    needs=[Pair],
    objective="inpo",
    paper=NASH_MP,
    online=OnlineDefaults(update_reference_every=2, pair_selection="mutual"),
)
async def nash_mp(
    context: MethodContext, *, beta: Positive = 0.01, base: str | None = None
) -> BuildTasks:
    """Take an extrapolation step, then a step from the previous position.

    Nash mirror prox, Tiapkin et al. (2025). One round is one proximal step, ``argmax P(pi > mu) -
    beta KL(pi, base) - 1/2 KL(pi, target)``. In the first of two rounds the opponent ``mu`` is the
    target itself, in the second the result of the first; then the target is set to the result of
    the second. In the paper's variant for language models the target is a moving average of
    weights.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    beta : float, default 0.01
        Coefficient of the KL penalty to the base.
    base : str, optional
        Base policy, by name or id; the reference by default. In online learning, the first policy.
    """
    return await _proximal_step(context, eta=beta + 0.5, tau=beta, base=base)


@training_method(
    "spac",
    needs=[Pair],
    objective="spac",
    online=OnlineDefaults(update_reference_every=1, pair_selection="mutual"),
)
async def spac(
    context: MethodContext, *, beta: Positive = 0.1, fit: NonNegative = 1.0, samples: Count = 2
) -> BuildTasks:
    """Train on pairs, with a pessimistic critic of the policy's own responses.

    Self-play with an adversarial critic, after Ji et al. (2024). One call is one iteration. The
    policy's own samples need no feedback. The same preferences may be used in every iteration.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    beta : float, default 0.1
        Coefficient of the KL penalty towards the policy of the round.
    fit : float, default 1.0
        Weight of the labels relative to the pessimism about own samples.
    samples : int, default 2
        Number of own samples for each prompt.
    """
    bound = get_objective("spac").bind(beta=beta, fit=fit)
    by_kind = context.feedback.by_kind(Pair)
    own = await _sample_by_prompt(
        context, [pair for pairs in by_kind.values() for pair in pairs], samples
    )
    return lambda encoder: [
        TrainingTask(kind, bound, marked_trees(encoder, pairs, own))
        for kind, pairs in by_kind.items()
    ]


@training_method(
    "xpo",
    needs=[Pair],
    objective="xpo",
    online=OnlineDefaults(sampler="first", pair_selection="mutual"),
)
async def xpo(
    context: MethodContext, *, beta: Positive = 0.1, alpha: NonNegative = 1e-5, samples: Count = 1
) -> BuildTasks:
    """Train by DPO with a bonus for exploration away from the reference.

    Exploratory preference optimisation, Xie et al. (2024), algorithm 1. The bonus applies to the
    reference's responses to a prompt, as online learning draws them, and only pairs of one of them
    with another response are used. For other prompts the reference is sampled.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    beta : float, default 0.1
        Coefficient of the implicit KL penalty towards the reference.
    alpha : float, default 1e-05
        Weight of the bonus.
    samples : int, default 1
        Number of samples of the reference for a prompt that has none.
    """
    bound = get_objective("xpo").bind(beta=beta, alpha=alpha)
    reference = context.get_policy(context.reference)
    interactions = [case.interaction for case in context.feedback.cases()]
    listed = {
        interaction.id: _responses_by(reference, interaction, context.feedback)
        for interaction in interactions
    }
    known: dict[str, list[str]] = defaultdict(list)
    for interaction in interactions:
        known[prompt_key(interaction.prompt)] += listed[interaction.id]
    by_kind = {
        kind: own if reference.id == context.policy.id else _pairs_with_one_listed(own, listed)
        for kind, own in context.feedback.by_kind(Pair).items()
    }
    everything = [pair for own in by_kind.values() for pair in own]
    without_samples = [pair for pair in everything if not known[prompt_key(pair.prompt)]]
    known |= await _sample_by_prompt(context, without_samples, samples, policy=reference)
    return lambda encoder: [
        TrainingTask(kind, bound, marked_trees(encoder, own, known))
        for kind, own in by_kind.items()
    ]


def resolve_probabilities(pairs: Sequence[Pair]) -> list[Pair]:
    """Return certain pairs that are equivalent in expectation, ties and probabilities resolved.

    A pair with probability p becomes a pair of weight p and its reverse of weight 1 - p.
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


def win_rates(pairs: Sequence[Pair]) -> dict[ResponseKey, float]:
    """Return the win rate of each response over the responses it was compared with, in [0, 1].

    The win rate is the weighted mean of the probabilities to be the better one. If the others are
    independent samples of a policy, it is an unbiased estimate of the win rate against that policy;
    the paper of SPPO also counts the response against itself.
    """
    won: dict[ResponseKey, float] = defaultdict(float)
    played: dict[ResponseKey, float] = defaultdict(float)
    for pair in pairs:
        key = prompt_key(pair.prompt)
        for text, probability in (
            (pair.chosen, pair.probability),
            (pair.rejected, 1 - pair.probability),
        ):
            won[key, text] += pair.weight * probability
            played[key, text] += pair.weight
    return {response: won[response] / played[response] for response in played}


def pairs_by_win_rate(pairs: Sequence[Pair], *, gap: float, soft: bool) -> list[Pair]:
    """Return pairs of all responses to a prompt whose win rates differ enough.

    Parameters
    ----------
    pairs : sequence of Pair
        Comparisons from which the win rates are estimated.
    gap : float
        Lowest difference; equal win rates are left out unless ``soft``.
    soft : bool
        If true, the response with the higher win rate is better with probability ``sigmoid`` of the
        difference instead of 1.
    """
    rates = win_rates(pairs)
    from scipy.special import expit  # noqa: PLC0415 - slow to import

    prompts = {prompt_key(pair.prompt): pair.prompt for pair in pairs}
    answers: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for (key, text), rate in rates.items():
        answers[key].append((rate, text))
    return [
        Pair(
            prompt=prompts[key],
            chosen=a,
            rejected=b,
            probability=float(expit(high - low)) if soft else 1.0,
            # Validation would take the texts of tool calls for other texts.
        ).model_copy(update={"chosen": a, "rejected": b})
        for key, rated in answers.items()
        for high, a in rated
        for low, b in rated
        if a != b and (high > low or (soft and high == low and a < b))
        if high - low >= gap - _TOLERANCE
    ]


_TOLERANCE = 1e-9


async def base_margins(
    base: Policy, pairs: Sequence[Pair], context: MethodContext
) -> Callable[[Pair], Mapping[str, float]]:
    """Return a function that gives the base policy's log-probability margin of a pair, in nats.

    Each response is scored once. Pairs with a response that exceeds the base's context window have
    no margin.

    Parameters
    ----------
    base : Policy
        Base policy.
    pairs : sequence of Pair
        Pairs to score.
    context : MethodContext
        Policy, feedback and run.

    Raises
    ------
    BacktalkError
        If the base's model gives no token probabilities.
    """
    model = context.model(base)
    if not isinstance(model, Scorer):
        raise BacktalkError(
            f"The base {base.label} gives no token probabilities",
            "Name a policy with a local model: -o base=NAME",
        )
    requests = {
        (prompt_key(pair.prompt), text): (base.messages(pair.prompt), text)
        for pair in pairs
        for text in (pair.chosen, pair.rejected)
    }
    with context.run.task("asking the base", len(requests)):
        scores = await log_likelihoods(model, list(requests.values()))
    log_probabilities = dict(zip(requests, scores, strict=True))

    def margin(pair: Pair) -> Mapping[str, float]:
        key = prompt_key(pair.prompt)
        chosen, rejected = (
            log_probabilities[key, pair.chosen],
            log_probabilities[key, pair.rejected],
        )
        return {} if chosen is None or rejected is None else {"base_margin": chosen - rejected}

    return margin


async def _proximal_step(
    context: MethodContext, *, eta: float, tau: float, base: str | None
) -> BuildTasks:
    """Return the tasks of a proximal step: INPO's loss on all pairs."""
    bound = get_objective("inpo").bind(eta=eta, tau=tau)
    by_kind = {
        kind: resolve_probabilities(own) for kind, own in context.feedback.by_kind(Pair).items()
    }
    features: Callable[[Pair], Mapping[str, float]] = _no_margin
    reference = context.get_policy(context.reference)
    near = reference if base is None else context.get_policy(base)
    if near.id != reference.id:
        features = await base_margins(
            near, [pair for own in by_kind.values() for pair in own], context
        )
    return lambda encoder: [
        TrainingTask(kind, bound, pair_trees(encoder, own, features=features))
        for kind, own in by_kind.items()
    ]


def _no_margin(_: Pair) -> Mapping[str, float]:
    return {}


async def _sample_by_prompt(
    context: MethodContext, pairs: Sequence[Pair], count: int, *, policy: Policy | None = None
) -> dict[str, list[str]]:
    """Return samples of a policy for the prompts of pairs, by prompt key."""
    prompts = {prompt_key(pair.prompt): pair.prompt for pair in pairs}
    samples = await context.sample(list(prompts.values()), count, policy=policy, seed=17)
    return dict(zip(prompts, samples, strict=True))


def _responses_by(policy: Policy, interaction: Interaction, feedback: TrainingSet) -> list[str]:
    texts = [
        feedback.answer_text(interaction.prompt, response.text, response.messages)
        for response in interaction.responses
        if (response.policy or interaction.policy) == policy.id
    ]
    return [text for text in texts if text is not None]


def _pairs_with_one_listed(
    pairs: Sequence[Pair], listed: Mapping[str, Sequence[str]]
) -> list[Pair]:
    """Return the pairs with exactly one listed response, in interactions with listed ones.

    Parameters
    ----------
    pairs : sequence of Pair
        Pairs to filter.
    listed : Mapping[str, Sequence[str]]
        Listed responses by interaction id.
    """
    return [
        pair
        for pair in pairs
        if not (texts := listed.get(pair.interaction))
        or (pair.chosen in texts) != (pair.rejected in texts)
    ]


def marked_trees(
    encoder: Encoder, pairs: Sequence[Pair], samples: Mapping[str, Sequence[str]]
) -> list[PromptTree]:
    """Return trees of compared responses in which samples are marked.

    A sample that equals a compared response is marked there; others are added, as often as they
    were drawn. Prompts without a sample that fits are left out and counted.

    Parameters
    ----------
    encoder : Encoder
        Encoder of the policy.
    pairs : sequence of Pair
        Compared responses.
    samples : Mapping[str, Sequence[str]]
        Samples by prompt key.
    """
    grouped: dict[str, list[Pair]] = defaultdict(list)
    for pair in resolve_probabilities(pairs):
        grouped[prompt_key(pair.prompt)].append(pair)
    results = []
    for key, group in grouped.items():
        sample_trees = drop_none(
            encoder.tree(group[0].prompt, [ResponseText(text, is_sample=True)])
            for text in samples[key]
        )
        if not sample_trees:
            encoder.left_out["prompts without an answer to mark"] += 1
            continue
        marked = [branch for tree in sample_trees for branch in tree.responses]
        results += [_with_marked(tree, marked) for tree in pair_trees(encoder, group)]
    return results


def _with_marked(tree: PromptTree, marked: Sequence[ResponseTokens]) -> PromptTree:
    branches = [replace(branch, is_sample=False) for branch in tree.responses]
    places = {branch.tokens: index for index, branch in enumerate(branches)}
    for branch in marked:
        index = places.pop(branch.tokens, None)
        if index is None:
            branches.append(branch)
        else:
            branches[index] = replace(branches[index], is_sample=True)
    return replace(tree, responses=tuple(branches))
