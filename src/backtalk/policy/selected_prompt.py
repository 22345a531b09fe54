"""Selection of a policy's prompt for a request, and its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backtalk.artifacts import Artifacts
from backtalk.errors import NotFound
from backtalk.feedback.interaction import Prompt
from backtalk.policy.policy import Policy

if TYPE_CHECKING:
    from backtalk.policy.prompt_selector import PromptSelector


@dataclass(frozen=True)
class SelectedPrompt:
    """Policy with the prompt that is selected for a request."""

    policy: Policy
    propensity: float | None = None
    """Probability with which it was selected; ``None`` if the policy has one prompt."""

    @property
    def version(self) -> str | None:
        """Version of the prompt."""
        return self.policy.prompt_version


async def select_prompts(
    policy: Policy,
    selector: PromptSelector | None,
    prompts: Sequence[Prompt],
    *,
    explore: bool = False,
    seeds: Sequence[int] = (),
) -> list[SelectedPrompt]:
    """Return a policy with the composition of its prompt that is selected for each request.

    Parameters
    ----------
    policy : Policy
        Policy.
    selector : PromptSelector or None
        Selector of its compositions.
    prompts : sequence of Prompt
        N prompts, without the policy's own messages.
    explore : bool, default False
        If true, select another composition at random as often as the policy says.
    seeds : sequence of int, default ()
        Seed of each draw; not needed without exploration.
    """
    if policy.compositions is None or selector is None:
        return [SelectedPrompt(policy)] * len(prompts)
    rate = policy.compositions.explore if explore else 0.0
    selections = await selector.select(prompts, explore=rate, seeds=seeds)
    return [SelectedPrompt(policy.composed[one.index], one.propensity) for one in selections]


def load_selector(policy: Policy, artifacts: Artifacts | None) -> PromptSelector | None:
    """Return the selector of a policy's prompt, ``None`` if it has no compositions.

    Raises
    ------
    NotFound
        If the policy has compositions and no artifacts are passed, or there is no such artifact.
    """
    if policy.compositions is None:
        return None
    if artifacts is None:
        raise NotFound(
            f"The policy {policy.label} selects its prompt by an artifact",
            "Pass the artifacts of the store that it was learned in: store.artifacts",
        )
    from backtalk.policy.prompt_selector import PromptSelector  # noqa: PLC0415 - slow to import

    return PromptSelector.from_files(artifacts.read(policy.compositions.selector))
