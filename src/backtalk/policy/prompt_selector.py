"""Selector of prompts: a linear model that predicts the score of each composition for a request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backtalk.embedders.io import embedder_from_files, embedder_to_files
from backtalk.errors import NotFound
from backtalk.feedback.interaction import Prompt
from backtalk.models.protocol import Embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SELECTOR_FILE = "selector.json"
_WEIGHTS_FILE = "selector.safetensors"
_UNUSED = -1e9
"""Score of a composition that is shown only by exploration."""


@dataclass(frozen=True)
class Selection:
    """Composition that is shown for a request."""

    index: int
    """Index of the composition."""
    propensity: float = 1.0
    """Probability, in (0, 1], with which it was selected."""


@dataclass(frozen=True)
class PromptSelector:
    """Linear model of the scores of ``k`` compositions on vectors of length ``d``."""

    embedder: Embedder
    """Embedder of requests."""
    weights: NDArray[np.float64]
    """Weights, shape ``(d, k)``."""
    intercept: NDArray[np.float64]
    """Intercepts, shape ``(k,)``."""

    async def predict(self, prompts: Sequence[Prompt]) -> NDArray[np.float64]:
        """Return the predicted score of each composition for each request, shape ``(n, k)``."""
        vectors = await self.embedder.embed([request_text(prompt) for prompt in prompts])
        return vectors @ self.weights + self.intercept

    async def select(
        self, prompts: Sequence[Prompt], *, explore: float = 0.0, seeds: Sequence[int] = ()
    ) -> list[Selection]:
        """Return the composition of each request: the best predicted one, or another at random.

        Parameters
        ----------
        prompts : sequence of Prompt
            N prompts.
        explore : float, default 0.0
            Probability of another composition than the best one.
        seeds : sequence of int, default ()
            Seed of each draw; not needed without exploration.
        """
        import numpy as np  # noqa: PLC0415 - slow to import

        best = [int(index) for index in (await self.predict(prompts)).argmax(axis=1)]
        others = len(self.intercept) - 1
        if not explore:
            return [Selection(index) for index in best]
        results = []
        for index, seed in zip(best, seeds, strict=True):
            rng = np.random.default_rng([seed, 61])
            if rng.random() < explore:
                step = int(rng.integers(1, others + 1))
                results.append(Selection((index + step) % (others + 1), explore / others))
            else:
                results.append(Selection(index, 1 - explore))
        return results

    def with_unused_first(self) -> PromptSelector:
        """Return the selector with a composition before the others that is never the best."""
        import numpy as np  # noqa: PLC0415 - slow to import

        weights = np.hstack([np.zeros((len(self.weights), 1)), self.weights])
        return PromptSelector(self.embedder, weights, np.concatenate([[_UNUSED], self.intercept]))

    def to_files(self) -> dict[str, bytes]:
        """Return the selector as files of an artifact."""
        from safetensors.numpy import save  # noqa: PLC0415 - slow to import

        return {
            **embedder_to_files(self.embedder),
            SELECTOR_FILE: json.dumps({"compositions": len(self.intercept)}).encode(),
            _WEIGHTS_FILE: save({"weights": self.weights, "intercept": self.intercept}),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> PromptSelector:
        """Return the selector that :meth:`to_files` wrote.

        Raises
        ------
        NotFound
            If the artifact is not a selector.
        """
        from safetensors.numpy import load  # noqa: PLC0415 - slow to import

        if SELECTOR_FILE not in files:
            raise NotFound(
                "The artifact is not a selector of prompts",
                "`backtalk learn adaptive-prompt` makes a policy with one",
            )
        arrays = load(files[_WEIGHTS_FILE])
        return cls(embedder_from_files(files), arrays["weights"], arrays["intercept"])


def request_text(prompt: Prompt) -> str:
    """Return the text by which a composition is selected: the last message of the user."""
    users = [message for message in prompt if message.role == "user"]
    return (users or list(prompt))[-1].text
