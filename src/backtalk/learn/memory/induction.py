"""Induction: a model states the rule that edited or preferred answers follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtalk.feedback import Message
from backtalk.feedback.interaction import Prompt
from backtalk.learn.context import MethodContext
from backtalk.memory.requests import request_text
from backtalk.models import LocalSpec, NamedSpec, Request, Sampling
from backtalk.policy import Policy

if TYPE_CHECKING:
    from backtalk.worlds.world import World

MAX_RULE = 300
"""Maximum length of a rule, in characters; a longer reply states none."""
_NONE = "none"
_CHAT_REQUEST = (
    "Which general wish do these changes show? Reply with one instruction to the writer, in one "
    'sentence that begins with a verb. Reply "none" if there is no general wish.'
)


@dataclass(frozen=True)
class Example:
    """Request with an answer as a person wants it, and the answer before their change."""

    prompt: Prompt
    better: str
    worse: str | None = None


def sandbox_world(policy: Policy) -> World[Any] | None:
    """Return the world whose small model a policy has; ``None`` for any other model."""
    from backtalk.worlds import get_world, world_names  # noqa: PLC0415 - slow to import
    from backtalk.worlds.small import small_model_folder  # noqa: PLC0415 - slow to import

    spec = policy.model
    if isinstance(spec, NamedSpec) and spec.name == "small":
        return get_world(str(spec.options.get("world", "mail")))
    if isinstance(spec, LocalSpec) and spec.model is not None:
        for name in world_names():
            if Path(spec.model) == small_model_folder(name):
                return get_world(name)
    return None


async def induce_rules(
    context: MethodContext, groups: Sequence[Sequence[Example]], *, seed: int = 0
) -> list[str | None]:
    """Return the rule that the policy's model finds in each group of examples.

    The small models of the worlds have learned to find rules in answers, in their own form of
    request. Every other model reads an instruction in words, with the changes of each answer.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run. Calls are cached and count against the budget.
    groups : sequence of sequence of Example
        Examples of each rule; one of them may be outside its scope.
    seed : int, default 0
        Seed within the run.

    Returns
    -------
    list of str or None
        ``None`` where the model states no rule.
    """
    if not groups:
        return []
    world = sandbox_world(context.policy)
    requests = [
        Request(
            messages=_chat_prompt(group) if world is None else _sandbox_prompt(world, group),
            sampling=Sampling(max_tokens=96, temperature=0),
            seed=context.run.seed * 1_000 + seed,
        )
        for group in groups
    ]
    with context.run.task("stating rules", len(requests)):
        replies = await context.model().generate(requests)
    return [_parse(world, reply.text) for reply in replies]


def _sandbox_prompt(world: World[Any], group: Sequence[Example]) -> Prompt:
    from backtalk.worlds.skills import rule_induction_prompt  # noqa: PLC0415 - slow to import

    return rule_induction_prompt(
        [world.example(world.parse_prompt(one.prompt), one.better) for one in group]
    )


def _chat_prompt(group: Sequence[Example]) -> Prompt:
    parts = []
    for one in group:
        draft = "" if one.worse is None else f"Draft:\n{one.worse}\n\n"
        label = "Answer" if one.worse is None else "The draft as a person changed it"
        parts.append(f"Request:\n{request_text(one.prompt)}\n\n{draft}{label}:\n{one.better}")
    return (Message.user("\n\n---\n\n".join([*parts, _CHAT_REQUEST])),)


def _parse(world: World[Any] | None, reply: str) -> str | None:
    from backtalk.worlds.skills import parse_rule  # noqa: PLC0415 - slow to import

    if world is not None:
        rule = parse_rule(world, reply)
        return None if rule is None else rule.text
    text = reply.strip().strip("\"“”'").split("\n\n")[0].strip()
    if not text or text.rstrip(".").casefold() == _NONE or len(text) > MAX_RULE:
        return None
    return text
