"""Best-of-n: several samples, of which a reward selects one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from backtalk.decode.base import DecoderBase, DecoderOutput, register_decoder
from backtalk.errors import NotFound
from backtalk.feedback.describe import describe_answer
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.record import Name
from backtalk.models.protocol import Model, PromptResponse, Request, Sampling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backtalk.rewards import Reward


@register_decoder("best_of_n")
class BestOfN(DecoderBase):
    """Answer with the best of n samples by a reward.

    Stiennon et al. (2020), "Learning to summarize from human feedback", section 4.3. Ties go to
    the first sample.
    """

    kind: Literal["best_of_n"] = "best_of_n"
    n: Annotated[int, Field(ge=1)]
    """Number of samples."""
    reward: Name
    """Artifact id of the reward."""
    pessimism: Annotated[float, Field(ge=0)] = 0.0
    """Number of standard deviations subtracted from each score. Larger values avoid answers on
    which the reward is uncertain. Coste et al. (2024), "Reward model ensembles help mitigate
    overoptimization", section 3, subtract the variance in the same way."""
    sampling: Sampling = Sampling()
    """Sampling parameters of each sample."""

    @property
    def rewards_needed(self) -> tuple[str, ...]:
        """Artifact id of the reward."""
        return (self.reward,)

    @property
    def sampling_recipe(self) -> dict[str, Any]:
        """Fields that determine the samples: all but the reward and the pessimism."""
        fields = self.to_dict()
        return {name: fields[name] for name in fields if name not in {"reward", "pessimism"}}

    @property
    def kl_bound(self) -> float:
        """Upper bound of the KL divergence between the answers and the model's samples, in nats.

        ``log n - (n - 1) / n``: Beirami et al. (2024), "Theoretical guarantees on the best-of-n
        alignment policy".
        """
        return math.log(self.n) - (self.n - 1) / self.n

    async def decode(
        self,
        model: Model,
        prompts: Sequence[Prompt],
        *,
        rewards: Mapping[str, Reward],
        seed: int = 0,
    ) -> list[DecoderOutput]:
        """Answer each prompt with the best of n samples.

        Parameters
        ----------
        model : Model
            Model to sample from.
        prompts : sequence of Prompt
            Chat messages, including the system prompt.
        rewards : Mapping[str, Reward]
            Rewards by artifact id, with that of ``reward``.
        seed : int, default 0
            Random seed.

        Raises
        ------
        NotFound
            If the reward is missing.
        """
        import numpy as np  # noqa: PLC0415 - slow to import

        self._check_loaded(rewards)
        requests = [
            Request(messages=prompt, sampling=self.sampling, sample_index=i, seed=seed)
            for prompt in prompts
            for i in range(self.n)
        ]
        completions = await model.generate(requests)
        values = await self._values(
            [
                (request.messages, describe_answer(completion.text, completion.messages))
                for request, completion in zip(requests, completions, strict=True)
            ],
            rewards,
        )
        return [
            DecoderOutput(
                tuple(completions[start : start + self.n]),
                int(np.argmax(values[start : start + self.n])),
                values[start : start + self.n],
            )
            for start in range(0, len(requests), self.n)
        ]

    async def select(
        self, prompt: Prompt, texts: Sequence[str], *, rewards: Mapping[str, Reward]
    ) -> int:
        """Return the index of the best candidate.

        Parameters
        ----------
        prompt : Prompt
            Chat messages, including the system prompt.
        texts : sequence of str
            Texts of the candidates.
        rewards : Mapping[str, Reward]
            Rewards by artifact id, with that of ``reward``.

        Raises
        ------
        NotFound
            If the reward is missing.
        """
        import numpy as np  # noqa: PLC0415 - slow to import

        self._check_loaded(rewards)
        return int(np.argmax(await self._values([(prompt, text) for text in texts], rewards)))

    def _check_loaded(self, rewards: Mapping[str, Reward]) -> None:
        if self.reward not in rewards:
            raise NotFound(
                f"The reward {self.reward!r} of the best-of-{self.n} decoder was not loaded",
                "Load the policy with the artifacts of the store that it was learned in",
            )

    async def _values(
        self, answers: Sequence[PromptResponse], rewards: Mapping[str, Reward]
    ) -> NDArray[np.float64]:
        """Return the scores less the pessimism, shape ``(len(answers),)``."""
        scores = await rewards[self.reward].score(answers)
        if self.pessimism and scores.std is not None:
            return scores.mean - self.pessimism * scores.std
        return scores.mean
