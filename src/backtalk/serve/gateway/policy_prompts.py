"""Prompts of policies for a request: what their memories add, and its record."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from backtalk.feedback import Prompt, as_prompt
from backtalk.policy import Policy
from backtalk.serve.backends.policy_resolver import ResolvedPolicy
from backtalk.serve.gateway.completion_request import TEXT, CompletionRequest
from backtalk.serve.interaction_log import (
    PolicyPrompt,
    chat_prompt,
    completion_prompts,
    sanitise_json,
)


async def recall(request: CompletionRequest, policy: Policy) -> list[Sequence[str]]:
    """Return the texts that a policy's memory adds to each prompt of a request, and record them.

    A memory that fails or is slow adds none; the interaction's ``metadata.gateway.memory`` says so.
    """
    record, memories = request.record, request.services.memories
    unit = "" if policy.memory is None else await request.services.conversations.unit(record)
    remembered = await asyncio.gather(
        *(
            memories.recall(record.project, policy, prompt, user=record.user, unit=unit)
            for prompt in request_prompts(request)
        )
    )
    record.prompts[policy.id] = tuple(
        PolicyPrompt(policy.prompt_version, item.uses) for item in remembered
    )
    for item in remembered:
        if item.problem is not None:
            request.note(memory=item.problem)
    return [item.texts for item in remembered]


async def select_prompts(request: CompletionRequest, resolved: ResolvedPolicy) -> list[Policy]:
    """Return the policy with the prompt that is selected for each prompt of a request.

    The versions and their propensities are recorded; call :func:`recall` first.
    """
    record, policy = request.record, resolved.policy
    if policy.compositions is None:
        return [policy] * len(record.prompts[policy.id])
    unit = await request.services.conversations.unit(record)
    selected = await request.services.policies.selectors.select(
        policy, resolved.artifacts, request_prompts(request), unit=unit
    )
    record.prompts[policy.id] = tuple(
        replace(read, version=one.version, propensity=one.propensity)
        for read, one in zip(record.prompts[policy.id], selected, strict=True)
    )
    return [one.policy for one in selected]


def request_prompts(request: CompletionRequest) -> list[Prompt]:
    """Return the prompts of a request: one, or several for a text completion.

    Lone surrogates are replaced, as tokenizers and UTF-8 have none.
    """
    if request.kind is TEXT:
        prompts = completion_prompts(sanitise_json(request.body.get("prompt")))
        return [as_prompt(text) for text in prompts]
    return [chat_prompt(sanitise_json(request.body.get("messages")))]
