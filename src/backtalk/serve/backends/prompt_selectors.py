"""Selection of the compositions of policies' prompts; no answer fails for it."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from backtalk.artifacts import Artifacts
from backtalk.feedback import Prompt
from backtalk.policy import Policy
from backtalk.policy.selected_prompt import SelectedPrompt, load_selector, select_prompts
from backtalk.serve.backends.background_loop import BackgroundLoop

if TYPE_CHECKING:
    from backtalk.policy import PromptSelector

log = logging.getLogger(__name__)

_MAX_LOADED = 32
"""Maximum number of selectors held in memory."""


class PromptSelectors:
    """Selectors of the prompts of the policies that the gateway serves.

    Parameters
    ----------
    loop : BackgroundLoop
        Loop that embeds requests.
    """

    def __init__(self, loop: BackgroundLoop) -> None:
        self._loop = loop
        self._loaded: OrderedDict[str, PromptSelector] = OrderedDict()

    async def select(
        self, policy: Policy, artifacts: Artifacts, prompts: Sequence[Prompt], *, unit: str
    ) -> list[SelectedPrompt]:
        """Return the policy with the prompt that is selected for each request. It raises nothing.

        If a selector cannot be read, the policy's own prompt is used.

        Parameters
        ----------
        policy : Policy
            Policy that answers.
        artifacts : Artifacts
            Artifacts with its selector.
        prompts : sequence of Prompt
            N prompts of a request.
        unit : str
            Conversation or request. Equal units explore the same compositions.
        """
        if policy.compositions is None:
            return [SelectedPrompt(policy)] * len(prompts)
        digest = blake2b(f"{policy.compositions.selector}\n{unit}".encode(), digest_size=6).digest()
        seed = int.from_bytes(digest)
        try:
            return await self._loop.run(self._select(policy, artifacts, prompts, seed))
        except Exception:
            log.exception("The prompt of %s could not be selected", policy.label)
            return [SelectedPrompt(policy)] * len(prompts)

    async def _select(
        self, policy: Policy, artifacts: Artifacts, prompts: Sequence[Prompt], seed: int
    ) -> list[SelectedPrompt]:
        selector = await self._load(policy, artifacts)
        seeds = [seed] * len(prompts)
        return await select_prompts(policy, selector, prompts, explore=True, seeds=seeds)

    async def _load(self, policy: Policy, artifacts: Artifacts) -> PromptSelector | None:
        """Load a selector, or return it from the cache of least recently used ones."""
        assert policy.compositions is not None
        id_ = policy.compositions.selector
        if id_ not in self._loaded:
            selector = await asyncio.to_thread(load_selector, policy, artifacts)
            assert selector is not None
            self._loaded[id_] = selector
        self._loaded.move_to_end(id_)
        while len(self._loaded) > _MAX_LOADED:
            self._loaded.popitem(last=False)
        return self._loaded[id_]
