"""Who draws the answers of a round: the policy, the first one, or a mixture of the two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback import Message, Response
from backtalk.models import LocalSpec, MixtureSpec, NamedSpec, Request
from backtalk.policy import Lineage, LoadedPolicy, Policy

Rule = Callable[[Sequence[Policy], int, float, np.random.Generator], list[Policy]]
"""A function of the policies so far, the first one first and the present one last; of how many
answers a prompt gets; of the mixing weight; and of luck. It returns who draws each answer."""


def mixed(policy: Policy, other: Policy, weight: float) -> Policy:
    """Return the policy that answers with ``policy ** (1 - weight) * other ** weight``, by token.

    Parameters
    ----------
    policy, other : Policy
        What is mixed: policies of one local model that are told the same.
    weight : float
        The other's; with a negative one, the mixture leads away from it.

    Raises
    ------
    BacktalkError
        If one of them has no local model, or they are told different things.
    """
    if weight == 0 or policy.model == other.model:
        return policy
    if policy.system != other.system:
        raise BacktalkError(
            f"The policies {policy.label} and {other.label} have different system prompts",
            "Only policies that are told the same can be mixed token by token",
        )
    models = policy.model, other.model
    local = [spec for spec in models if isinstance(spec, LocalSpec | NamedSpec)]
    if len(local) < len(models):
        raise BacktalkError(
            f"The policies {policy.label} and {other.label} cannot be mixed",
            "Both need a model on this machine: nobody else says how probable each token is",
        )
    return policy.derive(
        model=MixtureSpec(models=tuple(local), weights=(1 - weight, weight)),
        lineage=Lineage(
            method="mixture", parent=policy.id, options={"other": other.id, "weight": weight}
        ),
    )


def by_policy(
    past: Sequence[Policy], count: int, _weight: float, _probability: np.random.Generator
) -> list[Policy]:
    """Let the present policy draw all answers."""
    return [past[-1]] * count


def alternate_with_reference(
    past: Sequence[Policy], count: int, _weight: float, _probability: np.random.Generator
) -> list[Policy]:
    """Let the present and the first policy draw in turns: Xie et al. (2024), XPO, algorithm 1."""
    return [past[0] if place % 2 else past[-1] for place in range(count)]


def by_mixture(
    past: Sequence[Policy], count: int, weight: float, _probability: np.random.Generator
) -> list[Policy]:
    """Let the mixture with the first policy draw all: the opponent of Munos et al. (2023)."""
    return [mixed(past[-1], past[0], weight)] * count


def by_average(
    past: Sequence[Policy], count: int, weight: float, rng: np.random.Generator
) -> list[Policy]:
    """Let for each answer one of all policies so far draw, an older one more seldom.

    The policy k rounds ago has the probability ``(1 - weight) weight ** k``, the first one what is
    left: the exponential moving average that Munos et al. (2023), section 7, approximate with an
    average of the weights.
    """
    ages = rng.geometric(1 - weight, size=count) - 1
    return [past[-1 - min(age, len(past) - 1)] for age in ages.tolist()]


def by_pilaf(
    past: Sequence[Policy], count: int, weight: float, rng: np.random.Generator
) -> list[Policy]:
    """Let for half of the prompts two mixtures draw in turns: Feng et al. (2025), PILAF.

    One leads from the first policy beyond the present one, ``pi ** (1 + weight) * first **
    -weight``, and one back, ``pi ** (1 - weight) * first ** weight``; the weight is DPO's beta. For
    the other prompts the present policy draws.
    """
    if rng.random() < 0.5:
        return by_policy(past, count, weight, rng)
    sides = mixed(past[-1], past[0], -weight), mixed(past[-1], past[0], weight)
    return [sides[place % 2] for place in range(count)]


SAMPLERS: dict[str, Rule] = {
    "policy": by_policy,
    "first": alternate_with_reference,
    "mixture": by_mixture,
    "average": by_average,
    "pilaf": by_pilaf,
}
"""Every rule by name."""


def find_sampling(name: str) -> Rule:
    """Return a rule by name, or raise ``UnknownName``."""
    if name not in SAMPLERS:
        raise UnknownName.among("way of sampling", name, list(SAMPLERS))
    return SAMPLERS[name]


async def answered(
    asked: Sequence[tuple[tuple[Message, ...], Sequence[Policy]]],
    *,
    load: Callable[[Policy], LoadedPolicy],
    seed: int,
) -> list[tuple[Response, ...]]:
    """Return the answers to each prompt, one of each policy that draws for it.

    Parameters
    ----------
    asked : Sequence[tuple[tuple[Message, ...], Sequence[Policy]]]
        The prompts, and who answers each; a policy that stands there twice answers twice.
    load : Callable[[Policy], LoadedPolicy]
        Gives a policy its model.
    seed : int
        Makes other answers than another seed.
    """
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    policies: dict[str, Policy] = {}
    for index, (_, actor) in enumerate(asked):
        for sample, policy in enumerate(actor):
            policies[policy.id] = policy
            places[policy.id].append((index, sample))
    results: dict[tuple[int, int], Response] = {}
    for id_, own in places.items():
        policy, model = policies[id_], load(policies[id_]).model
        requests = [
            Request(
                messages=policy.messages(asked[index][0]),
                sampling=policy.decoder.sampling,
                sample_index=sample,
                seed=seed,
            )
            for index, sample in own
        ]
        for (index, sample), said in zip(own, await model.generate(requests), strict=True):
            results[index, sample] = Response(
                id=str(sample), text=said.text, model=model.name, policy=id_, sample=sample
            )
    return [
        tuple(results[index, sample] for sample in range(len(actor)))
        for index, (_, actor) in enumerate(asked)
    ]
