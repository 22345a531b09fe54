"""Loaded policies, which have their model and rewards and can answer prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from backtalk.artifacts import Artifacts
from backtalk.decode import DecoderOutput
from backtalk.errors import NotFound
from backtalk.feedback import MemoryUse, Message, Response, as_prompt
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.requests import stored_prompt_key
from backtalk.models import BudgetedModel, CachedModel, EndpointSpec, Request, load_model
from backtalk.models.cut_answers import warn_of_cut_answers
from backtalk.models.protocol import Model
from backtalk.models.run_sync import run_sync
from backtalk.policy.described_tools import DescribedTools
from backtalk.policy.policy import Policy
from backtalk.policy.selected_prompt import SelectedPrompt, load_selector, select_prompts

if TYPE_CHECKING:
    from backtalk.memory.recall import LoadedMemory
    from backtalk.policy.prompt_selector import PromptSelector
    from backtalk.rewards import Reward
    from backtalk.store import Store


@dataclass(frozen=True)
class LoadedPolicy:
    """Policy that can answer prompts. Made by :func:`load_policy`."""

    policy: Policy
    model: Model
    rewards: dict[str, Reward]
    memory: LoadedMemory | None = None
    """Memory of the policy, ``None`` without one."""
    selector: PromptSelector | None = None
    """Selector of the composition of the prompt, ``None`` without compositions."""
    users: Mapping[str, str] = field(default_factory=dict)
    """User of each prompt whose user is not named, by :func:`~backtalk.feedback.prompt_key`."""

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

    async def select_prompts(
        self, prompts: Sequence[Prompt], *, seed: int = 0, explore: bool = False
    ) -> list[SelectedPrompt]:
        """Return the policy with the composition of its prompt that is selected for each request.

        Parameters
        ----------
        prompts : sequence of Prompt
            N prompts, without the policy's own messages.
        seed : int, default 0
            Seed of the exploration.
        explore : bool, default False
            If true, select another composition at random as often as the policy says.
        """
        return await select_prompts(
            self.policy,
            self.selector,
            prompts,
            explore=explore,
            seeds=range(seed, seed + len(prompts)),
        )

    async def messages(
        self,
        prompts: Sequence[Prompt],
        *,
        seed: int = 0,
        users: Sequence[str | None] | None = None,
        explore: bool = False,
    ) -> tuple[list[Prompt], list[tuple[MemoryUse, ...]]]:
        """Return the messages for the model for each prompt, and the memory entries that apply.

        Parameters
        ----------
        prompts : sequence of Prompt
            N prompts, without the policy's own messages.
        seed : int, default 0
            Seed of the withholding of entries.
        users : sequence of (str or None), optional
            User of each prompt. Default: those of the field ``users``.
        explore : bool, default False
            If true, withhold entries at random, as the policy's memory says.

        Returns
        -------
        list of Prompt
            N lists of messages.
        list of tuple of MemoryUse
            N tuples of entries, shown or withheld.
        """
        selected = await self.select_prompts(prompts, seed=seed, explore=explore)
        return await self._messages(prompts, selected, seed=seed, users=users, explore=explore)

    async def _messages(
        self,
        prompts: Sequence[Prompt],
        selected: Sequence[SelectedPrompt],
        *,
        seed: int,
        users: Sequence[str | None] | None,
        explore: bool,
    ) -> tuple[list[Prompt], list[tuple[MemoryUse, ...]]]:
        composed = [one.policy for one in selected]
        if self.memory is None:
            messages = [own.messages(p) for own, p in zip(composed, prompts, strict=True)]
            return messages, [()] * len(prompts)
        if users is None:
            users = [self.users.get(stored_prompt_key(prompt)) for prompt in prompts]
        recalls = [
            await self.memory.recall(prompt, user=user, explore=explore, seed=seed)
            for prompt, user in zip(prompts, users, strict=True)
        ]
        messages = [
            own.messages(prompt, remembered=recall.texts)
            for own, prompt, recall in zip(composed, prompts, recalls, strict=True)
        ]
        return messages, [recall.uses for recall in recalls]

    async def decode(
        self,
        prompts: Sequence[Prompt],
        *,
        seed: int = 0,
        users: Sequence[str | None] | None = None,
        explore: bool = False,
    ) -> list[DecoderOutput]:
        """Answer each prompt; the outputs include all candidates of the decoder.

        Parameters
        ----------
        prompts, seed, users, explore
            See :meth:`messages`. The seed is also that of the samples.
        """
        selected = await self.select_prompts(prompts, seed=seed, explore=explore)
        messages, uses = await self._messages(
            prompts, selected, seed=seed, users=users, explore=explore
        )
        outputs = await self.policy.decoder.decode(
            self.model, messages, rewards=self.rewards, seed=seed
        )
        return [
            replace(
                output, memory=used, prompt_version=own.version, prompt_propensity=own.propensity
            )
            if used or own.propensity is not None
            else output
            for output, used, own in zip(outputs, uses, selected, strict=True)
        ]

    def respond(
        self, prompt: str | Message | list[Message], *, seed: int = 0, user: str | None = None
    ) -> Response:
        """Answer one prompt.

        Parameters
        ----------
        prompt : str, Message or list of Message
            Prompt.
        seed : int, default 0
            Random seed.
        user : str, optional
            Id of the user who asks, for the entries of the memory that are about them.

        Returns
        -------
        Response
            Response with its model, policy, version of the prompt and memory entries, ready to
            store in an interaction.
        """
        (decoded,) = run_sync(self.decode([as_prompt(prompt)], seed=seed, users=[user]))
        warn_of_cut_answers(self.policy.label, [decoded.answer])
        return as_response(decoded, policy=self.id, prompt_version=self.policy.prompt_version)


def as_response(
    decoded: DecoderOutput, *, policy: str, prompt_version: str | None = None
) -> Response:
    """Return a decoder's output as the response of an interaction.

    Parameters
    ----------
    decoded : DecoderOutput
        Output.
    policy : str
        Id of the policy that answered.
    prompt_version : str, optional
        Version of its prompt, if it has no compositions.
    """
    answer = decoded.answer
    return Response(
        id="0",
        text=answer.text,
        messages=answer.messages,
        reasoning=answer.reasoning,
        model=answer.model,
        policy=policy,
        sample=decoded.chosen,
        log_probability=answer.log_probability,
        prompt_version=decoded.prompt_version or prompt_version,
        prompt_propensity=decoded.prompt_propensity,
        memory=decoded.memory,
        metadata={}
        if decoded.rewritten_request is None
        else {"rewritten_request": decoded.rewritten_request},
    )


def load_policy(
    policy: Policy,
    artifacts: Artifacts | None = None,
    *,
    store: Store | None = None,
    prompts: Sequence[Prompt] = (),
    wrap: Callable[[Model], Model] | None = None,
) -> LoadedPolicy:
    """Load the model, the rewards and the memory of a policy.

    Parameters
    ----------
    policy : Policy
        Policy to load.
    artifacts : Artifacts, optional
        Artifacts with its rewards and recordings: a store's ``artifacts``.
    store : Store, optional
        Store with its memory.
    prompts : sequence of Prompt, default ()
        Prompts of the store that it will answer as for the users who asked them.
    wrap : Callable[[Model], Model], optional
        Wrapper of the model, such as a cache or a budget; see :meth:`backtalk.run.Run.wrap`.

    Raises
    ------
    NotFound
        If an artifact does not exist, or the policy has a memory and no store is passed.
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
    if policy.prompt is not None and policy.prompt.tools:
        model = DescribedTools(model, policy.prompt)
    model = policy.decoder.prepare(model, artifacts)
    if wrap is not None:
        model = wrap(model)
        _check_bound(policy, model)
    from backtalk.rewards import load_reward  # noqa: PLC0415 - slow to import

    rewards = {id_: load_reward(id_, artifacts) for id_ in reward_ids if artifacts is not None}
    memory = load_memory(policy, store)
    users = {} if store is None or memory is None else prompt_users(store, prompts)
    return LoadedPolicy(policy, model, rewards, memory, load_selector(policy, artifacts), users)


