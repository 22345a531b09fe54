"""Samplers: the policies that generate the responses of a round, and their mixtures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from backtalk.errors import BacktalkError
from backtalk.feedback import Response
from backtalk.feedback.interaction import Prompt
from backtalk.models import Completion, LocalSpec, MixtureSpec, ModelError, NamedSpec, Request
from backtalk.models.greedy_samples import warn_of_greedy_samples
from backtalk.models.refused_requests import generate_or_refuse
from backtalk.policy import Lineage, LoadedPolicy, Policy
from backtalk.registry import Registry

Sampler = Callable[[Sequence[Policy], int, float, np.random.Generator], list[Policy]]
"""Function ``(past, count, weight, rng)`` that returns the policy of each response to a prompt.

``count`` is the number of responses. ``past`` holds the policies so far, from the first to the
current one; ``weight`` is the mixture weight."""


def mix_policies(policy: Policy, other: Policy, weight: float) -> Policy:
    """Return the geometric mixture ``policy ** (1 - weight) * other ** weight``, token by token.

    Parameters
    ----------
    policy, other : Policy
        Policies with the same local base model and the same system prompt.
    weight : float
        Weight of the other policy; a negative weight leads away from it.

    Raises
    ------
    BacktalkError
        If one of them has no local model, or the system prompts differ.
    """
    if weight == 0 or policy.model == other.model:
        return policy
    prompts = [(one.system, one.prompt, one.memory) for one in (policy, other)]
    if prompts[0] != prompts[1]:
        raise BacktalkError(
            f"The policies {policy.label} and {other.label} have different prompts or memories",
            "Mix only policies with the same system prompt, template and memory",
        )
    models = policy.model, other.model
    local = [spec for spec in models if isinstance(spec, LocalSpec | NamedSpec)]
    if len(local) < len(models):
        raise BacktalkError(
            f"The policies {policy.label} and {other.label} cannot be mixed",
            "Use policies with local models, which give the probability of every token",
        )
    return policy.derive(
        model=MixtureSpec(models=tuple(local), weights=(1 - weight, weight)),
        lineage=Lineage(
            method="mixture", parent=policy.id, options={"other": other.id, "weight": weight}
        ),
    )


def current_policy(
    past: Sequence[Policy], count: int, _weight: float, _rng: np.random.Generator
) -> list[Policy]:
    """Sample all responses from the current policy.

    Parameters
    ----------
    past : sequence of Policy
        Policies so far, from the first to the current one.
    count : int
        Number of responses.
    _weight : float
        Not used.
    _rng : numpy.random.Generator
        Random number generator. Not used.
    """
    return [past[-1]] * count


def alternate_with_reference(
    past: Sequence[Policy], count: int, _weight: float, _rng: np.random.Generator
) -> list[Policy]:
    """Alternate the current and the first policy: Xie et al. (2024), XPO, algorithm 1.

    Parameters
    ----------
    past : sequence of Policy
        Policies so far, from the first to the current one.
    count : int
        Number of responses.
    _weight : float
        Not used.
    _rng : numpy.random.Generator
        Random number generator. Not used.
    """
    return [past[0] if index % 2 else past[-1] for index in range(count)]


def reference_mixture(
    past: Sequence[Policy], count: int, weight: float, _rng: np.random.Generator
) -> list[Policy]:
    """Sample from the mixture with the first policy: the opponent of Munos et al. (2023).

    Parameters
    ----------
    past : sequence of Policy
        Policies so far, from the first to the current one.
    count : int
        Number of responses.
    weight : float
        Weight of the first policy.
    _rng : numpy.random.Generator
        Random number generator. Not used.
    """
    return [mix_policies(past[-1], past[0], weight)] * count


def past_average(
    past: Sequence[Policy], count: int, weight: float, rng: np.random.Generator
) -> list[Policy]:
    """Sample each response from one of all policies so far, older ones with lower probability.

    The policy of k rounds ago has the probability ``(1 - weight) weight ** k``, the first policy
    the rest: the exponential moving average that Munos et al. (2023), section 7, approximate by an
    average of the weights.

    Parameters
    ----------
    past : sequence of Policy
        Policies so far, from the first to the current one.
    count : int
        Number of responses.
    weight : float
        Decay of the probability with age, in [0, 1).
    rng : numpy.random.Generator
        Random number generator.
    """
    ages = rng.geometric(1 - weight, size=count) - 1
    return [past[-1 - min(age, len(past) - 1)] for age in ages.tolist()]


def pilaf(
    past: Sequence[Policy], count: int, weight: float, rng: np.random.Generator
) -> list[Policy]:
    """Alternate two mixtures on half of the prompts: Feng et al. (2025), PILAF.

    One mixture leads from the first policy beyond the current one, ``pi ** (1 + weight) * first **
    -weight``, the other leads back, ``pi ** (1 - weight) * first ** weight``; the weight is DPO's
    beta. On the other prompts all responses are samples of the current policy.

    Parameters
    ----------
    past : sequence of Policy
        Policies so far, from the first to the current one.
    count : int
        Number of responses.
    weight : float
        DPO's beta.
    rng : numpy.random.Generator
        Random number generator.
    """
    if rng.random() < 0.5:
        return current_policy(past, count, weight, rng)
    sides = mix_policies(past[-1], past[0], -weight), mix_policies(past[-1], past[0], weight)
    return [sides[index % 2] for index in range(count)]


SAMPLERS = Registry[Sampler]("sampler")
"""All samplers by name."""

SAMPLERS.register("policy", current_policy)
SAMPLERS.register("first", alternate_with_reference)
SAMPLERS.register("mixture", reference_mixture)
SAMPLERS.register("average", past_average)
SAMPLERS.register("pilaf", pilaf)


def get_sampler(name: str) -> Sampler:
    """Return the sampler of that name, or raise ``UnknownName``."""
    return SAMPLERS.get(name)


async def sample_responses(
    requests: Sequence[tuple[Prompt, Sequence[Policy]]],
    *,
    load: Callable[[Policy], LoadedPolicy],
    seed: int,
) -> list[tuple[Response, ...] | ModelError]:
    """Return the responses to each prompt, one of each policy, or the error of a refused prompt.

    Parameters
    ----------
    requests : sequence of tuple of Prompt and sequence of Policy
        Prompts with the policies that respond; a policy that occurs twice responds twice.
    load : Callable[[Policy], LoadedPolicy]
        Function that loads a policy's model.
    seed : int
        Seed; each seed gives other responses.
    """
    positions: dict[str, list[tuple[int, int]]] = defaultdict(list)
    policies: dict[str, Policy] = {}
    for index, (_, responders) in enumerate(requests):
        for sample, policy in enumerate(responders):
            policies[policy.id] = policy
            positions[policy.id].append((index, sample))
    results: dict[tuple[int, int], Response] = {}
    refused: dict[int, ModelError] = {}
    for id_, pairs in positions.items():
        policy, loaded = policies[id_], load(policies[id_])
        most = max(Counter(index for index, _ in pairs).values())
        warn_of_greedy_samples(policy.label, policy.decoder.base_sampling, most)
        prompts = [requests[index][0] for index, _ in pairs]
        selected = await loaded.select_prompts(prompts)
        messages, uses = await loaded.messages(prompts)
        completions = await generate_or_refuse(
            loaded.model,
            [
                Request(
                    messages=message_list,
                    sampling=policy.decoder.base_sampling,
                    sample_index=sample,
                    seed=seed,
                )
                for (_, sample), message_list in zip(pairs, messages, strict=True)
            ],
        )
        for (index, sample), completion, used, own in zip(
            pairs, completions, uses, selected, strict=True
        ):
            if not isinstance(completion, Completion):
                refused.setdefault(index, completion)
                continue
            results[index, sample] = Response(
                id=str(sample),
                text=completion.text,
                messages=completion.messages,
                reasoning=completion.reasoning,
                model=loaded.model.name,
                policy=id_,
                sample=sample,
                prompt_version=own.version,
                prompt_propensity=own.propensity,
                memory=used,
                metadata={"sampling": policy.decoder.base_sampling.to_dict()},
            )
    return [
        refused.get(index) or tuple(results[index, sample] for sample in range(len(responders)))
        for index, (_, responders) in enumerate(requests)
    ]
