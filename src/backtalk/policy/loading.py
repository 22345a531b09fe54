"""A policy with its model and rewards at hand: what answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backtalk.artifacts import Artifacts
from backtalk.decode import Decoded
from backtalk.errors import NotFound
from backtalk.feedback import Message, Response, as_prompt
from backtalk.models import load_model
from backtalk.models.protocol import Model
from backtalk.models.run_sync import run_sync
from backtalk.policy.policy import Policy
from backtalk.rewards import Reward, load_reward


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy that can answer. Made by :func:`load_policy`."""

    policy: Policy
    model: Model
    rewards: dict[str, Reward]

    @property
    def id(self) -> str:
        """The policy's id."""
        return self.policy.id

    async def decode(
        self, prompts: Sequence[tuple[Message, ...]], *, seed: int = 0
    ) -> list[Decoded]:
        """Answer each prompt, with all candidates that were considered."""
        return await self.policy.decoder.decode(
            self.model,
            [self.policy.messages(prompt) for prompt in prompts],
            rewards=self.rewards,
            seed=seed,
        )

    def respond(self, prompt: str | Message | list[Message], *, seed: int = 0) -> Response:
        """Answer one prompt.

        Returns
        -------
        Response
            With the model and policy that wrote it, ready to be kept in an interaction.
        """
        (decoded,) = run_sync(self.decode([as_prompt(prompt)], seed=seed))
        return as_response(decoded, policy=self.id)


def as_response(decoded: Decoded, *, policy: str) -> Response:
    """Return what was decoded as the response of an interaction."""
    answer = decoded.answer
    return Response(
        id="0",
        text=answer.text,
        messages=() if answer.message is None else (answer.message,),
        model=answer.model,
        policy=policy,
        sample=decoded.chosen,
        log_probability=answer.log_probability,
    )


def load_policy(
    policy: Policy,
    artifacts: Artifacts | None = None,
    *,
    wrap: Callable[[Model], Model] | None = None,
) -> LoadedPolicy:
    """Load what a policy needs to answer.

    Parameters
    ----------
    policy : Policy
        The recipe.
    artifacts : Artifacts, optional
        Where its rewards and recordings are kept: a store's ``artifacts``.
    wrap : Callable[[Model], Model], optional
        Put around the model: a cache, a budget. See :meth:`backtalk.run.Run.wrap`.

    Raises
    ------
    NotFound
        If an artifact is missing.
    """
    needed = policy.decoder.rewards_needed
    if artifacts is None and needed:
        raise NotFound(
            f"The policy {policy.label} chooses by the reward {needed[0]!r}, which is an artifact",
            "Give the artifacts of the store that it was learned in: store.artifacts",
        )
    model = load_model(policy.model, artifacts)
    rewards = {id_: load_reward(id_, artifacts) for id_ in needed if artifacts is not None}
    return LoadedPolicy(policy, wrap(model) if wrap else model, rewards)