def prompt_users(store: Store, prompts: Sequence[Prompt]) -> dict[str, str]:
    """Return the last user who asked each prompt, by the prompt's key, if one is known."""
    keys = {stored_prompt_key(prompt) for prompt in prompts}
    if not keys:
        return {}
    pairs = ((prompt_key(case.interaction.prompt), case.interaction.user) for case in store.cases())
    return {key: user for key, user in pairs if key in keys and user is not None}


def load_memory(policy: Policy, store: Store | None) -> LoadedMemory | None:
    """Return the memory of a policy, ``None`` if it has none.

    Raises
    ------
    NotFound
        If the policy has a memory and no store is passed.
    """
    if policy.memory is None:
        return None
    if store is None:
        raise NotFound(
            f"The policy {policy.label} recalls entries of the memory {policy.memory.name!r}, "
            "which is in a store",
            "Pass the store that it was learned in: load_policy(policy, store.artifacts, "
            "store=store)",
        )
    from backtalk.memory.recall import LoadedMemory  # noqa: PLC0415 - imports an embedder

    return LoadedMemory(store, policy.memory)


def _check_bound(policy: Policy, model: Model) -> None:
    """Raise an error before the first call if a budget cannot bound the policy's answers."""
    if isinstance(policy.model, EndpointSpec) and isinstance(model, CachedModel | BudgetedModel):
        model.bound(Request(messages=as_prompt("-"), sampling=policy.decoder.base_sampling))
