"""Loaded policies, which have their model and rewards and can answer prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from backtalk.artifacts import Artifacts
from backtalk.decode import DecoderOutput
from backtalk.errors import NotFound
from backtalk.feedback import Message, Response, as_prompt
from backtalk.feedback.interaction import Prompt
from backtalk.models import BudgetedModel, CachedModel, EndpointSpec, Request, load_model
from backtalk.models.cut_answers import warn_of_cut_answers
from backtalk.models.protocol import Model
from backtalk.models.run_sync import run_sync
from backtalk.policy.policy import Policy
from backtalk.rewards import Reward, load_reward


@dataclass(frozen=True)
class LoadedPolicy:
    """Policy that can answer prompts. Made by :func:`load_policy`."""

    policy: Policy
    model: Model
    rewards: dict[str, Reward]

    @property
    def id(self) -> str:
        """Id of the policy."""
        return self.policy.id

    @property
    def sampling_id(self) -> str:
        """Hash of what determines the policy's samples."""
        return self.policy.sampling_id

    @property
    def label(self) -> str:
        """Label for reports."""
        return self.policy.label

    @property
    def is_recording(self) -> bool:
        """True if the answers are recorded ones, which cost nothing."""
        return self.policy.model.kind == "replay"

    def with_model(self, model: Model) -> LoadedPolicy:
        """Return the policy with another model in place of its own."""
        return replace(self, model=model)

    async def decode(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[DecoderOutput]:
        """Answer each prompt; the outputs include all candidates of the decoder."""
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
            Response with the names of its model and policy, ready to store in an interaction.
        """
        (decoded,) = run_sync(self.decode([as_prompt(prompt)], seed=seed))
        warn_of_cut_answers(self.policy.label, [decoded.answer])
        return as_response(decoded, policy=self.id)


def as_response(decoded: DecoderOutput, *, policy: str) -> Response:
    """Return a decoder's output as the response of an interaction."""
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
    """Load the model and the rewards of a policy.

    Parameters
    ----------
    policy : Policy
        Policy to load.
    artifacts : Artifacts, optional
        Artifacts with its rewards and recordings: a store's ``artifacts``.
    wrap : Callable[[Model], Model], optional
        Wrapper of the model, such as a cache or a budget; see :meth:`backtalk.run.Run.wrap`.

    Raises
    ------
    NotFound
        If an artifact does not exist.
    MissingAddress
        If the model is an endpoint without an address.
    UnlimitedAnswer
        If a budget limits tokens or money, and the policy does not limit those of an answer.
    """
    reward_ids = policy.decoder.rewards_needed
    if artifacts is None and reward_ids:
        raise NotFound(
            f"The policy {policy.label} uses the reward {reward_ids[0]!r}, which is an artifact",
            "Pass the artifacts of the store that it was learned in: store.artifacts",
        )
    model = load_model(policy.model, artifacts)
    if wrap is not None:
        model = wrap(model)
        _check_bound(policy, model)
    rewards = {id_: load_reward(id_, artifacts) for id_ in reward_ids if artifacts is not None}
    return LoadedPolicy(policy, model, rewards)


def _check_bound(policy: Policy, model: Model) -> None:
    """Raise an error before the first call if a budget cannot bound the policy's answers."""
    if isinstance(policy.model, EndpointSpec) and isinstance(model, CachedModel | BudgetedModel):
        model.bound(Request(messages=as_prompt("-"), sampling=policy.decoder.base_sampling))
