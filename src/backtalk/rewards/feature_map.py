"""Features of responses for a linear reward: embeddings, their products, and simple features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backtalk.feedback.interaction import Prompt
from backtalk.models.protocol import Embedder, PromptResponse
from backtalk.rewards.features import FEATURES, simple_features
from backtalk.stats.validation import Floats

BLOCKS = ("response embedding", "prompt times response", "simple features")
"""Names of the blocks of features, in order.

The second is the elementwise product of the embeddings of prompt and response. With it the reward
can depend on the relation of the response to the prompt. A linear function of the two embeddings
cannot, as the prompt is the same on both sides of a comparison.
"""


@dataclass(frozen=True)
class FeatureMap:
    """Map from responses to ``d`` features.

    Parameters
    ----------
    embedder : Embedder
        Embedder of prompts and responses.
    """

    embedder: Embedder

    @property
    def blocks(self) -> NDArray[np.intp]:
        """Index of the block of each feature, shape ``(d,)``."""
        sizes = [self.embedder.dimension, self.embedder.dimension, len(FEATURES)]
        return np.repeat(np.arange(len(BLOCKS)), sizes)

    async def features(self, answers: Sequence[PromptResponse]) -> Floats:
        """Return the features of each response, shape ``(len(answers), d)``.

        Each distinct text is embedded once.
        """
        prompts = [last_turn(prompt) for prompt, _ in answers]
        responses = [text for _, text in answers]
        rows = {text: row for row, text in enumerate(dict.fromkeys([*prompts, *responses]))}
        vectors = (await self.embedder.embed(list(rows))).astype(np.float64)
        prompt_vectors = vectors[[rows[text] for text in prompts]]
        response_vectors = vectors[[rows[text] for text in responses]]
        return np.hstack(
            [response_vectors, prompt_vectors * response_vectors, simple_features(answers)]
        )


def last_turn(prompt: Prompt) -> str:
    """Return the text of the last message, which the response answers."""
    return prompt[-1].text
